// Sends a microphone or a file to the server's /stream and shows what comes back; the protocol: asr/serving/protocol.py.

const $ = (id) => document.getElementById(id);
const FILE_RATE = 16000;
const MAX_UNSENT_BYTES = 1 << 20;
const PATIENCE_MS = 500;

let running = null; // what is being listened to, with a function `stop`

$("listen").onclick = () => (running ? running.stop() : run(listen));
document.ondragover = (event) => { event.preventDefault(); document.querySelector("main").classList.add("drop"); };
document.ondragleave = () => document.querySelector("main").classList.remove("drop");
document.ondrop = (event) => {
  event.preventDefault();
  document.ondragleave();
  const file = event.dataTransfer.files[0];
  if (file && !running) run(() => play(file));
};

async function run(source) {
  $("text").replaceChildren();
  show("");
  $("latency").textContent = "";
  running = { stop: () => {} };
  $("listen").textContent = "Stop";
  try {
    await source();
  } catch (error) {
    show(error.message, true);
  }
  $("listen").textContent = "Listen";
  running = null;
}

// -- sources

async function listen() {
  if (!navigator.mediaDevices) throw new Error("A browser gives its microphone to https pages and to localhost only.");
  // As it is: what browsers do to voices for telephony hurts recognition.
  const audio = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  const media = await navigator.mediaDevices.getUserMedia({ audio });
  const context = new AudioContext();
  try {
    await context.audioWorklet.addModule("microphone.js");
    const stream = await Stream.open(context.sampleRate);
    const node = new AudioWorkletNode(context, "microphone", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
    node.port.onmessage = ({ data }) => (data ? stream.send(data) : stream.end());
    context.createMediaStreamSource(media).connect(node);
    running.stop = () => {
      node.port.postMessage("end");
      setTimeout(() => stream.end(), PATIENCE_MS); // a browser may have suspended the audio, and then nothing answers
    };
    show(`Listening at ${context.sampleRate} Hz …`);
    await stream.done;
  } finally {
    media.getTracks().forEach((track) => track.stop());
    await context.close();
  }
}

async function play(file) {
  const decoder = new OfflineAudioContext(1, 1, FILE_RATE); // decodes to its own rate
  const audio = await decoder.decodeAudioData(await file.arrayBuffer());
  const samples = mixed(audio);
  const stream = await Stream.open(FILE_RATE);
  let stopped = false;
  running.stop = () => { stopped = true; };
  show(`${file.name}, ${audio.duration.toFixed(1)} s …`);
  for (let at = 0; at < samples.length && !stopped && !stream.closed; at += FILE_RATE / 2) {
    stream.send(samples.slice(at, at + FILE_RATE / 2));
    while (stream.unsentBytes > MAX_UNSENT_BYTES) await new Promise((wake) => setTimeout(wake, 50));
  }
  stream.end();
  await stream.done;
}

function mixed(audio) {
  const sum = new Float32Array(audio.length);
  for (let c = 0; c < audio.numberOfChannels; c++) {
    audio.getChannelData(c).forEach((sample, i) => { sum[i] += sample / audio.numberOfChannels; });
  }
  return sum;
}

// -- the connection

class Stream {
  static async open(sampleRate) {
    const address = new URL("stream", location.href);
    address.protocol = address.protocol.replace("http", "ws");
    address.hash = "";
    const stream = new Stream(new WebSocket(address), sampleRate);
    await Promise.race([stream.ready, stream.done]);
    return stream;
  }

  constructor(socket, sampleRate) {
    this.socket = socket;
    this.rate = sampleRate;
    this.numSent = 0;
    this.sent = []; // [seconds of audio, when the last of them was sent]
    this.ended = false;
    this.closed = false;
    const token = $("token").value || new URLSearchParams(location.hash.slice(1)).get("token");
    socket.onopen = () => this.say({ type: "start", sample_rate: sampleRate, encoding: "float32", ...(token && { token }) });
    this.ready = new Promise((resolve) => { this.onready = resolve; });
    this.done = new Promise((resolve, reject) => {
      let last = new Error("The server cannot be reached, or went away.");
      socket.onmessage = ({ data }) => {
        const event = JSON.parse(data);
        if (event.type === "ready") this.onready(this.chunk = event);
        if (event.type === "partial" || event.type === "final") this.tell(event);
        if (event.type === "error") {
          complain(event);
          if (event.fatal) last = new Error(event.message);
        }
        if (event.type === "done") {
          last = null;
          show(farewell(event));
        }
      };
      socket.onclose = () => { this.closed = true; last ? reject(last) : resolve(); };
    });
  }

  get unsentBytes() { return this.socket.bufferedAmount; }

  say(message) { if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message)); }

  send(samples) {
    if (this.ended || this.socket.readyState !== WebSocket.OPEN) return;
    this.socket.send(samples);
    this.numSent += samples.length;
    this.sent.push([this.numSent / this.rate, performance.now()]);
  }

  end() {
    if (!this.ended) this.say({ type: "end" });
    this.ended = true;
  }

  tell(event) {
    segment(event.segment).className = event.type;
    segment(event.segment).textContent = event.text + " ";
    // From when the last sound that could be decoded was sent, to now.
    while (this.sent.length > 1 && this.sent[0][0] < event.decoded_s) this.sent.shift();
    const delay = performance.now() - this.sent[0][1];
    $("latency").textContent = `shown ${Math.round(delay)} ms after the sound; decoded ${this.chunk.chunk_s} s at a time`;
  }
}

// -- what is shown

function segment(number) {
  let span = document.querySelector(`#text [data-segment="${number}"]`);
  if (!span) {
    span = document.createElement("span");
    span.dataset.segment = number;
    $("text").append(span);
  }
  return span;
}

function complain({ message }) {
  if (message.includes("token")) $("token-row").hidden = false;
  show(message, true);
}

function farewell({ reason, audio_s }) {
  const why = { idle: " – nothing more came", limit: " – the longest the server allows", shutdown: " – the server stops" };
  return `${audio_s.toFixed(1)} s heard${why[reason] ?? ""}`;
}

function show(text, error = false) {
  $("status").textContent = text;
  $("status").className = error ? "error" : "";
}

// Runs beside the audio: gathers the microphone's blocks of 128 samples into pieces of about 50 ms. Any message asks for
// what has gathered so far, and ends it; null is the answer after the last piece.
class Microphone extends AudioWorkletProcessor {
  constructor() {
    super();
    this.piece = new Float32Array(128 * Math.ceil(sampleRate / 20 / 128));
    this.filled = 0;
    this.ended = false;
    this.port.onmessage = () => {
      if (this.filled) this.post();
      this.port.postMessage(null);
      this.ended = true;
    };
  }

  process([channels]) {
    if (this.ended) return false;
    if (channels.length === 0) return true;
    this.piece.set(channels[0], this.filled);
    this.filled += channels[0].length;
    if (this.filled === this.piece.length) this.post();
    return true;
  }

  post() {
    this.port.postMessage(this.piece.slice(0, this.filled));
    this.filled = 0;
  }
}

registerProcessor("microphone", Microphone);

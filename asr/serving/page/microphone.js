// Runs beside the audio: gathers the microphone's blocks of 128 samples into pieces of about 50 ms.
class Microphone extends AudioWorkletProcessor {
  constructor() {
    super();
    this.piece = new Float32Array(128 * Math.ceil(sampleRate / 20 / 128));
    this.filled = 0;
  }

  process([channels]) {
    if (channels.length === 0) return true;
    this.piece.set(channels[0], this.filled);
    this.filled += channels[0].length;
    if (this.filled === this.piece.length) {
      this.port.postMessage(this.piece.slice());
      this.filled = 0;
    }
    return true;
  }
}

registerProcessor("microphone", Microphone);

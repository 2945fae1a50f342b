"""Words as they are spoken into this machine's microphone."""

from __future__ import annotations

import queue
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from asr.errors import AudioError

if TYPE_CHECKING:
    import numpy as np

    from asr.streaming import Recognizer, Stream, StreamConfig


def listen(recognizer: Recognizer, config: StreamConfig) -> None:
    """Print words as they come, a segment a line, until Ctrl-C; without rules of its own, a pause ends a segment.

    Raises:
        AudioError: there is no microphone, or nothing to reach it with.
    """
    from asr.streaming import EndpointConfig

    stream = recognizer.stream(replace(config, endpoint=config.endpoint or EndpointConfig()))
    with suppress(KeyboardInterrupt), microphone() as (pieces, sample_rate):
        print(f"listening at {sample_rate} Hz; Ctrl-C ends", file=sys.stderr)
        while True:
            _hear(recognizer, stream, pieces.get(), sample_rate)
    while not pieces.empty():  # what was said before Ctrl-C, and has waited for computation
        _hear(recognizer, stream, pieces.get(), sample_rate)
    stream.finish()
    _tell(recognizer, stream)
    print("\r\x1b[K" + stream.final.text)


def _hear(recognizer: Recognizer, stream: Stream, piece: np.ndarray, sample_rate: int) -> None:
    stream.accept(piece, sample_rate)
    _tell(recognizer, stream)


def _tell(recognizer: Recognizer, stream: Stream) -> None:
    """Decode what is ready; the line at hand shows the segment so far, and stays where the segment ends."""
    while recognizer.decode([stream]):
        text = stream.partial.text
        if stream.is_endpoint and not stream.done:
            text = stream.final.text + "\n" if stream.final.text else ""
            stream.reset()
        print("\r\x1b[K" + text, end="", flush=True)


@contextmanager
def microphone() -> Iterator[tuple[queue.SimpleQueue[np.ndarray], int]]:
    """Open the default microphone: pieces of samples (N,), as they come, and their rate in Hz. Raises AudioError."""
    sounddevice = _sounddevice()
    pieces: queue.SimpleQueue[np.ndarray] = queue.SimpleQueue()

    def take(samples: np.ndarray, num_frames: int, time: object, status: object) -> None:
        if status:
            print(f"\nthe microphone complains: {status}", file=sys.stderr)
        pieces.put(samples[:, 0].copy())

    try:
        sample_rate = int(sounddevice.query_devices(kind="input")["default_samplerate"])
        device = sounddevice.InputStream(samplerate=sample_rate, channels=1, dtype="float32", callback=take)
    except (sounddevice.PortAudioError, ValueError) as error:
        raise AudioError(f"there is no microphone here ({error}); plug one in, or name an audio file") from error
    with device:
        yield pieces, sample_rate


def _sounddevice() -> Any:
    try:
        import sounddevice
    except ModuleNotFoundError as error:
        raise AudioError(
            "microphones need the package sounddevice; install rill-asr[microphone], or name an audio file"
        ) from error
    except OSError as error:
        raise AudioError(
            f"microphones need the system's library PortAudio ({error}); install it, on Debian as libportaudio2"
        ) from error
    return sounddevice

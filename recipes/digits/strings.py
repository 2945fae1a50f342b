"""One connected-digit utterance, built from isolated recordings exactly as its list says."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from asr.errors import DataError
from asr.recipes.digits.lists import DigitString, read_list
from asr.recipes.digits.recordings import RecordingFolder

__all__ = ["BuiltString", "DigitString", "build", "layout", "level", "noise", "read_list"]

SAMPLE_RATE = 16_000
LEVEL = 10 ** (-25 / 20)  # RMS of a levelled recording, -25 dBFS
MAX_PEAK = 0.95
NOISE_AMPLITUDE = 0.001 * 3**0.5  # uniform, so its RMS is -60 dBFS
_MULTIPLIER, _INCREMENT, _MODULUS = 1103515245, 12345, 2**31


class BuiltString(NamedTuple):
    """A finished utterance."""

    samples: np.ndarray
    """(N,) float32 at 16 kHz; the raw-level variant of a loud recording may pass 1 a little."""
    spans: list[tuple[int, int]]
    """First sample and end of each recording."""


def build(string: DigitString, recordings: RecordingFolder, *, levelled: bool = True) -> BuiltString:
    """Join the recordings of one row over background noise.

    Args:
        levelled: False leaves out the levelling, which gives the "raw-level" variant.
    Raises:
        DataError: naming the row and column that does not agree with the recordings.
    """
    spans = layout(string, recordings)
    samples = noise(string.noise_seed, string.num_samples)
    for recording, (start, end) in zip(string.recordings, spans, strict=True):
        piece = recordings.samples_16k(string.speaker, recording)
        with _blaming(string, recording):
            samples[start:end] += level(piece) if levelled else piece
    return BuiltString(samples, spans)


def layout(string: DigitString, recordings: RecordingFolder) -> list[tuple[int, int]]:
    """First sample and end of each recording in the finished utterance; every promise of the row is checked.

    Raises:
        DataError: naming the row and column that does not agree with the recordings.
    """
    spans = []
    position = 0
    for gap_ms, word, recording in zip(string.gaps_ms, string.words, string.recordings, strict=False):
        with _blaming(string, recording):
            num_samples = len(recordings.samples_16k(string.speaker, recording))
        spoken = recordings.manifest[recording].word if recording in recordings.manifest else word
        if spoken != word:
            raise _error(string, "transcript", f"recording {recording} says {spoken!r}, the transcript {word!r}.")
        start = position + gap_samples(gap_ms)
        position = start + num_samples
        spans.append((start, position))
    position += gap_samples(string.gaps_ms[-1])
    if position != string.num_samples:
        promised = string.num_samples
        raise _error(string, "num_samples_16k", f"recordings and gaps make {position} samples, not {promised}.")
    return spans


def gap_samples(gap_ms: int) -> int:
    return SAMPLE_RATE * gap_ms // 1000


@contextmanager
def _blaming(string: DigitString, recording: str) -> Iterator[None]:
    """Add to a complaint about a recording where the list asks for it."""
    try:
        yield
    except DataError as error:
        raise _error(string, "recordings", f"{recording!r} cannot be used: {error}") from error


def _error(string: DigitString, column: str, problem: str) -> DataError:
    return DataError(f"Row {string.row} ({string.utt_id}), column {column!r}: {problem}")


def level(samples: np.ndarray) -> np.ndarray:
    """Bring a recording to -25 dBFS RMS over all its samples, or to a peak of 0.95 where that would be exceeded."""
    rms = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
    if rms == 0:
        raise DataError("it is silent and cannot be levelled; leave it out.")
    peak = float(np.abs(samples).max())
    return samples * np.float32(min(LEVEL / rms, MAX_PEAK / peak))


def noise(seed: int, num_samples: int) -> np.ndarray:
    """White background noise of -60 dBFS, (num_samples,) float32, the same numbers everywhere.

    The states of the generator s(k+1) = a s(k) + c mod 2^31 are made by doubling: m steps at once are again of the form
    s(k+m) = A s(k) + C, so a block of m known states gives the next m in one line.
    """
    states = np.array([(_MULTIPLIER * seed + _INCREMENT) % _MODULUS], dtype=np.uint64)
    jump, offset = _MULTIPLIER, _INCREMENT
    while len(states) < num_samples:
        # Both factors are below 2^31: the product fits into 64 bits.
        following = (states * np.uint64(jump) + np.uint64(offset)) % np.uint64(_MODULUS)
        states = np.concatenate([states, following])
        jump, offset = jump * jump % _MODULUS, (jump * offset + offset) % _MODULUS
    high_bits = (states[:num_samples] >> np.uint64(15)).astype(np.float64)
    return (NOISE_AMPLITUDE * (high_bits / 32768 - 1)).astype(np.float32)

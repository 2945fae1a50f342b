"""Audio files to samples; whatever is wrong with a file is said in one sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import torch
from torch import Tensor

from asr.errors import AudioError, StreamError
from asr.features.resample import Resampler

_SIZE_COMPLAINT = re.compile(r"^\s*data\s*:\s*(\d+) \(should be (\d+)\)", re.MULTILINE)
_UNKNOWN_SIZES = {0, 0x7FFFFFFF, 0xFFFFFFFF}
"""Programs that write WAV into a pipe cannot know the length beforehand and put one of these."""

LOUDEST = 100.0
"""No float audio in [-1, 1] overshoots this far; 16-bit integers that somebody converted without scaling do."""


class Audio(NamedTuple):
    """Samples of one recording."""

    samples: Tensor
    """(N,) float32 in [-1, 1], one channel."""
    sample_rate: int
    """Hz."""
    notes: tuple[str, ...]
    """What was done to the signal that a careful user may want to know, such as mixing channels."""


class AudioInfo(NamedTuple):
    """What a file's header says."""

    num_samples: int
    sample_rate: int
    num_channels: int


def audio_info(path: Path | str) -> AudioInfo:
    """Read a file's header; raises AudioError where there is none."""
    with _open(Path(path)) as file:
        return AudioInfo(file.frames, file.samplerate, file.channels)


def read_audio(path: Path | str, *, start_s: float = 0.0, duration_s: float | None = None) -> Audio:
    """Read a recording, or the stretch of it that `start_s` and `duration_s` (seconds) mark, mixed to one channel.

    Raises:
        AudioError: the file is missing, empty, cut short, not audio, or holds samples that are no numbers or integers
            that nobody scaled.
    """
    data, rate = _decode(Path(path), start_s, duration_s)
    if not np.isfinite(data).all():
        raise AudioError(f"{path} holds samples that are NaN or infinite; convert it again from its source")
    if (peak := np.abs(data).max()) > LOUDEST:
        raise AudioError(f"{path}: samples reach {peak:.0f}, not [-1, 1]; divide 16-bit integers by 32768")
    notes: tuple[str, ...] = ()
    if data.shape[1] > 1:
        notes = (f"mixed {data.shape[1]} channels to one",)
    return Audio(torch.from_numpy(data.mean(axis=1) if notes else data[:, 0]), rate, notes)


def load_16k(path: Path | str, *, start_s: float = 0.0, duration_s: float | None = None) -> Audio:
    """Read like `read_audio` and bring to 16 kHz."""
    audio = read_audio(path, start_s=start_s, duration_s=duration_s)
    if audio.sample_rate == 16000:
        return audio
    return Audio(_resampler(audio.sample_rate)(audio.samples), 16000, notes_at_16k(audio))


def notes_at_16k(audio: Audio) -> tuple[str, ...]:
    """What was done to a recording once it is heard at 16 kHz, by whomever: its notes, and where it is resampled."""
    if audio.sample_rate == 16000:
        return audio.notes
    return *audio.notes, f"resampled from {audio.sample_rate} to 16000 Hz"


@contextmanager
def naming(path: Path | str) -> Iterator[None]:
    """Whatever is found wrong with a recording meanwhile becomes an AudioError that names its file."""
    try:
        yield
    except (AudioError, StreamError) as error:
        named = str(error) if str(path) in str(error) else f"{path}: {error}"
        raise AudioError(named) from error


@lru_cache(maxsize=8)
def _resampler(rate: int) -> Resampler:
    return Resampler(rate, 16000)


def _decode(path: Path, start_s: float, duration_s: float | None) -> tuple[np.ndarray, int]:
    """(N, channels) float32 and the rate."""
    with _open(path) as file:
        start = round(start_s * file.samplerate)
        wanted = file.frames - start if duration_s is None else round(duration_s * file.samplerate)
        if not 0 <= start <= file.frames or wanted < 0:
            raise AudioError(f"{path} lasts {file.frames / file.samplerate:.2f} s; {start_s} s lies beyond its end")
        _check_header(path, file)
        file.seek(start)
        data = file.read(wanted, dtype="float32", always_2d=True)
        _check_length(path, len(data), wanted, file)
        return data, file.samplerate


@contextmanager
def _open(path: Path) -> Iterator[soundfile.SoundFile]:
    """The opened file; whatever libsndfile says against it, now or while it is read, becomes an AudioError."""
    if not path.is_file():
        raise AudioError(f"there is no file {path}; check the path")
    if path.stat().st_size == 0:
        raise AudioError(f"{path} is empty (0 bytes); make it again")
    try:
        with soundfile.SoundFile(str(path)) as file:
            yield file
    except soundfile.LibsndfileError as error:
        reason = error.error_string.strip().rstrip(".").removeprefix("Error : ")
        raise AudioError(f"{path} cannot be read as audio, or breaks off ({reason}); convert it to WAV") from error


def _check_header(path: Path, file: soundfile.SoundFile) -> None:
    """libsndfile reads what there is of a WAV file and only remarks that the header promised more."""
    complaint = _SIZE_COMPLAINT.search(file.extra_info)
    if complaint:
        promised, there = map(int, complaint.groups())
        if promised > there and promised not in _UNKNOWN_SIZES:
            raise AudioError(f"{path} breaks off: its header promises {promised} bytes of audio, {there} are there")
    if "lacks an end-of-stream bit" in file.extra_info:
        raise AudioError(f"{path} breaks off before its end-of-stream mark; make it again")


def _check_length(path: Path, found: int, wanted: int, file: soundfile.SoundFile) -> None:
    if found == 0:
        raise AudioError(f"{path} holds no samples; leave it out")
    # MPEG files only estimate their length, by whole frames of 1152 samples.
    if found < wanted - (1152 if file.format == "MP3" else 0):
        raise AudioError(f"{path} breaks off after {found} of {wanted} samples; make it again")

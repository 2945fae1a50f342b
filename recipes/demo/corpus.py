"""The corpus of synthetic speech: a plan that a seed decides, and the audio made from it."""

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import soundfile
from lhotse import MonoCut

from asr.errors import DataError
from asr.recipes.audio import SAMPLE_RATE, utterance_cut, write_flac
from asr.recipes.demo.sentences import draw_command, draw_digits
from asr.recipes.demo.voices import Voice, draw_voice

COMMAND_SHARE = 0.6
LEVEL_DB = (-35.0, -15.0)  # RMS of the speech, dBFS
SNR_DB = (20.0, 45.0)
MARGIN_S = (0.05, 0.3)  # background before and after the speech
MAX_PEAK = 0.95


@dataclass(frozen=True, kw_only=True)
class Line:
    """One utterance to be made."""

    utt_id: str
    text: str
    spoken: str
    """The text with the pauses that the voice shall make, as commas."""
    voice: Voice
    seed: int
    """Of level, noise and margins."""


def plan(split: str, num_lines: int, seed: int) -> list[Line]:
    """The first `num_lines` utterances of a split: a longer plan with the same seed begins with a shorter one."""
    random = Random(f"{seed} {split}")
    return [_line(f"{split}-{index:05d}", split, random) for index in range(num_lines)]


def _line(utt_id: str, split: str, random: Random) -> Line:
    if random.random() < COMMAND_SHARE:
        text = spoken = draw_command(split, random)
    else:
        text = draw_digits(split, random)
        spoken = _with_pauses(text, random)
    voice = draw_voice(split, random)
    return Line(utt_id=utt_id, text=text, spoken=spoken, voice=voice, seed=random.getrandbits(32))


def _with_pauses(text: str, random: Random) -> str:
    """Numbers are said in groups: a comma after every fifth digit or so."""
    *words, last = text.split()
    return " ".join([word + ("," if random.random() < 0.2 else "") for word in words] + [last])


def make_lines(lines: list[Line], audio: Path, root: Path) -> list[MonoCut]:
    """Write `audio/<utt_id>.flac` for the lines that have none yet; returns cuts with paths relative to `root`.

    Raises:
        DataError: the synthesiser is missing or cannot do it.
    """
    missing = [line for line in lines if not (audio / f"{line.utt_id}.flac").exists()]
    with tempfile.TemporaryDirectory(prefix="rill") as folder:
        if missing:
            _speak(missing, Path(folder))
        for line in missing:
            samples, rate = soundfile.read(Path(folder) / f"{line.utt_id}.wav", dtype="float32")
            write_flac(audio / f"{line.utt_id}.flac", place(resampled(samples, rate), line.seed))
    return [_cut(line, audio / f"{line.utt_id}.flac", root) for line in lines]


def _speak(lines: list[Line], folder: Path) -> None:
    """Have the synthesiser, a program of its own, write `folder/<utt_id>.wav`."""
    jobs = [
        {"id": line.utt_id, "text": line.spoken, "voice": v.name, "rate": v.rate, "pitch": v.pitch}
        for line in lines
        for v in [line.voice]
    ]
    jobs_path = folder / "jobs.json"
    jobs_path.write_text(json.dumps(jobs), encoding="utf-8")
    command = [sys.executable, "-m", "asr.recipes.demo.synthesise", str(jobs_path), str(folder)]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        reason = (result.stderr.strip().splitlines() or [f"it ended with status {result.returncode}"])[-1]
        raise DataError(f"Synthetic speech cannot be made: {reason}.")


def resampled(samples: np.ndarray, rate: int) -> np.ndarray:
    """(N,) float32 samples brought to 16 kHz."""
    import torch
    from torchaudio.functional import resample

    return resample(torch.from_numpy(samples), rate, SAMPLE_RATE).numpy()


def place(speech: np.ndarray, seed: int) -> np.ndarray:
    """Speech, (N,) at 16 kHz, at a random level between random margins, over random background noise."""
    random = np.random.default_rng(seed)
    before, after = (int(SAMPLE_RATE * random.uniform(*MARGIN_S)) for _ in range(2))
    rms = float(np.sqrt(np.mean(np.square(speech))))
    peak = float(np.abs(speech).max())
    wanted = min(10 ** (random.uniform(*LEVEL_DB) / 20), MAX_PEAK * rms / peak)
    background = noise(before + len(speech) + after, random)
    samples = background * np.float32(wanted * 10 ** (-random.uniform(*SNR_DB) / 20))
    samples[before : before + len(speech)] += speech * np.float32(wanted / rms)
    return samples


def noise(num_samples: int, random: np.random.Generator) -> np.ndarray:
    """Noise of RMS 1, (num_samples,), between white and pink."""
    size = 1 << (num_samples - 1).bit_length()  # the transform is slow at awkward lengths
    spectrum = np.fft.rfft(random.standard_normal(size))
    frequency = np.maximum(np.fft.rfftfreq(size, 1 / SAMPLE_RATE), 50.0)  # no rumble below 50 Hz
    shaped = np.fft.irfft(spectrum * frequency ** -random.uniform(0, 0.5), size)[:num_samples]
    return (shaped / np.sqrt(np.mean(shaped**2))).astype(np.float32)


def _cut(line: Line, path: Path, root: Path) -> MonoCut:
    return utterance_cut(
        line.utt_id,
        path.relative_to(root).as_posix(),
        soundfile.info(path).frames,
        text=line.text,
        speaker=line.voice.speaker,
    )

"""A process of its own that speaks: reads a list of jobs, writes one WAV per job.

    python -m asr.recipes.demo.synthesise JOBS.json FOLDER

eSpeak NG is GPL-3.0-or-later. Its library is loaded by this module only, and nothing in the package imports this
module: the recipe starts it as a separate program and gets sound files back. The library is also not safe among
threads, so several workers are several processes.
"""

import ctypes
import json
import os
import shutil
import sys
import tempfile
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SAMPLE_RATE = 22_050
# The library keeps its data path in a buffer of 160 bytes, falls back to a path of its build machine when that is too
# small, and appends file names to it: stay well below.
MAX_PATH_BYTES = 110
_SYNCHRONOUS, _DO_NOT_EXIT, _CHARACTERS, _UTF8 = 2, 0x8000, 1, 1
_RATE, _PITCH = 1, 3
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class SynthesisError(Exception):
    """The synthesiser cannot do what a job asks."""


class Synthesiser:
    """eSpeak NG behind four calls; at most one per process, used by one thread."""

    def __init__(self, library: str, data: Path) -> None:
        self._data = data
        self._samples = bytearray()
        self._callback = _CALLBACK(self._collect)  # kept, because the library does not hold it
        self._lib = ctypes.CDLL(library)
        # With the other options a missing data folder would end the process, and 0 would pass for success.
        rate = self._lib.espeak_Initialize(_SYNCHRONOUS, 0, os.fsencode(data), _DO_NOT_EXIT)
        if rate != SAMPLE_RATE:
            raise SynthesisError(
                f"the synthesiser did not start from {data} (it answered {rate}); reinstall rill-asr[demo]"
            )
        self._lib.espeak_SetSynthCallback(self._callback)

    def speak(self, text: str, *, voice: str, rate: int, pitch: int) -> bytes:
        """Mono 16-bit samples at 22.05 kHz.

        Args:
            voice: a voice file below `lang`, and perhaps a variant: "gmw/en-US+f3".
            rate: words per minute, 80 to 450.
            pitch: 0 to 99, 50 being the variant's own.
        """
        if not (80 <= rate <= 450 and 0 <= pitch <= 99):  # the library would take any number
            raise SynthesisError(f"rate {rate} must lie in 80-450 and pitch {pitch} in 0-99")
        self._choose(voice)
        self._lib.espeak_SetParameter(_RATE, rate, 0)
        self._lib.espeak_SetParameter(_PITCH, pitch, 0)
        self._samples.clear()
        encoded = text.encode()
        status = self._lib.espeak_Synth(encoded, len(encoded) + 1, 0, _CHARACTERS, 0, _UTF8, None, None)
        if status != 0 or self._lib.espeak_Synchronize() != 0 or not self._samples:
            raise SynthesisError(f"nothing was spoken for {text!r}")
        return bytes(self._samples)

    def _choose(self, voice: str) -> None:
        # The library takes an unknown variant for none at all, without a word.
        accent, _, variant = voice.partition("+")
        known = (self._data / "lang" / accent).is_file()
        if variant:
            known = known and (self._data / "voices" / "!v" / variant).is_file()
        if not known or self._lib.espeak_SetVoiceByName(voice.encode()) != 0:
            raise SynthesisError(f"there is no voice {voice!r} in {self._data}")

    def _collect(self, samples, num_samples: int, events) -> int:
        if samples and num_samples > 0:
            self._samples += ctypes.string_at(samples, 2 * num_samples)
        return 0


@contextmanager
def short_path(data: Path) -> Iterator[Path]:
    """A path to the same data folder that is short enough for the library."""
    if len(os.fsencode(data)) <= MAX_PATH_BYTES:
        yield data
        return
    with tempfile.TemporaryDirectory(prefix="rill") as folder:
        short = Path(folder) / "espeak-ng-data"
        try:
            short.symlink_to(data, target_is_directory=True)
        except OSError:  # some systems reserve links for administrators
            shutil.copytree(data, short)
        if len(os.fsencode(short)) > MAX_PATH_BYTES:
            raise SynthesisError(f"{short} is too long a path for the synthesiser; set TMPDIR to a shorter folder")
        yield short


def write_wav(path: Path, samples: bytes) -> None:
    """Write mono 16-bit samples at 22.05 kHz."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(samples)


def run(jobs: list[dict], folder: Path, data: Path | None = None) -> None:
    """Speak every job (`id`, `text`, `voice`, `rate`, `pitch`) into `folder/<id>.wav`."""
    try:
        import espeakng_loader
    except ImportError:
        raise SynthesisError('the speech synthesiser is not installed; pip install "rill-asr[demo]"') from None
    with short_path(data or Path(espeakng_loader.get_data_path())) as short:
        synthesiser = Synthesiser(espeakng_loader.get_library_path(), short)
        for job in jobs:
            samples = synthesiser.speak(job["text"], voice=job["voice"], rate=job["rate"], pitch=job["pitch"])
            write_wav(folder / f"{job['id']}.wav", samples)


def main() -> int:
    jobs_path, folder = sys.argv[1:]
    try:
        run(json.loads(Path(jobs_path).read_text(encoding="utf-8")), Path(folder))
    except SynthesisError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

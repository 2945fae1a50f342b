"""A tiny corpus of digits in the form of the published one: noise bursts in a tar, a manifest, a list."""

import io
import tarfile
from pathlib import Path

import numpy as np
import soundfile

HEADER = "utt_id\tspeaker\tn_digits\trecordings\tgaps_ms\tnoise_seed\tnum_samples_16k\ttranscript"
LENGTHS = {"0_mara_0": 2000, "1_mara_0": 1501, "2_mara_0": 999}
WORDS = {"0_mara_0": "zero", "1_mara_0": "one", "2_mara_0": "two"}
ROWS = [
    "b-0\tmara\t2\t0_mara_0 2_mara_0\t50 60 70\t7\t8878\tzero two",
    "b-1\tmara\t1\t1_mara_0\t100 51\t8\t5418\tone",
]


def burst(num_samples: int, scale: float = 0.02) -> np.ndarray:
    """Integer samples of a noise burst, (num_samples,) int16."""
    noise = np.random.default_rng(num_samples).standard_normal(num_samples)
    return np.round(np.clip(noise * scale, -1, 0.99) * 32768).astype(np.int16)


def encoded(samples: np.ndarray, *, rate: int = 8000, form: str = "FLAC", subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=form, subtype=subtype)
    return file.getvalue()


def write_tar(path: Path, members: dict[str, bytes], mode: str = "w") -> None:
    with tarfile.open(path, mode) as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def write_corpus(folder: Path) -> Path:
    """Fill a folder with `fsdd-mara.tar`, `manifest.tsv` and `list.tsv`."""
    folder.mkdir()
    write_tar(folder / "fsdd-mara.tar", {f"{key}.flac": encoded(burst(n)) for key, n in LENGTHS.items()})
    manifest = "".join(f"{key}\t{WORDS[key]}\t{n}\n" for key, n in LENGTHS.items())
    (folder / "manifest.tsv").write_text("id\tword\tnum_samples_8k\n" + manifest)
    (folder / "list.tsv").write_text("\n".join([HEADER, *ROWS]) + "\n")
    return folder

"""A tiny corpus of real digits, made by the real preparation from a few rows of the published lists."""

from __future__ import annotations

from pathlib import Path

from asr.recipes.digits import prepare
from asr.recipes.digits.config import DigitsConfig

SIZES = {"train": 16, "dev": 4, "test": 3}
STAGES = ("download", "manifests", "features", "tokenizer")


def build_corpus(recordings: Path, folder: Path) -> Path:
    """Prepare `folder` from `recordings` (fsdd-*.tar and manifest.tsv), as `asr prepare` would."""
    lists = folder / "lists"
    lists.mkdir(parents=True)
    for split, size in SIZES.items():
        shorten(prepare.list_path(split), lists / f"digit-strings-{split}.tsv", size)
    config = DigitsConfig(source=str(recordings), lists=str(lists), out=str(folder), speeds=[1.0], num_workers=1)
    for stage in STAGES:
        getattr(prepare, stage)(config)
    return folder


def shorten(source: Path, target: Path, size: int) -> None:
    """Write the `size` shortest strings of a list, of two digits and less."""
    header, *rows = source.read_text(encoding="utf-8").splitlines()
    rows = [row for row in rows if int(row.split("\t")[2]) <= 2]
    rows = sorted(rows, key=lambda row: int(row.split("\t")[6]))[:size]
    target.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")

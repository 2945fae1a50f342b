"""A tiny corpus of real digits, made by the real `asr prepare` from a few rows of the published lists."""

from __future__ import annotations

from pathlib import Path

from asr.cli.main import main
from asr.recipes.digits.prepare import list_path

SIZES = {"train": 16, "dev": 4, "test": 3}


def build_corpus(recordings: Path, folder: Path) -> Path:
    """Prepare `folder` from `recordings` (fsdd-*.tar and manifest.tsv)."""
    lists = folder / "lists"
    lists.mkdir(parents=True)
    for split, size in SIZES.items():
        shorten(list_path(split), lists / f"digit-strings-{split}.tsv", size)
    places = {"source": recordings, "lists": lists, "out": folder, "speeds": "[1.0]", "num_workers": 1}
    status = main(["prepare", "recipe=digits", *(f"corpus.{key}={value}" for key, value in places.items())])
    assert status == 0
    return folder


def shorten(source: Path, target: Path, size: int) -> None:
    """Write the `size` shortest strings of a list, of two digits and less."""
    header, *rows = source.read_text(encoding="utf-8").splitlines()
    rows = [row for row in rows if int(row.split("\t")[2]) <= 2]
    rows = sorted(rows, key=lambda row: int(row.split("\t")[6]))[:size]
    target.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")

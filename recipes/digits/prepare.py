"""Prepare the connected-digit corpus: four stages, each of which may be repeated without harm."""

import shutil
from pathlib import Path

from asr.errors import DataError
from asr.recipes.digits.config import SPEAKERS, DigitsConfig
from asr.recipes.digits.cuts import build_split, cuts_from_list
from asr.recipes.digits.lists import read_list
from asr.recipes.digits.recordings import RecordingFolder
from asr.recipes.digits.source import pack_recordings
from asr.recipes.fetch import fetch
from asr.recipes.products import ORIGINAL_SPEED, store_splits, write_character_tokenizer
from asr.recipes.stages import replacing

__all__ = ["DigitsConfig", "cuts_from_list", "download", "features", "list_path", "manifests", "tokenizer"]

NOTICE = Path(__file__).with_name("NOTICE.md")


def download(cfg: DigitsConfig) -> None:
    """Have the recordings of the five speakers in place, checked sample by sample.

    Raises:
        DataError: a tar file is missing from `cfg.source`, or the download failed or holds other recordings.
    """
    folder = recordings_folder(cfg)
    missing = [speaker for speaker in SPEAKERS if not (folder / f"fsdd-{speaker}.tar").is_file()]
    if not missing and (folder / "manifest.tsv").is_file():
        return
    if cfg.source is not None:
        raise DataError(
            f"{folder} lacks fsdd-{(missing or ['...'])[0]}.tar or manifest.tsv; check corpus.source={cfg.source!r}."
        )
    url = cfg.url.replace("{revision}", cfg.revision)
    archive = Path(cfg.out) / "download" / f"fsdd-{cfg.revision}.tar.gz"
    fetch(url, archive)
    try:
        pack_recordings(archive, folder)
    except DataError as error:
        archive.unlink()
        raise DataError(f"What {url} sent cannot be used and was deleted, run again: {error}") from error
    archive.unlink()  # it also holds voices that no list uses


def manifests(cfg: DigitsConfig) -> None:
    """Build all utterances: `audio/<split>/*.flac` and `cuts-<split>.jsonl.gz`, the raw-level variants as `-raw`.

    Recordings that cannot be used and that no list asks for are named in `quarantine.tsv`; a list that asks for one is
    refused, for a test set with a string missing would be another one.
    """
    out = Path(cfg.out)
    if not (out / NOTICE.name).exists():  # the audio's licence asks that the credits stay with it
        with replacing(out / NOTICE.name) as part:
            shutil.copyfile(NOTICE, part)
    for name in ("train", "dev", "test", "dev-raw", "test-raw"):
        split, levelled = name.removesuffix("-raw"), not name.endswith("-raw")
        build_split(
            list_path(split, cfg.lists),
            recordings_folder(cfg),
            audio=out / "audio" / name,
            manifest=out / f"cuts-{name}.jsonl.gz",
            levelled=levelled,
            num_workers=cfg.num_workers,
        )
    _quarantine_unused(cfg)


def _quarantine_unused(cfg: DigitsConfig) -> None:
    """Write `quarantine.tsv` (id, reason), unless it is there and says the same."""
    strings = [string for split in ("train", "dev", "test") for string in read_list(list_path(split, cfg.lists))]
    recordings, speakers = RecordingFolder(recordings_folder(cfg)), sorted({string.speaker for string in strings})
    used = {name for string in strings for name in string.recordings}
    unfit = [rejected for speaker in speakers for rejected in recordings.unfit(speaker, besides=used)]
    path = Path(cfg.out) / "quarantine.tsv"
    text = "".join("\t".join(" ".join(cell.split()) for cell in row) + "\n" for row in [("id", "reason"), *unfit])
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        with replacing(path) as part:
            part.write_text(text, encoding="utf-8")


def features(cfg: DigitsConfig) -> None:
    """Store log-mel features of every split; of the training split at every speed."""
    speeds = {"train": cfg.speeds} | dict.fromkeys(["dev", "test", "dev-raw", "test-raw"], ORIGINAL_SPEED)
    store_splits(Path(cfg.out), speeds, num_workers=cfg.num_workers)


def tokenizer(cfg: DigitsConfig) -> None:
    """Write `tokenizer.json`: the characters of the ten digit words."""
    write_character_tokenizer(Path(cfg.out), (string.transcript for string in read_list(list_path("train", cfg.lists))))


def recordings_folder(cfg: DigitsConfig) -> Path:
    """The folder of `fsdd-*.tar` files that the corpus is built from."""
    return Path(cfg.source) if cfg.source is not None else Path(cfg.out) / "recordings"


def list_path(split: str, folder: str | None = None) -> Path:
    """The list of a split, train, dev or test: the published one, or another folder's."""
    return Path(folder or Path(__file__).parent) / f"digit-strings-{split}.tsv"

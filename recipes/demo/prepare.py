"""Prepare the corpus of synthetic speech: four stages, each of which may be repeated without harm."""

import importlib.util
from pathlib import Path

from lhotse import MonoCut

from asr.errors import DataError
from asr.recipes.audio import save_cuts
from asr.recipes.demo.config import DemoConfig
from asr.recipes.demo.corpus import Line, make_lines, plan
from asr.recipes.demo.sentences import SPLITS
from asr.recipes.products import ORIGINAL_SPEED, store_splits, write_character_tokenizer
from asr.recipes.stages import Stage, fingerprint, in_parallel

__all__ = ["DemoConfig", "download", "features", "manifests", "tokenizer"]

SHARD = 100  # utterances per synthesiser process: starting one costs about as much as a dozen utterances


def download(cfg: DemoConfig) -> None:
    """Nothing is downloaded, but the synthesiser must be there.

    Raises:
        DataError: it is not installed.
    """
    if importlib.util.find_spec("espeakng_loader") is None:
        raise DataError('The demo needs a speech synthesiser; get it with: pip install "rill-asr[demo]"')
    print(
        "The demo's speech is made by eSpeak NG, which is free software under the GPL, version 3 or later. "
        "It runs as a separate program; the audio it makes is not covered by its licence."
    )


def manifests(cfg: DemoConfig) -> None:
    """Make all utterances: `audio/<split>/*.flac` and `cuts-<split>.jsonl.gz`.

    Synthesis does not repeat to the bit: what was made stays until the plan changes.
    """
    for split in SPLITS:
        lines = plan(split, cfg.size(split), cfg.seed)
        _make_split(Path(cfg.out), split, lines, cfg.num_workers)


def _make_split(out: Path, split: str, lines: list[Line], num_workers: int) -> None:
    audio, manifest = out / "audio" / split, out / f"cuts-{split}.jsonl.gz"
    stage = Stage(audio / ".stage", fingerprint(*map(repr, lines)))
    if stage.finished(manifest):
        return
    stage.begin(leftovers=[manifest, *audio.glob("*.flac")])

    def make(shard: list[Line]) -> list[MonoCut]:
        return make_lines(shard, audio, out)

    shards = [lines[first : first + SHARD] for first in range(0, len(lines), SHARD)]
    made = in_parallel(make, shards, manifest.name, num_workers)
    save_cuts([cut for shard in made for cut in shard], manifest)
    stage.finish()


def features(cfg: DemoConfig) -> None:
    """Store log-mel features of every split; of the training split at every speed."""
    speeds = {"train": cfg.speeds, "dev": ORIGINAL_SPEED, "test": ORIGINAL_SPEED}
    store_splits(Path(cfg.out), speeds, num_workers=cfg.num_workers)


def tokenizer(cfg: DemoConfig) -> None:
    """Write `tokenizer.json`: the characters of the grammar's words."""
    lines = plan("train", cfg.num_train, cfg.seed)
    write_character_tokenizer(Path(cfg.out), (line.text for line in lines))

"""The last two stages of a recipe, alike for every corpus: stored features and a tokenizer."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from asr.data import feats_path, read_cuts, store_features
from asr.features import FbankConfig
from asr.recipes.stages import Stage, fingerprint, replacing
from asr.text import Tokenizer, save_tokenizer, train_tokenizer

ORIGINAL_SPEED = (1.0,)


def store_splits(out: Path, splits: Mapping[str, Sequence[float]], *, num_workers: int) -> None:
    """Store the log-mel features of `out/cuts-<split>.jsonl.gz` for every split, at the speeds given for it.

    A split is left as it is until its cuts are written anew, or the speeds or the definition of the features change.
    """
    for split, speeds in splits.items():
        manifest = out / f"cuts-{split}.jsonl.gz"
        made_from = (manifest.stat().st_mtime_ns, repr(list(speeds)), repr(FbankConfig()))
        stage = Stage(out / f"feats-{split}" / ".stage", fingerprint(*made_from))
        if not stage.finished(feats_path(out, split)):
            cuts = read_cuts(manifest)
            stage.begin()
            store_features(cuts, out, split, speeds=speeds, num_workers=num_workers)
            stage.finish()


def write_tokenizer(out: Path, made_from: Sequence[bytes | str | int], make: Callable[[], Tokenizer]) -> None:
    """Write `out/tokenizer.json`, unless it is there and was made from the same."""
    target = out / "tokenizer.json"
    stage = Stage(out / ".tokenizer.stage", fingerprint(*made_from))
    if stage.finished(target):
        return
    stage.begin()
    with replacing(target) as part:
        save_tokenizer(make(), part)
    stage.finish()


def write_character_tokenizer(out: Path, texts: Iterable[str]) -> None:
    """Write `out/tokenizer.json`, the characters of the training transcripts, unless it is there."""
    target = out / "tokenizer.json"
    if target.exists():
        return
    with replacing(target) as part:
        save_tokenizer(train_tokenizer("char", texts), part)

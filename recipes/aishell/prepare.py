"""Prepare AISHELL-1: four stages, each of which may be interrupted and repeated without harm."""

from pathlib import Path

from asr.errors import DataError
from asr.recipes.aishell.config import AishellConfig, Units
from asr.recipes.aishell.corpus import ARCHIVE, SPLITS, characters, transcripts, utterances
from asr.recipes.archives import obtain, unpack
from asr.recipes.manifests import write_manifest
from asr.recipes.noise import describe_noise, have_noise
from asr.recipes.products import ORIGINAL_SPEED, store_splits, write_tokenizer
from asr.recipes.stages import Stage, fingerprint, in_parallel
from asr.text import SPECIAL_SYMBOLS, ByteBpeTokenizer, CharTokenizer

__all__ = ["AishellConfig", "download", "features", "manifests", "tokenizer"]


def download(cfg: AishellConfig) -> None:
    """Have the corpus unpacked, from a mirror or in `cfg.source`, and noise where it is wanted.

    Raises:
        DataError: `cfg.source` is no AISHELL-1; a download failed or is not as published.
    """
    if cfg.source is not None:
        if not (Path(cfg.source) / "data_aishell" / "wav").is_dir():
            raise DataError(f"{cfg.source} has no folder data_aishell/wav; check corpus.source")
    else:
        obtain(ARCHIVE, cfg.mirrors, Path(cfg.out) / "download")
        _unpack_speakers(corpus_root(cfg) / "data_aishell" / "wav", cfg.num_workers)
    have_noise(Path(cfg.out), cfg.musan, cfg.rirs, cfg.mirrors)


def _unpack_speakers(wav: Path, num_workers: int) -> None:
    """Inside the archive there is another for each speaker."""
    archives = sorted(wav.glob("*.tar.gz"))
    stage = Stage(wav / ".stage", fingerprint(*(path.name for path in archives)))
    if not stage.finished():
        stage.begin()
        in_parallel(lambda path: unpack(path, wav), archives, "speakers", num_workers)
        stage.finish()


def manifests(cfg: AishellConfig) -> None:
    """Write `cuts-<split>.jsonl.gz` for train, dev and test."""
    out = Path(cfg.out)
    for split in SPLITS:
        write_manifest(out, split, utterances(corpus_root(cfg), split), num_workers=cfg.num_workers)
    describe_noise(out, cfg.musan, cfg.rirs, num_workers=cfg.num_workers)


def features(cfg: AishellConfig) -> None:
    """Store log-mel features, of the training split at every speed, where `cfg.store_features` asks for it."""
    if cfg.store_features:
        speeds = {split: cfg.speeds if split == "train" else ORIGINAL_SPEED for split in SPLITS}
        store_splits(Path(cfg.out), speeds, num_workers=cfg.num_workers)


def tokenizer(cfg: AishellConfig) -> None:
    """Write `tokenizer.json` from the whole transcript file, as published: characters, or sub-words over bytes."""
    out, root = Path(cfg.out), corpus_root(cfg)
    if cfg.units is Units.CHARACTER:
        symbols = [*SPECIAL_SYMBOLS, *characters(root)]
        write_tokenizer(out, symbols, lambda: CharTokenizer(symbols, word_boundary=False))
    else:
        texts = list(transcripts(root).values())
        write_tokenizer(out, [cfg.vocab_size, *texts], lambda: ByteBpeTokenizer.train(texts, cfg.vocab_size))


def corpus_root(cfg: AishellConfig) -> Path:
    """The folder that holds `data_aishell`."""
    return Path(cfg.source) if cfg.source is not None else Path(cfg.out) / "download"

"""Prepare LibriSpeech: four stages, each of which may be interrupted and repeated without harm."""

from pathlib import Path

from asr.data import cuts_path, feats_path, read_cuts, transcript
from asr.errors import DataError
from asr.recipes.archives import obtain
from asr.recipes.librispeech.config import LibriSpeechConfig
from asr.recipes.librispeech.corpus import ARCHIVES, utterances
from asr.recipes.manifests import write_manifest, write_union
from asr.recipes.noise import describe_noise, have_noise
from asr.recipes.products import ORIGINAL_SPEED, store_splits, write_tokenizer
from asr.text import BpeTokenizer

__all__ = ["LibriSpeechConfig", "download", "features", "manifests", "tokenizer"]


def download(cfg: LibriSpeechConfig) -> None:
    """Have every subset unpacked, from a mirror or in `cfg.source`, and noise where it is wanted.

    Raises:
        DataError: a subset is missing from `cfg.source`, or has no archive; a download failed or is not as published.
    """
    for subset in cfg.subsets:
        if cfg.source is not None:
            if not (corpus_root(cfg) / subset).is_dir():
                raise DataError(f"{corpus_root(cfg)} has no folder {subset}; check corpus.source and the subsets")
        elif subset in ARCHIVES:
            obtain(ARCHIVES[subset], cfg.mirrors, Path(cfg.out) / "download")
        else:
            raise DataError(f"{subset} is none of the archives {', '.join(ARCHIVES)}; give its folder as corpus.source")
    have_noise(Path(cfg.out), cfg.musan, cfg.rirs, cfg.mirrors)


def manifests(cfg: LibriSpeechConfig) -> None:
    """Write `cuts-<subset>.jsonl.gz` for every subset, `train` (shuffled once) and `dev` as their unions."""
    out = Path(cfg.out)
    for subset in cfg.subsets:
        write_manifest(out, subset, utterances(corpus_root(cfg), subset), num_workers=cfg.num_workers)
    write_union(out, "train", cfg.train, shuffled=True)
    write_union(out, "dev", cfg.dev)
    describe_noise(out, cfg.musan, cfg.rirs, num_workers=cfg.num_workers)


def features(cfg: LibriSpeechConfig) -> None:
    """Store log-mel features, of training subsets at every speed, where `cfg.store_features` asks for it."""
    if not cfg.store_features:
        return
    out = Path(cfg.out)
    speeds = {subset: cfg.speeds if subset in cfg.train else ORIGINAL_SPEED for subset in cfg.subsets}
    store_splits(out, speeds, num_workers=cfg.num_workers)
    write_union(out, "train", cfg.train, feats_path, shuffled=True)
    write_union(out, "dev", cfg.dev, feats_path)


def tokenizer(cfg: LibriSpeechConfig) -> None:
    """Write `tokenizer.json`: sub-words trained on the training transcripts, or the given model."""
    if cfg.bpe_model is not None:
        model = Path(cfg.bpe_model).read_bytes()
        write_tokenizer(Path(cfg.out), [model], lambda: BpeTokenizer(model))
        return
    texts = [transcript(cut) for subset in cfg.train for cut in read_cuts(cuts_path(cfg.out, subset), lazy=True)]
    write_tokenizer(Path(cfg.out), [cfg.vocab_size, *texts], lambda: BpeTokenizer.train(texts, cfg.vocab_size))


def corpus_root(cfg: LibriSpeechConfig) -> Path:
    """The folder of subsets."""
    return Path(cfg.source) if cfg.source is not None else Path(cfg.out) / "download" / "LibriSpeech"

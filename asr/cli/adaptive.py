"""asr adaptive: the adaptive window against every fixed chunk size, in quiet and in noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from asr.cli.arguments import parse
from asr.cli.settings import settings

if TYPE_CHECKING:
    from lhotse import CutSet
    from torch import Tensor

    from asr.config.decode_config import AdaptiveRootConfig
    from asr.streaming import Recognizer, StreamConfig

USAGE = """usage: asr adaptive EXP [key=value ...]

Streams a test set with chunks that follow the conditions, and with each of their sizes alone, as it is and with noise
added, and prints errors and latency in one table. EXP is a checkpoint, or the folder of a run.

  adaptive.chunk_sizes=[16,32,64] adaptive.snr_db=[18,10]
                            50 Hz frames, and the ratios at which to change
  noise_db=[null,10,0]      speech above added noise, decibels; null adds none
  left_context=128          50 Hz frames, for all
  data.splits=[dev]         the test set; the first one that is named counts
"""

HEADINGS = ("chunk", "WER % (95 %)", "a sound waits, s (mean)", "word shown after its end, s (mean)")
_SIDE_BY_SIDE = 25


def main(argv: Sequence[str]) -> int:
    arguments = parse(argv, usage=USAGE, at_least=1, at_most=1)
    config = settings("adaptive", arguments, checkpoint=arguments.positional[0])
    import torch

    import asr
    from asr.checkpoint.format import read_metadata
    from asr.checkpoint.model import find_checkpoint
    from asr.cli.test_sets import test_sets

    if config.num_threads is not None:
        torch.set_num_threads(config.num_threads)
    path = find_checkpoint(Path(config.checkpoint))
    sets = test_sets(config.data, read_metadata(path).get("origin", {}), scratch=path.parent / "adaptive-lists")
    name, cuts = next(iter(sets.items()))
    print(f"| {name}, speech above noise | {' | '.join(HEADINGS)} |\n|---|---|---:|---:|---:|")
    for row in table(asr.load(str(path)), cuts, config):
        print(f"| {' | '.join(row)} |", flush=True)
    return 0


def table(recognizer: Recognizer, cuts: CutSet, config: AdaptiveRootConfig) -> Iterator[tuple[str, ...]]:
    """Rows of text: conditions, chunks, errors, and two delays."""
    from asr.streaming import AdaptiveConfig, StreamConfig

    policy = config.adaptive or AdaptiveConfig()
    plain = StreamConfig(left_context=config.left_context, lookahead=config.lookahead, search=config.search)
    ways = {str(size): replace(plain, chunk_size=size) for size in policy.chunk_sizes}
    ways["adaptive"] = replace(plain, adaptive=policy)
    for noise_db in config.noise_db:
        condition = "as it is" if noise_db is None else f"{noise_db:g} dB"
        for way, stream_config in ways.items():
            yield condition, way, *_figures(recognizer, cuts, stream_config, noise_db)


def _figures(
    recognizer: Recognizer, cuts: CutSet, config: StreamConfig, noise_db: float | None
) -> tuple[str, str, str]:
    from asr.data.loading import load_samples
    from asr.evaluation import Transcript, Unit, Watched, measure_delays, score
    from asr.evaluation.positions import known_words
    from asr.streaming.trial import hear

    found, everything = [], sorted(cuts, key=lambda cut: (cut.duration, cut.id))
    for start in range(0, len(everything), _SIDE_BY_SIDE):
        some = everything[start : start + _SIDE_BY_SIDE]
        found += hear(recognizer, [with_noise(load_samples(cut), noise_db, cut.id) for cut in some], config)
    scored = score(Transcript(cut.id, cut.supervisions[0].text, one.text) for cut, one in zip(everything, found))
    alignments = {utterance.id: utterance.alignment for utterance in scored.utterances}
    delays = measure_delays(
        [Watched(known_words(cut), one.shown, cut.duration) for cut, one in zip(everything, found)],
        [alignments[cut.id] for cut in everything],
        unit=Unit.WORD,
        positions="known",
    )
    wait_s = sum(one.wait_s * cut.duration for cut, one in zip(everything, found)) / sum(c.duration for c in everything)
    interval = scored.interval
    rate = f"{100 * scored.counts.rate:.2f} ({100 * interval.low:.2f}-{100 * interval.high:.2f})"
    return rate, f"{wait_s:.2f}", f"{delays.emission.mean_s:.2f}" if delays.emission else "-"


def with_noise(samples: Tensor, noise_db: float | None, name: str) -> Tensor:
    """Add pink noise, always the same for the same name, `noise_db` decibels below the mean power of (N,) samples."""
    import zlib

    import torch

    if noise_db is None:
        return samples
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    spectrum = torch.fft.rfft(torch.randn(len(samples), generator=generator))
    noise = torch.fft.irfft(spectrum / torch.arange(1, len(spectrum) + 1).sqrt(), n=len(samples))
    return samples + noise * (samples.square().mean() / noise.square().mean() / 10 ** (noise_db / 10)).sqrt()

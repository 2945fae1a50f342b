"""asr adaptive: the adaptive window against every fixed chunk size, in quiet and in noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from asr.cli.arguments import parse
from asr.cli.settings import settings

if TYPE_CHECKING:
    from lhotse import CutSet
    from torch import Tensor

    from asr.config.decode_config import AdaptiveRootConfig
    from asr.evaluation.wer import Interval
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


class Figures(NamedTuple):
    """What one way of choosing chunks reached in one condition."""

    error_rate: float
    interval: Interval | None
    wait_s: float
    """What a sound waited for on average, in audio."""
    emission_s: float | None
    """From a word's end to its showing, on average; None where none was right."""

    def cells(self) -> tuple[str, str, str]:
        """As text."""
        interval = "" if self.interval is None else f" ({100 * self.interval.low:.2f}-{100 * self.interval.high:.2f})"
        emission = "-" if self.emission_s is None else f"{self.emission_s:.2f}"
        return f"{100 * self.error_rate:.2f}{interval}", f"{self.wait_s:.2f}", emission


def table(recognizer: Recognizer, cuts: CutSet, config: AdaptiveRootConfig) -> Iterator[tuple[str, ...]]:
    """Rows of text: conditions, chunks, errors, and two delays; at last the means over all conditions."""
    from asr.streaming import AdaptiveConfig, StreamConfig

    policy = config.adaptive or AdaptiveConfig()
    plain = StreamConfig(left_context=config.left_context, lookahead=config.lookahead, search=config.search)
    ways = {str(size): replace(plain, chunk_size=size) for size in policy.chunk_sizes}
    ways["adaptive"] = replace(plain, adaptive=policy)
    found: dict[str, list[Figures]] = {way: [] for way in ways}
    for noise_db in config.noise_db:
        condition = "as it is" if noise_db is None else f"{noise_db:g} dB"
        for way, stream_config in ways.items():
            found[way].append(_figures(recognizer, cuts, stream_config, noise_db))
            yield condition, way, *found[way][-1].cells()
    if len(config.noise_db) > 1:
        for way, figures in found.items():
            yield "all, mean", way, *_mean(figures).cells()


def _mean(figures: Sequence[Figures]) -> Figures:
    """Over conditions, of which each has the same words; an interval of the mean is not known."""
    emissions = [one.emission_s for one in figures if one.emission_s is not None]
    return Figures(
        error_rate=fmean(one.error_rate for one in figures),
        interval=None,
        wait_s=fmean(one.wait_s for one in figures),
        emission_s=fmean(emissions) if emissions else None,
    )


def _figures(recognizer: Recognizer, cuts: CutSet, config: StreamConfig, noise_db: float | None) -> Figures:
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
    emission_s = delays.emission.mean_s if delays.emission else None
    return Figures(scored.counts.rate, scored.interval, wait_s, emission_s)


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

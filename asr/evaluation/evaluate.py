"""A model on a test set: errors, delays and speed, in one report."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from lhotse import CutSet

from asr.data import Batch, DataConfig, eval_loader
from asr.decoding import SearchConfig, build_search
from asr.evaluation.latency import Delays, Watched, algorithmic_latency, measure_delays
from asr.evaluation.positions import WordPositions
from asr.evaluation.recognise import Recognised, Timing, recognise
from asr.evaluation.report import Report, summarise
from asr.evaluation.speed import Speed, measure_speed
from asr.evaluation.wer import Score, Unit, score
from asr.models.encoder import features_ahead
from asr.models.transducer import Transducer
from asr.nn.chunks import ChunkContext
from asr.text import Tokenizer


class Evaluated(NamedTuple):
    """Every error in its place, and the summary."""

    score: Score
    report: Report


def evaluate(
    model: Transducer,
    tokenizer: Tokenizer,
    cuts: CutSet,
    *,
    name: str,
    search: SearchConfig,
    context: ChunkContext,
    stepwise: bool = True,
    unit: Unit = Unit.WORD,
    max_duration_s: float = 60.0,
    progress: Callable[[Iterable[Batch]], Iterable[Batch]] = iter,
) -> Evaluated:
    """Decode a test set and measure all there is to measure.

    Args:
        name: of the test set.
        context: what frames may see; as `context_for` gives it.
        stepwise: chunk by chunk with cached state, as a live stream, where `context` has chunks; else one masked pass,
            with the same answers but nothing known of delays.
        max_duration_s: audio decoded side by side, seconds, padding included.
        progress: passes the batches on, showing how far they are.
    """
    streams = context.chunk_size is not None and context.left_context is not None
    batches = eval_loader(cuts, tokenizer, DataConfig(max_duration_s=max_duration_s, num_workers=0))
    timing, positions = Timing(), WordPositions(cuts, model, tokenizer, unit=unit)
    found = recognise(
        model,
        tokenizer,
        build_search(search, model, tokenizer),
        progress(batches),
        context,
        stepwise=stepwise and streams,
        timing=timing,
        positions=positions,
    )
    scored = score((item.transcript for item in found), unit=unit)
    watched = stepwise or not streams  # a masked pass shows the answer alone, but not when a stream would have it
    report = summarise(
        name,
        scored,
        latency=algorithmic_latency(chunk_size=context.chunk_size, lookahead=features_ahead(model.encoder, context)),
        speed=_speed(found, timing),
        delays=_delays(found, scored, positions.source) if watched else None,
        settings={
            "search": search.method.value,
            "chunk_size": context.chunk_size,
            "left_context": context.left_context,
            "lookahead": context.lookahead,
            "stepwise": stepwise and streams,
        },
    )
    return Evaluated(scored, report)


def _speed(found: list[Recognised], timing: Timing) -> Speed:
    audio_s = sum(item.duration_s for item in found)
    return measure_speed(timing.step_s, audio_s=audio_s, chunk_s=timing.chunk_s, num_threads=torch.get_num_threads())


def _delays(found: list[Recognised], scored: Score, positions: str) -> Delays:
    alignments = {utterance.id: utterance.alignment for utterance in scored.utterances}
    return measure_delays(
        [Watched(item.words, item.shown, item.duration_s) for item in found],
        [alignments[item.transcript.id] for item in found],
        unit=scored.unit,
        positions=positions,
    )

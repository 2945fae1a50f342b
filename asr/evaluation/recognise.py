"""A model's answers to a set of cuts, scored."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from asr.data import Batch
from asr.decoding import Hypothesis, Search
from asr.decoding.run import Step, decode_by_steps, decode_whole
from asr.evaluation.latency import Shown, SpokenWord, needed_s
from asr.evaluation.positions import WordPositions
from asr.evaluation.wer import Transcript
from asr.models.transducer import Transducer
from asr.nn.chunks import ChunkContext
from asr.text import Tokenizer


class Recognised(NamedTuple):
    """One utterance's answer beside its reference."""

    transcript: Transcript
    hypothesis: Hypothesis
    duration_s: float
    words: list[SpokenWord]
    """What was said, when; empty where nobody asked or knows."""
    shown: list[Shown]
    """What there was to read while it was decoded; after a single pass, nothing before its end."""


@dataclass
class Timing:
    """Computing times of steps, in seconds."""

    step_s: list[float] = field(default_factory=list)
    """Of each step of a whole batch; a pass over whole utterances is one."""
    chunk_s: list[float] = field(default_factory=list)
    """Of each step of a stream without company: every batch's first utterance, decoded once more."""


def context_for(
    model: Transducer, chunk_size: int | None, left_context: int | None, lookahead: int = 0
) -> ChunkContext:
    """What frames may see: the given chunks where the model can stream, else everything.

    Raises ConfigError where the model cannot work in such chunks.
    """
    if not model.encoder.supports_step:
        return ChunkContext()
    context = ChunkContext(chunk_size=chunk_size, left_context=left_context, lookahead=lookahead)
    model.encoder.config.check_context(context)
    return context


def recognise(
    model: Transducer,
    tokenizer: Tokenizer,
    search: Search,
    batches: Iterable[Batch],
    context: ChunkContext,
    *,
    stepwise: bool = False,
    timing: Timing | None = None,
    positions: WordPositions | None = None,
) -> list[Recognised]:
    """Decode every batch, on the model's device.

    Args:
        context: what frames may see.
        stepwise: chunk by chunk with cached state, instead of one masked pass with the same result.
        timing: takes the computing times, where given.
        positions: knows when words were said.
    """
    model.eval()
    found: list[Recognised] = []
    for loaded in batches:
        batch = loaded.to(model.feature_norm.mean.device)
        if stepwise:
            answers, shown = _by_steps(model, tokenizer, search, batch, context, timing)
        else:
            started = time.perf_counter()
            answers = decode_whole(model, search, batch.features, batch.feature_lens, context)
            if timing is not None:
                timing.step_s.append(time.perf_counter() - started)
            shown = [[] for _ in answers]
        words = positions.of(batch) if positions is not None else [[] for _ in answers]
        for row, answer in enumerate(answers):
            transcript = Transcript(batch.ids[row], batch.texts[row], answer.text(tokenizer))
            end_s = int(batch.feature_lens[row]) / 100.0
            seen = [*shown[row], Shown(end_s, transcript.hypothesis)]
            found.append(Recognised(transcript, answer, end_s, words[row], seen))
    return found


def _by_steps(
    model: Transducer,
    tokenizer: Tokenizer,
    search: Search,
    batch: Batch,
    context: ChunkContext,
    timing: Timing | None,
) -> tuple[list[Hypothesis], list[list[Shown]]]:
    """The answers, and what there was to read on the way to each."""
    shown: list[list[Shown]] = [[] for _ in batch.ids]
    durations_s = (batch.feature_lens / 100.0).tolist()
    timing = timing or Timing()

    def watch(step: Step) -> None:
        timing.step_s.append(step.compute_s)
        for row, partial in enumerate(search.partial(step.state)):
            text = partial.text(tokenizer)
            if text != (shown[row][-1].text if shown[row] else ""):
                # At a recording's end nobody waits for the rest of a chunk.
                shown[row].append(Shown(min(needed_s(step.num_features), durations_s[row]), text))

    answers = decode_by_steps(model, search, batch.features, batch.feature_lens, context, observe=watch)
    alone = (batch.features[:1], batch.feature_lens[:1])
    decode_by_steps(model, search, *alone, context, observe=lambda step: timing.chunk_s.append(step.compute_s))
    return answers, shown

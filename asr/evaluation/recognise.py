"""A model's answers to a set of cuts, scored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch

from asr.data import Batch
from asr.decoding import Hypothesis, Search, SearchConfig, build_search
from asr.decoding.run import decode_by_steps, decode_whole
from asr.evaluation.wer import Transcript, score
from asr.models.transducer import Transducer
from asr.nn.chunks import ChunkContext
from asr.text import Tokenizer


class Recognised(NamedTuple):
    """One utterance's answer beside its reference."""

    transcript: Transcript
    hypothesis: Hypothesis
    duration_s: float


def context_for(model: Transducer, chunk_size: int | None, left_context: int | None) -> ChunkContext:
    """What frames may see: the given chunks where the model can stream, else everything.

    Raises ConfigError where the model cannot work in such chunks.
    """
    if not model.encoder.supports_step:
        return ChunkContext()
    model.encoder.config.check_chunk_size(chunk_size)
    return ChunkContext(chunk_size=chunk_size, left_context=left_context)


def recognise(
    model: Transducer,
    tokenizer: Tokenizer,
    search: Search,
    batches: Iterable[Batch],
    context: ChunkContext,
    *,
    stepwise: bool = False,
    step_times_s: list[float] | None = None,
) -> list[Recognised]:
    """Decode every batch.

    Args:
        context: what frames may see.
        stepwise: chunk by chunk with cached state, instead of one masked pass with the same result.
        step_times_s: takes the computing time of each step, of a whole batch, where given.
    """
    model.eval()
    found: list[Recognised] = []
    for batch in batches:
        if stepwise:
            answers = decode_by_steps(
                model, search, batch.features, batch.feature_lens, context, step_times_s=step_times_s
            )
        else:
            answers = decode_whole(model, search, batch.features, batch.feature_lens, context)
        rows = zip(batch.ids, batch.texts, answers, batch.feature_lens.tolist())
        for cut_id, text, answer, frames in rows:
            transcript = Transcript(cut_id, text, tokenizer.decode(answer.tokens))
            found.append(Recognised(transcript, answer, frames / 100.0))
    return found


@torch.no_grad()
def error_rates(
    model: Transducer,
    tokenizer: Tokenizer,
    batches: Iterable[Batch],
    context: ChunkContext,
    *,
    blank_penalties: Sequence[float] = (0.0,),
) -> dict[float, float]:
    """Greedy word error rates, as fractions, by blank penalty; every utterance is encoded once.

    Args:
        context: what frames may see.
        blank_penalties: nats taken from the blank's logit.
    """
    model.eval()
    said: dict[float, list[Transcript]] = {penalty: [] for penalty in blank_penalties}
    for batch in batches:
        encoded = model.encode(batch.features, batch.feature_lens, context=context)
        for penalty, transcripts in said.items():
            search = build_search(SearchConfig(blank_penalty=penalty), model)
            answers = search.finish(search.advance(encoded.out, encoded.lens, search.init(len(batch.ids))))
            texts = (tokenizer.decode(answer.tokens) for answer in answers)
            transcripts += map(Transcript, batch.ids, batch.texts, texts)
    return {penalty: score(transcripts).rate for penalty, transcripts in said.items()}

"""A model's answers to a set of cuts, scored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from asr.data import Batch, DataConfig, eval_loader, split_cuts
from asr.decoding import Hypothesis, Search, SearchConfig, build_search
from asr.decoding.run import decode_by_steps, decode_whole
from asr.errors import ConfigError
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


def error_rate_on(
    model: Transducer,
    tokenizer: Tokenizer,
    context: ChunkContext,
    *,
    origin: Mapping[str, str],
    split: str | None = None,
) -> float:
    """Greedy word error rate, as a fraction, on a split of the corpus that the model comes from.

    Args:
        origin: what the checkpoint says of its corpus, `folder` and `dev`.
        split: None takes the dev split.
    Raises ConfigError where the checkpoint does not say what the model was trained on.
    """
    if not origin.get("folder"):
        raise ConfigError("the checkpoint does not say what corpus it comes from, so there is no dev set to decode")
    data = DataConfig(folder=origin["folder"], max_duration_s=60.0, num_workers=0)
    batches = eval_loader(split_cuts(data, split or origin["dev"]), tokenizer, data)
    found = recognise(model, tokenizer, build_search(SearchConfig(), model), batches, context)
    return score(item.transcript for item in found).rate

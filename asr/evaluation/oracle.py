"""Another choice from each n-best list: the best there is, which no choice can surpass, or the attention decoder's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import cast

from lhotse import CutSet

from asr.data import Batch, DataConfig, eval_loader
from asr.decoding import SearchConfig, build_search
from asr.decoding.config import K2_METHODS
from asr.decoding.rescore import rescored_whole
from asr.decoding.run import nbest_whole
from asr.decoding.search import NbestSearch
from asr.evaluation.evaluate import Evaluated
from asr.evaluation.report import summarise
from asr.evaluation.wer import Transcript, Unit, score, score_utterance
from asr.models.transducer import Transducer
from asr.nn.chunks import ChunkContext
from asr.text import Tokenizer


def evaluate_choice(
    model: Transducer,
    tokenizer: Tokenizer,
    cuts: CutSet,
    *,
    name: str,
    search: SearchConfig,
    context: ChunkContext,
    attention_scale: float | None = None,
    unit: Unit = Unit.WORD,
    max_duration_s: float = 60.0,
    progress: Callable[[Iterable[Batch]], Iterable[Batch]] = iter,
) -> Evaluated:
    """Score one sequence of each n-best list: what search and attention decoder together find most probable, or without
    `attention_scale` the one with the fewest errors.

    Arguments as in `asr.evaluation.evaluate.evaluate`; each frame sees what `context` allows, in one pass.

    Args:
        search: one with n-best lists.
        attention_scale: weight of the attention decoder's log-probability; the search's has 1.
    """
    lister = cast(NbestSearch, build_search(search, model, tokenizer))

    def choose(loaded: Batch) -> list[str]:
        batch = loaded.to(model.feature_norm.mean.device)
        heard = model, lister, batch.features, batch.feature_lens, context
        if attention_scale is not None:
            return [best.text(tokenizer) for best in rescored_whole(*heard, scale=attention_scale)]
        lists = [[hypothesis.text(tokenizer) for hypothesis in found] for found in nbest_whole(*heard)]
        return [fewest_errors(*pair, unit=unit) for pair in zip(batch.texts, lists, strict=True)]

    batches = progress(eval_loader(cuts, tokenizer, DataConfig(max_duration_s=max_duration_s, num_workers=0)))
    rows = (row for batch in batches for row in zip(batch.ids, batch.texts, choose(batch), strict=True))
    scored = score([Transcript(*row) for row in rows], unit=unit)
    lists = {"num_paths": search.lattice.num_paths} if search.method in K2_METHODS else {"beam": search.beam}
    settings = {
        "search": search.method.value,
        **(lists if attention_scale is None else {"attention_scale": attention_scale}),
        "chunk_size": context.chunk_size,
        "left_context": context.left_context,
        "lookahead": context.lookahead,
    }
    return Evaluated(scored, summarise(name, scored, settings=settings))


def fewest_errors(reference: str, texts: list[str], *, unit: Unit) -> str:
    """The one of `texts` nearest to the reference, of equals the first; silence where there is none."""
    return min(
        texts or [""], key=lambda text: score_utterance(Transcript("", reference, text), unit=unit).counts.errors
    )

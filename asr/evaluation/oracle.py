"""Another choice from each n-best list: the best there is, which no choice can surpass, or the attention decoder's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import cast

from lhotse import CutSet

from asr.data import Batch, DataConfig, eval_loader
from asr.decoding import SearchConfig, SearchMethod, build_search
from asr.decoding.rescore import rescored_whole
from asr.decoding.run import nbest_whole
from asr.decoding.search import NbestSearch
from asr.evaluation.evaluate import Evaluated
from asr.evaluation.report import summarise
from asr.evaluation.wer import Transcript, Unit, score, score_utterance
from asr.models.transducer import Transducer
from asr.nn.chunks import ChunkContext
from asr.text import Tokenizer


def oracle(
    model: Transducer,
    tokenizer: Tokenizer,
    cuts: CutSet,
    *,
    name: str,
    search: SearchConfig,
    context: ChunkContext,
    unit: Unit = Unit.WORD,
    max_duration_s: float = 60.0,
    progress: Callable[[Iterable[Batch]], Iterable[Batch]] = iter,
) -> Evaluated:
    """Score the sequence with the fewest errors among those that `search`, one with n-best lists, tells apart.

    Arguments as in `asr.evaluation.evaluate.evaluate`; each frame sees what `context` allows, in one pass.
    """
    batches = eval_loader(cuts, tokenizer, DataConfig(max_duration_s=max_duration_s, num_workers=0))
    lister = cast(NbestSearch, build_search(search, model, tokenizer))
    best = []
    for batch in progress(batches):
        ranked = nbest_whole(model, lister, batch.features, batch.feature_lens, context)
        for id, reference, found in zip(batch.ids, batch.texts, ranked, strict=True):
            texts = [hypothesis.text(tokenizer) for hypothesis in found]
            best.append(fewest_errors(id, reference, texts, unit=unit))
    scored = score(best, unit=unit)
    lists = {"beam": search.beam} if search.method is SearchMethod.BEAM else {"num_paths": search.lattice.num_paths}
    settings = {"search": search.method.value, **lists, **_seen(context)}
    return Evaluated(scored, summarise(name, scored, settings=settings))


def rescored(
    model: Transducer,
    tokenizer: Tokenizer,
    cuts: CutSet,
    *,
    name: str,
    search: SearchConfig,
    context: ChunkContext,
    scale: float,
    unit: Unit = Unit.WORD,
    max_duration_s: float = 60.0,
    progress: Callable[[Iterable[Batch]], Iterable[Batch]] = iter,
) -> Evaluated:
    """Score the sequences that search and attention decoder together find most probable; arguments as in `oracle`.

    Args:
        scale: weight of the attention decoder's log-probability; the search's has 1.
    """
    batches = eval_loader(cuts, tokenizer, DataConfig(max_duration_s=max_duration_s, num_workers=0))
    lister = cast(NbestSearch, build_search(search, model, tokenizer))
    found = []
    for batch in progress(batches):
        best = rescored_whole(model, lister, batch.features, batch.feature_lens, context, scale=scale)
        found += [Transcript(*row) for row in zip(batch.ids, batch.texts, (one.text(tokenizer) for one in best))]
    scored = score(found, unit=unit)
    settings = {"search": search.method.value, "attention_scale": scale, **_seen(context)}
    return Evaluated(scored, summarise(name, scored, settings=settings))


def _seen(context: ChunkContext) -> dict[str, str | int | float | bool | None]:
    return {
        "chunk_size": context.chunk_size,
        "left_context": context.left_context,
        "lookahead": context.lookahead,
    }


def fewest_errors(id: str, reference: str, texts: list[str], *, unit: Unit) -> Transcript:
    """The one of `texts` nearest to the reference, of equals the first; silence where there is none."""
    choices = [Transcript(id, reference, text) for text in texts or [""]]
    return min(choices, key=lambda choice: score_utterance(choice, unit=unit).counts.errors)

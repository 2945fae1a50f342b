"""How well the model in training recognises the dev set."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lhotse import CutSet

from asr.data import DataConfig, eval_loader, heard_cuts
from asr.decoding import SearchConfig, SearchMethod, build_search
from asr.evaluation import score
from asr.evaluation.recognise import context_for, recognise
from asr.evaluation.wer import Transcript
from asr.models.transducer import Transducer
from asr.text import Tokenizer
from asr.training.journal import Journal, QuietJournal
from asr.training.run_config import EvaluationConfig
from asr.training.sharding import whole_model
from asr.training.world import World

_NUM_EXAMPLES = 8


class Validation:
    """Decodes the dev set greedily, by the transducer and by its CTC head where there is one."""

    def __init__(
        self,
        model: Transducer,
        tokenizer: Tokenizer,
        data: DataConfig,
        config: EvaluationConfig,
        journal: Journal | QuietJournal,
        world: World,
    ):
        self.model, self.tokenizer, self.journal, self.world = model, tokenizer, journal, world
        # Of similar lengths for every process: the longest is the first's, the next one the second's.
        cuts = sorted(heard_cuts(data, data.dev), key=lambda cut: (-cut.duration, cut.id))
        self.cuts = CutSet.from_cuts(cuts[world.rank :: world.size])
        self.data = replace(data, max_duration_s=config.max_duration_s, num_workers=0)
        self.unit = config.unit
        self.context = context_for(model, config.chunk_size, config.left_context)

    def __call__(self, step: int) -> dict[str, Any]:
        """Error rates in percent: "wer", and "ctc_wer" where a CTC head stands beside the transducer.

        Both count what the recipe counts, which may be characters. Examples go to the journal.
        Every process decodes its share of the dev set, so every one must call this.
        """
        model = whole_model(self.model)
        found = self._recognise(model, SearchMethod.GREEDY)
        self.journal.examples(step, _examples(found))
        numbers = {"wer": self._percent(found)}
        if self.model.ctc_head is not None and self.model.has_transducer:
            found = self._recognise(model, SearchMethod.CTC_GREEDY)
            numbers["ctc_wer"] = self._percent(found)
        return numbers

    def _percent(self, found: list[Transcript]) -> float:
        return 100.0 * score(found, unit=self.unit).rate

    def _recognise(self, model: Transducer, method: SearchMethod) -> list[Transcript]:
        """What all processes together recognise, by utterance."""
        search = build_search(SearchConfig(method=method), model)
        batches = eval_loader(self.cuts, self.tokenizer, self.data)
        there = (batch.to(self.world.device) for batch in batches)
        mine = recognise(model, self.tokenizer, search, there, self.context)
        shares = self.world.gather([item.transcript for item in mine])
        return sorted(transcript for share in shares for transcript in share)


def _examples(found: list[Transcript]) -> list[tuple[str, str]]:
    """A few references and hypotheses, the same utterances every time."""
    few = found[:: max(len(found) // _NUM_EXAMPLES, 1)][:_NUM_EXAMPLES]
    return [(item.reference, item.hypothesis) for item in few]

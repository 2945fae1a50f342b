"""How well the model in training recognises the dev set."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from asr.data import DataConfig, eval_loader, heard_cuts
from asr.decoding import SearchConfig, SearchMethod, build_search
from asr.evaluation import score
from asr.evaluation.recognise import Recognised, context_for, recognise
from asr.models.transducer import Transducer
from asr.text import Tokenizer
from asr.training.journal import Journal
from asr.training.run_config import EvaluationConfig

_NUM_EXAMPLES = 8


class Validation:
    """Decodes the dev set greedily, by the transducer and by its CTC head where there is one."""

    def __init__(
        self, model: Transducer, tokenizer: Tokenizer, data: DataConfig, config: EvaluationConfig, journal: Journal
    ):
        self.model, self.tokenizer, self.journal = model, tokenizer, journal
        self.cuts = heard_cuts(data, data.dev)
        self.data = replace(data, max_duration_s=config.max_duration_s, num_workers=0)
        self.unit = config.unit
        self.context = context_for(model, config.chunk_size, config.left_context)

    def __call__(self, step: int) -> dict[str, Any]:
        """Error rates in percent: "wer", and "ctc_wer" where a CTC head stands beside the transducer.

        Both count what the recipe counts, which may be characters. Examples go to the journal.
        """
        found = self._recognise(SearchMethod.GREEDY)
        self.journal.text("dev/examples", step, _examples(found))
        numbers = {"wer": self._percent(found)}
        if self.model.ctc_head is not None and self.model.has_transducer:
            found = self._recognise(SearchMethod.CTC_GREEDY)
            numbers["ctc_wer"] = self._percent(found)
        return numbers

    def _percent(self, found: list[Recognised]) -> float:
        return 100.0 * score((item.transcript for item in found), unit=self.unit).rate

    def _recognise(self, method: SearchMethod) -> list[Recognised]:
        search = build_search(SearchConfig(method=method), self.model)
        batches = eval_loader(self.cuts, self.tokenizer, self.data)
        return recognise(self.model, self.tokenizer, search, batches, self.context)


def _examples(found: list[Recognised]) -> str:
    lines = []
    for item in found[:: max(len(found) // _NUM_EXAMPLES, 1)][:_NUM_EXAMPLES]:
        _, reference, hypothesis = item.transcript
        lines.append(f"    ref  {reference}\n    hyp  {hypothesis}\n")
    return "\n".join(lines)

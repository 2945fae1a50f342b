"""Batched greedy search against the encoder that feeds it."""

from __future__ import annotations

import torch

from asr.bench.result import Row
from asr.bench.timing import compare, interleave, milliseconds
from asr.decoding import SearchConfig
from asr.decoding.greedy import GreedySearch
from asr.models.transducer import Transducer, TransducerConfig
from asr.nn.chunks import ChunkContext

BATCH, FEATURE_FRAMES = 16, 1000
TOKENS_PER_FRAME = 0.16
"""Four tokens a second, as English in 500 units has."""


@torch.inference_mode()
def run() -> list[Row]:
    """The medium model on 16 utterances of 10 s; a random encoder says too little, so the search gets random frames."""
    torch.manual_seed(1)
    model = Transducer(TransducerConfig()).eval()
    x, lens = torch.randn(BATCH, FEATURE_FRAMES, 80), torch.full((BATCH,), FEATURE_FRAMES)
    encoded = model.encode(x, lens, context=ChunkContext())
    frames = torch.randn_like(encoded.out)
    _talk(model, frames)
    search = GreedySearch(model, SearchConfig())

    def ours() -> int:
        return int(search.advance(frames, encoded.lens, search.init(BATCH)).history.num_tokens.sum())

    sides = {"search": ours, "encoder": lambda: model.encode(x, lens, context=ChunkContext())}
    found = compare(interleave(sides, rounds=5, warm_up=1), "search", "encoder")
    return [
        Row(
            work="greedy search, batch 16, against the medium encoder",
            value=found.value,
            must=0.05,
            aim=0.02,
            spread=found.spread,
            note=f"{milliseconds(found.medians[0])} against {milliseconds(found.medians[1])}; "
            f"{ours() / (10 * BATCH):.1f} tokens a second",
        )
    ]


def _talk(model: Transducer, frames: torch.Tensor) -> None:
    """Set the blank's bias so that tokens come about as often as in speech."""
    rows = frames.flatten(0, 1)
    contexts = torch.randint(1, model.config.vocab_size, (len(rows), model.config.context_size))
    logits = model.joiner(rows, model.predictor(contexts, pad_left=False).squeeze(1))
    lead = logits[:, 1:].max(dim=1).values - logits[:, 0]
    model.joiner.output_linear.bias[0] += lead.quantile(1 - TOKENS_PER_FRAME)

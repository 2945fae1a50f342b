"""The medium encoder's inference with products in bfloat16, against our own float32."""

from __future__ import annotations

from pathlib import Path

import torch

from asr.bench.result import Row
from asr.bench.timing import compare, interleave, milliseconds
from asr.bench.yardstick import Work, our_work
from asr.checkpoint.model import load_model
from asr.errors import RillError
from asr.kernels.bfloat16 import Bfloat16Products

WORK = "medium encoder, inference, bfloat16 products against our float32"


def run() -> list[Row]:
    """Time, and how far the output moves; weights are those a model starts from."""
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return [Row(work=WORK, value=None, must=0.8, aim=0.65, note="this processor has no such products")]
    work, products = our_work(), Bfloat16Products()
    work.model.eval()

    def low() -> torch.Tensor:
        with products:
            return work()

    with torch.no_grad():
        full = work()
        error = ((low() - full).norm() / full.norm()).item()
        found = compare(interleave({"bfloat16": low, "float32": work}), "bfloat16", "float32")
    mine, other = found.medians
    note = f"{milliseconds(mine)} against {milliseconds(other)}; output off by {error:.2g} of its norm; {_trained()}"
    return [Row(work=WORK, value=found.value, must=0.8, aim=0.65, spread=found.spread, note=note)]


def _trained(run: str = "exp/digits") -> str:
    """The same for trained weights, where there are any: noise of the level of speech."""
    try:
        model = load_model(Path(run)).model
    except (RillError, OSError):
        return "no trained model at hand"
    work = Work(model, our_work().x, our_work().lens)
    with torch.no_grad():
        full = work()
        with Bfloat16Products():
            low = work()
    return f"trained digits model {((low - full).norm() / full.norm()).item():.2g}"

"""Products in bfloat16 for inference; everything between them stays in float32."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import Parameter, functional


class Bfloat16Products:
    """Within `with`, products with whole parameters use copies of these in bfloat16, where no gradient is asked for.

    The copies are made on first use and kept, so keep the object; make a new one when the parameters have changed. This
    pays on processors with such products (AVX512-BF16, AMX) with large batches. One thread at a time may be inside.
    """

    active: Bfloat16Products | None = None

    def __init__(self) -> None:
        # By address; the parameter is held so that the address stays its own.
        self._twins: dict[int, tuple[Tensor, Tensor]] = {}

    def __enter__(self) -> Bfloat16Products:
        Bfloat16Products.active = self
        return self

    def __exit__(self, *exception: object) -> None:
        Bfloat16Products.active = None

    def twin(self, weight: Tensor) -> Tensor | None:
        """The copy of a parameter, or of a view of all of it; None for anything else."""
        owner = weight if isinstance(weight, Parameter) else weight._base
        if not isinstance(owner, Parameter) or owner.numel() != weight.numel():
            return None
        if owner.data_ptr() not in self._twins:
            self._twins[owner.data_ptr()] = owner, weight.detach().bfloat16()
        return self._twins[owner.data_ptr()][1]


def twin(weight: Tensor) -> Tensor | None:
    """The copy to use in a product with `weight` now, if any."""
    active = Bfloat16Products.active
    return None if active is None or torch.is_grad_enabled() else active.twin(weight)


def narrow_linear(x: Tensor, small: Tensor, bias: Tensor | None) -> Tensor:
    """x small^T + bias, all but the bias in bfloat16."""
    if bias is not None:
        known = twin(bias)
        bias = bias.bfloat16() if known is None else known
    if _onednn_has_it():  # torch's own call spends a twelfth more
        return torch.ops.mkldnn._linear_pointwise(x, small, bias, "none", [], "")
    return functional.linear(x, small, bias)


@cache
def _onednn_has_it() -> bool:
    supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return hasattr(torch.ops.mkldnn, "_linear_pointwise") and supported is not None and supported()

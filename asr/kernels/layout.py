"""Weights in the order in which a kernel reads them, laid out once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable

from torch import Tensor
from torch.nn import Parameter


def keeps(weight: Tensor) -> bool:
    """Whether `laid_out` can tell when the weight changes: inference tensors do not say, so these must be constants."""
    return isinstance(weight, Parameter) and not (weight.is_inference() and weight.requires_grad)


def laid_out(weight: Tensor, lay_out: Callable[[Tensor], Tensor]) -> Tensor:
    """`lay_out(weight)`, kept with the parameter until it changes; there is one layout for each."""
    if not keeps(weight):
        return lay_out(weight)
    now = stamp(weight)
    found = getattr(weight, "_packed", None)
    if found is None or found[0] != now:
        found = now, lay_out(weight.detach())
        weight._packed = found  # type: ignore[attr-defined]  # copies of the parameter do not take it along
    return found[1]


def stamp(weight: Tensor) -> Hashable:
    """Another one whenever a weight has changed."""
    version = 0 if weight.is_inference() else weight._version
    return version, getattr(weight, "_refills", 0), weight.data_ptr()


def refilled(weights: Iterable[Tensor]) -> None:
    """Tell that other numbers may lie in the memory of weights, whose versions say nothing of it."""
    for weight in weights:
        weight._refills = getattr(weight, "_refills", 0) + 1  # type: ignore[attr-defined]

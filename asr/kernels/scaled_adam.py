"""What ScaledAdam does to whole tensors: one pass that sums, one that moves."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from asr.kernels.native import library


class Sums(NamedTuple):
    """Euclidean norms of N gradients and their inner products with the parameters, both 0 where there is no gradient;
    norms of the parameters, or None; (N,) float64 on the host."""

    grad_norms: Tensor
    dots: Tensor
    param_norms: Tensor | None


class Factors(NamedTuple):
    """Numbers of one update."""

    beta1: float
    """Decay of the moves."""
    beta2: float
    """Decay of the squares."""
    gain: float
    """What a squared gradient weighs in them."""
    eps: float
    """Added to their roots."""


def sums(params: Sequence[Tensor], grads: Sequence[Tensor | None], *, sizes: bool) -> Sums:
    """Reduce N tensors to two numbers each, or three; an accelerator is waited for once."""
    if _native_fits(params):
        return _native_sums(params, grads, sizes)
    return plain_sums(params, grads, sizes=sizes)


def update(
    params: Sequence[Tensor],
    grads: Sequence[Tensor | None],
    squares: Sequence[Tensor],
    deltas: Sequence[Tensor],
    rates: Sequence[float],
    growth: Sequence[float] | None,
    factors: Factors,
) -> None:
    """Move N parameters, in place. Element by element, with a rate and a growth for each tensor:

        square = beta2 square + gain grad^2
        delta  = beta1 delta + rate grad / (sqrt(square) + eps) + growth param
        param  = param + delta

    Without a gradient, terms with one are left out.
    """
    move = _native_update if _native_fits(params) else plain_update
    move(params, grads, squares, deltas, rates, growth, factors)


# -- plain torch


def plain_sums(params: Sequence[Tensor], grads: Sequence[Tensor | None], *, sizes: bool) -> Sums:
    """`sums` from list operations."""
    with_grad = [i for i, grad in enumerate(grads) if grad is not None]
    given = [grad for grad in grads if grad is not None]
    pieces = []
    if given:
        pieces += [_norms(given), dots([params[i] for i in with_grad], given)]
    if sizes:
        pieces.append(_norms(params))
    host = torch.cat(pieces).to("cpu", torch.float64) if pieces else torch.zeros(0, dtype=torch.float64)
    found = torch.zeros(2, len(params), dtype=torch.float64)
    found[:, with_grad] = host[: 2 * len(given)].view(2, -1)
    return Sums(found[0], found[1], host[2 * len(given) :] if sizes else None)


def _norms(tensors: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(torch._foreach_norm(list(tensors))))


def dots(left: Sequence[Tensor], right: Sequence[Tensor]) -> Tensor:
    """Inner products of N pairs of equally shaped tensors, (N,)."""
    if left[0].is_cuda and hasattr(torch, "_foreach_clamp_min_"):
        return dots_by_norms(left, right)
    return torch.stack([torch.dot(x.reshape(-1), y.reshape(-1)) for x, y in zip(left, right)])


def dots_by_norms(left: Sequence[Tensor], right: Sequence[Tensor]) -> Tensor:
    """As `dots`, from list operations only.

    There is a list norm but no list sum, and one kernel per pair is slow on an accelerator. The sum of x is twice the
    1-norm of its positive part minus its 1-norm, with rounding errors of the order of those of the plain sum.
    """
    products = torch._foreach_mul(list(left), list(right))
    total = torch.stack(list(torch._foreach_norm(products, 1)))
    torch._foreach_clamp_min_(products, 0.0)
    return 2 * torch.stack(list(torch._foreach_norm(products, 1))) - total


def plain_update(
    params: Sequence[Tensor],
    grads: Sequence[Tensor | None],
    squares: Sequence[Tensor],
    deltas: Sequence[Tensor],
    rates: Sequence[float],
    growth: Sequence[float] | None,
    factors: Factors,
) -> None:
    """`update` from list operations."""
    torch._foreach_mul_(list(squares), factors.beta2)
    torch._foreach_mul_(list(deltas), factors.beta1)
    with_grad = [i for i, grad in enumerate(grads) if grad is not None]
    if with_grad:
        given = [grad for grad in grads if grad is not None]
        chosen = [squares[i] for i in with_grad]
        torch._foreach_addcmul_(chosen, given, given, value=factors.gain)
        roots = list(torch._foreach_sqrt(chosen))
        torch._foreach_add_(roots, factors.eps)
        torch._foreach_addcdiv_([deltas[i] for i in with_grad], given, roots, [rates[i] for i in with_grad])
    if growth is not None:
        torch._foreach_add_(list(deltas), torch._foreach_mul(list(params), list(growth)))
    torch._foreach_add_(list(params), list(deltas))


# -- C++


def _native_fits(params: Sequence[Tensor]) -> bool:
    # It runs on one thread; with several, list operations are as fast.
    good = all(p.dtype is torch.float32 and p.device.type == "cpu" and p.is_contiguous() for p in params)
    told = hasattr(torch.autograd.graph, "increment_version")
    return good and told and torch.get_num_threads() == 1 and library("scaled_adam") is not None


def _native_sums(params: Sequence[Tensor], grads: Sequence[Tensor | None], sizes: bool) -> Sums:
    out = torch.empty(3, len(params), dtype=torch.float64)
    given = _dense(grads)
    code = library("scaled_adam")
    assert code is not None
    code.scaled_adam_sums(
        ctypes.c_int64(len(params)), _counts(params), _pointers(params), _pointers(given), sizes, _pointer(out)
    )
    return Sums(out[0].sqrt(), out[1], out[2].sqrt() if sizes else None)


def _native_update(
    params: Sequence[Tensor],
    grads: Sequence[Tensor | None],
    squares: Sequence[Tensor],
    deltas: Sequence[Tensor],
    rates: Sequence[float],
    growth: Sequence[float] | None,
    factors: Factors,
) -> None:
    assert all(x.is_contiguous() for x in (*squares, *deltas))
    floats = ctypes.c_float * len(params)
    given = _dense(grads)
    code = library("scaled_adam")
    assert code is not None
    code.scaled_adam_update(
        ctypes.c_int64(len(params)),
        _counts(params),
        *(_pointers(tensors) for tensors in (params, given, squares, deltas)),
        floats(*rates),
        floats(*(growth or ())),
        *map(ctypes.c_float, factors),
    )
    for changed in (*params, *squares, *deltas):
        # Whoever keeps what was worked out from a weight must see that it is another one now.
        torch.autograd.graph.increment_version(changed)


def _dense(grads: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Gradients in memory as their parameters are; some come from the back of a convolution in another order."""
    return [None if grad is None else grad.contiguous() for grad in grads]


def _counts(tensors: Sequence[Tensor]) -> ctypes.Array[ctypes.c_int64]:
    return (ctypes.c_int64 * len(tensors))(*(x.numel() for x in tensors))


def _pointers(tensors: Sequence[Tensor | None]) -> ctypes.Array[ctypes.c_void_p]:
    return (ctypes.c_void_p * len(tensors))(*(None if x is None else x.data_ptr() for x in tensors))


def _pointer(tensor: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())

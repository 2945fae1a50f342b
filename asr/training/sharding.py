"""Models too large for every process to hold a whole one: each keeps a share of every tensor (FSDP2).

A layer's parameters come together when it runs, forward and backward, and are let go again. Gradients, the optimizer's
state and averages never do. Source: Zhao et al., "PyTorch FSDP", arXiv 2304.11277; its second version in torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed import fsdp

from asr.errors import ConfigError
from asr.kernels.layout import refilled
from asr.models.transducer import Transducer, copy_weights
from asr.models.zipformer.layer import ZipformerLayer
from asr.tensors import is_spread, whole
from asr.training.objective import TransducerObjective


def shard(objective: TransducerObjective) -> None:
    """Spread the model over all processes, in place: layer by layer where it is a Zipformer, else as one.

    Raises:
        ConfigError: this torch cannot.
    """
    fully_shard = getattr(fsdp, "fully_shard", None)
    if fully_shard is None or "ignored_params" not in signature(fully_shard).parameters:
        raise ConfigError("training.parallel=FSDP needs torch 2.7 or newer; use training.parallel=DDP")
    single = {parameter for parameter in objective.parameters() if parameter.dim() == 0}  # nothing to split
    layers = [module for module in objective.modules() if isinstance(module, ZipformerLayer)]
    inside = {parameter for layer in layers for parameter in layer.parameters()}
    _touch_all(objective, single | inside, lambda loss, touch: loss._replace(total=touch(loss.total)))
    for layer in layers:
        _touch_all(layer, single, lambda found, touch: (touch(found[0]), *found[1:]))
        fully_shard(layer, reshard_after_forward=True, ignored_params=single)
    # Let go even after a forward without backward, or the next one would not see what the optimizer has moved since.
    fully_shard(objective, reshard_after_forward=True, ignored_params=single)


def _touch_all(module: nn.Module, except_for: set[nn.Parameter], apply: Callable[[Any, Any], Any]) -> None:
    """Give parameters of a module, all but some, a gradient in every backward, if only zero.

    Regularisers leave out parts at random, differently on every process, but all must exchange the same tensors.
    """
    places = [
        (owner, name)
        for owner in module.modules()
        for name, parameter in owner.named_parameters(recurse=False)
        if parameter not in except_for
    ]
    forward = module.forward

    def touching(*args: Any, **kwargs: Any) -> Any:
        present = [getattr(owner, name) for owner, name in places]
        refilled(present)  # as they came together; torch leaves their versions alone, for the sake of backward
        found = forward(*args, **kwargs)
        if not torch.is_grad_enabled():
            return found
        return apply(found, lambda x: _Touch.apply(x, *present))

    module.forward = touching  # type: ignore[method-assign]


class _Touch(torch.autograd.Function):
    """The first argument as it is; the gradient of all others is zero."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *parameters: Tensor) -> Tensor:
        ctx.like = [torch.zeros((), device=x.device).expand(parameter.shape) for parameter in parameters]
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return grads[0], *ctx.like


def exchange_rest(model: nn.Module, size: int) -> None:
    """Average the gradients of what is not spread: parameters of one element without a dimension."""
    rest = [parameter for parameter in model.parameters() if not is_spread(parameter)]
    if rest:
        grads = torch.stack([torch.zeros_like(one) if one.grad is None else one.grad for one in rest])
        distributed.all_reduce(grads)
        for parameter, grad in zip(rest, grads / size):
            parameter.grad = grad


def gathered(tensors: Mapping[str, Tensor], *, keep: bool) -> dict[str, Tensor]:
    """Whole tensors, spread ones in the host's memory; every process must call this, those that `keep` get them."""
    found = {}
    for name, tensor in tensors.items():
        together = whole(tensor.detach())
        if keep:
            found[name] = together.to("cpu") if is_spread(tensor) else together
    return found


def is_sharded(model: nn.Module) -> bool:
    """Whether processes have shares of a model."""
    return any(is_spread(parameter) for parameter in model.parameters())


def whole_model(model: Transducer) -> Transducer:
    """The model, or of one in shares a whole copy as it is now; every process must call this."""
    if not is_sharded(model):
        return model
    state = gathered(model.state_dict(), keep=True)
    copy = Transducer(model.config)
    copy_weights(copy, state)
    return copy.to(model.feature_norm.mean.device)

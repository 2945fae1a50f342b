"""Turn the optimizer state of a published checkpoint into ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from asr.errors import CheckpointError


def convert_published_state(
    state: Mapping[str, Mapping[str, Any]],
    groups: Sequence[Mapping[str, Sequence[int]]],
    *,
    lr: float = 0.0,
    clipping_update_period: int = 100,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Unstack the published layout into what `ScaledAdam.load_state_tensors` reads.

    There, parameters of equal shape share one state, stacked on axis 0 in parameter order and kept under the first of
    them; the clipping memory is kept under the first shape in lexicographic order.

    Args:
        state: per first-of-shape parameter name, its `step`, `exp_avg_sq`, `delta` and so on.
        groups: per parameter group, the shape of each parameter by name, in the published order.
        lr: rate to note; schedules set it anew before the next step.
        clipping_update_period: of the optimizer that will load it; only used when nothing was ever clipped.
    Raises:
        CheckpointError: the state of a shape is missing, or stacks another number of parameters.
    """
    tensors: dict[str, Tensor] = {}
    scalars = []
    for index, shapes in enumerate(groups):
        names = list(shapes)
        batches = list(_batches(state, shapes))
        sizes = {name: one for members, stacked in batches for name, one in _unstack(members, stacked)}
        for name, one in sizes.items():
            tensors[f"exp_avg_sq/{name}"], tensors[f"delta/{name}"] = one["exp_avg_sq"], one["delta"]
        tensors.update(
            {f"group.{index}/{key}": _gather(sizes, names, key) for key in ("param_rms", "scale_exp_avg_sq")}
        )
        tensors[f"group.{index}/scale_grads"] = _gather_history(sizes, names)
        clipping = next((stacked for _, stacked in batches if "model_norms" in stacked), {})
        tensors[f"group.{index}/clipping_norms"] = clipping.get("model_norms", torch.zeros(clipping_update_period))
        threshold = clipping.get("model_norm_threshold")
        scalars.append(
            {
                "names": names,
                "step": int(batches[0][1]["step"]),
                "nonfinite_steps": 0,
                "lr": lr,
                "clipping": {
                    "threshold": None if threshold is None else float(threshold),
                    "num_clipped": int(clipping.get("num_clipped", 0)),
                },
            }
        )
    return tensors, {"groups": scalars}


def _batches(
    state: Mapping[str, Mapping[str, Any]], shapes: Mapping[str, Sequence[int]]
) -> Iterator[tuple[list[str], Mapping[str, Any]]]:
    """Names of equal shape, with the state they share."""
    by_shape: dict[tuple[int, ...], list[str]] = {}
    for name, shape in shapes.items():
        by_shape.setdefault(tuple(shape), []).append(name)
    for shape, members in by_shape.items():
        stacked = state.get(members[0])
        if stacked is None or tuple(stacked["exp_avg_sq"].shape) != (len(members), *shape):
            raise CheckpointError(
                f"the published optimizer state under {members[0]} does not stack {len(members)} tensors of shape "
                f"{shape}; give its parameters in their published order"
            )
        yield members, stacked


def _unstack(members: Sequence[str], stacked: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Tensor]]]:
    for i, name in enumerate(members):
        one = {key: stacked[key][i] for key in ("exp_avg_sq", "delta")}
        if "param_rms" in stacked:
            one.update({key: stacked[key][i].reshape(()) for key in ("param_rms", "scale_exp_avg_sq")})
            one["scale_grads"] = stacked["scale_grads"][:, i].reshape(-1)
        yield name, one


def _gather(sizes: Mapping[str, Mapping[str, Tensor]], names: Sequence[str], key: str) -> Tensor:
    """One float64 number per parameter, (N,); one-element parameters have none and get 0."""
    return torch.stack([sizes[name].get(key, torch.zeros(())).double() for name in names])


def _gather_history(sizes: Mapping[str, Mapping[str, Tensor]], names: Sequence[str]) -> Tensor:
    """Size gradients of the last P steps, (P, N) float64."""
    period = next((len(one["scale_grads"]) for one in sizes.values() if "scale_grads" in one), 4)
    return torch.stack([sizes[name].get("scale_grads", torch.zeros(period)).double() for name in names], dim=1)

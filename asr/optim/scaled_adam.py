"""Adam whose step is proportional to the size of each tensor, with gradients clipped by a running median."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from asr.errors import CheckpointError, ConfigError
from asr.kernels.scaled_adam import Factors, update
from asr.optim.clipping import ClipReport, MedianClipping
from asr.optim.config import ScaledAdamConfig
from asr.optim.sizes import Measured, measure, step_sizes, update_sizes, weighted_norms
from asr.tensors import share, shared_like

logger = logging.getLogger(__name__)

MOMENTS = ("exp_avg_sq", "delta")
SIZES = ("param_rms", "scale_exp_avg_sq", "scale_grads")


class ScaledAdam(torch.optim.Optimizer):
    """ScaledAdam (Yao et al., "Zipformer", ICLR 2024, section "Optimizer"), in the published recipe's form.

    Differences from the paper's formulas: momentum is the average of finished updates, after scaling; it is not
    bias-corrected; the size of a tensor learns from the sum of its last `size_update_period` size gradients.

    A parameter without gradient counts as having a gradient of zero. If any gradient of a step, in whatever group,
    is infinite or not a number (or so large that its square is), every gradient of that step counts as zero: averages
    decay, momentum moves on, the step is counted, and `nonfinite_steps` goes up by one.

    Per-tensor numbers (sizes, norms) live on the host as small float64 vectors. The only wait for an accelerator is one
    copy of them per step; in exchange each update is a handful of list operations with a factor per tensor.

    Parameters may be spread over processes (torch's DTensor): each moves its shares, by numbers of whole tensors.

    Args:
        params: named parameters, such as `model.named_parameters()`, or groups of them: mappings with
            `params` (named), and optionally `lr_scale` (factor on every rate) or any field of the config.
            Groups are clipped separately.
        config: all settings.

    Raises:
        ConfigError: a parameter has no name, a name is used twice, or a parameter is not float32 or float64.
    """

    def __init__(
        self,
        params: Iterable[tuple[str, Tensor]] | Iterable[Mapping[str, Any]],
        config: ScaledAdamConfig | None = None,
    ) -> None:
        config = config or ScaledAdamConfig()
        given: list[Any] = list(params)
        groups = [dict(group) for group in given] if given and isinstance(given[0], Mapping) else [{"params": given}]
        super().__init__(groups, {**asdict(config), "lr_scale": 1.0})
        self.on_nonfinite: Callable[[], None] = lambda: None
        """Called when gradients are not finite, before anything moves."""

    # -- what happened

    @property
    def nonfinite_steps(self) -> int:
        """Number of steps so far whose gradients were not finite."""
        return self.param_groups[0]["nonfinite_steps"]

    @property
    def clip_reports(self) -> list[ClipReport]:
        """What clipping did at the last step, per parameter group."""
        return [group["clipping"].last for group in self.param_groups]

    @property
    def last_clip(self) -> ClipReport:
        """What clipping did at the last step: in the group that was scaled down most."""
        return min(self.clip_reports, key=lambda report: report.factor)

    # -- construction

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of named parameters; see the class for its form."""
        group = {**self.defaults, **param_group}
        names, tensors = _split_names(group["params"])
        taken = [name for other in self.param_groups for name in other["names"]] + names
        if len(set(taken)) != len(taken):
            twice = next(name for name in taken if taken.count(name) > 1)
            raise ConfigError(f"parameter {twice} was given to the optimizer twice; name each parameter once")
        if "lr" not in param_group:
            group["lr"] = group["lr"] * group["lr_scale"]
        count = len(names)
        group.update(
            params=tensors,
            names=names,
            is_scalar=torch.tensor([tensor.numel() == 1 for tensor in tensors], dtype=torch.bool),
            step=0,
            nonfinite_steps=0,
            param_rms=torch.zeros(count, dtype=torch.float64),
            scale_exp_avg_sq=torch.zeros(count, dtype=torch.float64),
            scale_grads=torch.zeros(group["size_update_period"], count, dtype=torch.float64),
            clipping=MedianClipping(group["clipping_scale"], group["clipping_update_period"]),
        )
        super().add_param_group(group)

    # -- one step

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move every parameter once; returns what `closure` (called with gradients enabled) returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        measured = [measure(group) for group in self.param_groups]
        finite = all(bool(found.is_good.all()) for found in measured)
        if not finite:
            _warn_nonfinite(self.param_groups, measured)
            self.on_nonfinite()
        for group, found in zip(self.param_groups, measured):
            self._step_group(group, found, finite)
        return loss

    def _step_group(self, group: dict[str, Any], found: Measured, finite: bool) -> None:
        if group["step"] == 0:
            group["param_rms"] = found.param_rms
            for param in group["params"]:
                self.state[param] = {key: torch.zeros_like(param) for key in MOMENTS}
        factor = group["clipping"].update(group["step"], weighted_norms(group, found), group["names"])
        if not finite:
            factor = 0.0
            group["nonfinite_steps"] += 1
            group["clipping"].mark_dropped()
        size_steps = update_sizes(group, found, factor)
        self._update_params(group, finite, factor, size_steps)
        group["step"] += 1

    def _update_params(self, group: dict[str, Any], finite: bool, factor: float, size_steps: Tensor | None) -> None:
        """Let the averages take in the gradients, then move; `size_steps` (N,) is each tensor's relative growth."""
        params = group["params"]
        # -lr·g/(√(v/κ) + ε) as -lr·√κ·g/(√v + √κ·ε): one pass less over everything
        correction = _bias_root(group)
        rates = -(1 - group["beta1"]) * group["lr"] * factor * correction * step_sizes(group)
        squares, deltas = ([share(self.state[param][key]) for param in params] for key in MOMENTS)
        growth = None if size_steps is None else ((1 - group["beta1"]) * size_steps).tolist()
        update(
            [share(param) for param in params],
            [share(param.grad) if finite and param.grad is not None else None for param in params],
            squares,
            deltas,
            rates.tolist(),
            growth,
            Factors(
                beta1=group["beta1"],
                beta2=group["beta2"],
                gain=(1 - group["beta2"]) * factor**2,
                eps=correction * group["eps"],
            ),
        )
        _clamp([share(params[i]) for i in group["is_scalar"].nonzero().flatten().tolist()], group["scalar_max"])

    # -- saving and restoring

    def state_dict(self) -> dict[str, Any]:
        """As every optimizer's, in plain data and tensors; all that a bit-exact continuation needs is in it."""
        state = super().state_dict()
        state["param_groups"] = [{**group, "clipping": group["clipping"].to_state()} for group in state["param_groups"]]
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from `state_dict()` of an optimizer over equally named parameters in the same order.

        Raises:
            CheckpointError: the names differ.
        """
        for mine, theirs in zip(self.param_groups, state_dict["param_groups"]):
            _check_names(mine["names"], theirs["names"])
        super().load_state_dict(state_dict)
        for group in self.param_groups:
            saved, clipping = (
                group["clipping"],
                MedianClipping(group["clipping_scale"], group["clipping_update_period"]),
            )
            clipping.load_state(saved)
            group["clipping"] = clipping

    def state_tensors(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The whole state as flat named tensors and JSON-able scalars, for a file without pickle.

        Returns:
            Tensors `exp_avg_sq/<name>` and `delta/<name>` (shaped as the parameter) and, per group g,
            `group.<g>/param_rms` (N,), `group.<g>/scale_exp_avg_sq` (N,), `group.<g>/scale_grads` (P, N) and
            `group.<g>/clipping_norms`; scalars {"groups": [...]}, where `names` orders the N parameters.
        """
        tensors: dict[str, Tensor] = {}
        scalars = []
        for index, group in enumerate(self.param_groups):
            for name, param in zip(group["names"], group["params"]):
                tensors.update({f"{key}/{name}": value for key, value in self.state.get(param, {}).items()})
            tensors.update({f"group.{index}/{key}": group[key] for key in SIZES})
            clipping = group["clipping"].to_state()
            tensors[f"group.{index}/clipping_norms"] = clipping.pop("norms")
            plain = {key: group[key] for key in ("names", "step", "nonfinite_steps", "lr")}
            scalars.append({**plain, "clipping": clipping})
        return tensors, {"groups": scalars}

    def load_state_tensors(self, tensors: Mapping[str, Tensor], scalars: Mapping[str, Any]) -> None:
        """Continue from `state_tensors()`; parameters are found by name, so their order may have changed.

        Settings (betas, periods and so on) stay those this optimizer was built with.

        Raises:
            CheckpointError: names, shapes or the number of groups differ.
        """
        if len(scalars["groups"]) != len(self.param_groups):
            raise CheckpointError(
                f"the saved optimizer has {len(scalars['groups'])} parameter groups and this one "
                f"{len(self.param_groups)}; use the same lr_scale and freeze settings"
            )
        for index, (group, saved) in enumerate(zip(self.param_groups, scalars["groups"])):
            _check_names(sorted(group["names"]), sorted(saved["names"]))
            order = torch.tensor([saved["names"].index(name) for name in group["names"]], dtype=torch.int64)
            for key in SIZES:
                value = tensors[f"group.{index}/{key}"].to("cpu", torch.float64).index_select(-1, order)
                _check_shape(f"optimizer {key}", value, group[key])
                group[key] = value
            group.update({key: saved[key] for key in ("step", "nonfinite_steps", "lr")})
            group["clipping"].load_state({**saved["clipping"], "norms": tensors[f"group.{index}/clipping_norms"]})
            if group["step"] > 0:
                for name, param in zip(group["names"], group["params"]):
                    self.state[param] = {key: _moment(tensors, key, name, param) for key in MOMENTS}


# -- parts of a step


def _bias_root(group: dict[str, Any]) -> float:
    """Root of κ, the bias of the squared-gradient average that started at zero; 1 once it hardly matters."""
    bias = 1 - group["beta2"] ** (group["step"] + 1)
    return math.sqrt(bias) if bias < 0.99 else 1.0


def _clamp(scalars: list[Tensor], limit: float) -> None:
    if scalars and hasattr(torch, "_foreach_clamp_max_"):
        torch._foreach_clamp_max_(scalars, limit)
        torch._foreach_clamp_min_(scalars, -limit)
        return
    for scalar in scalars:
        scalar.clamp_(-limit, limit)


def _warn_nonfinite(groups: Sequence[dict[str, Any]], measured: Sequence[Measured]) -> None:
    bad = [
        name
        for group, found in zip(groups, measured)
        for name, good in zip(group["names"], found.is_good.tolist())
        if not good
    ]
    logger.warning(
        "step %d: gradients of %d parameters are not finite (first: %s); every gradient counts as zero",
        groups[0]["step"],
        len(bad),
        bad[0],
    )


# -- checks


def _split_names(params: Iterable[Any]) -> tuple[list[str], list[Tensor]]:
    pairs = list(params)
    if not pairs:
        raise ConfigError("a parameter group is empty; give the optimizer parameters that train")
    for pair in pairs:
        if not (isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str)):
            raise ConfigError("ScaledAdam needs named parameters; pass model.named_parameters() or parameter_groups()")
        if pair[1].dtype not in (torch.float32, torch.float64):
            raise ConfigError(f"parameter {pair[0]} is {pair[1].dtype}; keep parameters in float32 and use autocast")
    return [name for name, _ in pairs], [tensor for _, tensor in pairs]


def _check_names(mine: list[str], theirs: list[str]) -> None:
    if mine != theirs:
        odd = sorted(set(mine) ^ set(theirs))[:3] or ["their order"]
        raise CheckpointError(
            f"the saved optimizer has other parameters than this model (such as {', '.join(odd)}); "
            "resume with the model and freeze settings it was trained with"
        )


def _check_shape(what: str, value: Tensor, like: Tensor) -> None:
    if value.shape != like.shape:
        raise CheckpointError(
            f"{what} was saved with shape {tuple(value.shape)} and is {tuple(like.shape)} here; "
            "resume with the model and periods it was trained with"
        )


def _moment(tensors: Mapping[str, Tensor], key: str, name: str, param: Tensor) -> Tensor:
    value = tensors.get(f"{key}/{name}")
    if value is None:
        raise CheckpointError(f"the saved optimizer has no {key} for {name}; its file was cut or edited")
    _check_shape(f"optimizer {key} of {name}", value, param)
    return torch.zeros_like(param).copy_(shared_like(value, param))

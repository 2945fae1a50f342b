"""Where the time of the medium encoder goes, by kind of operation; draws a picture."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from asr.bench.result import Row
from asr.bench.training import training_step
from asr.bench.yardstick import our_work, yardstick_work

PICTURE = Path("exp/bench/profile.png")
OTHER = "C++ kernels, Python, everything else"
KINDS = {
    "products with weights": ("_linear_pointwise", "addmm", "aten::mm"),
    "products in attention, whitening": ("bmm", "attention"),
    "convolutions": ("conv", "Depthwise"),
    "activations": ("Swoosh", "softplus", "sigmoid", "silu", "tanh", "glu"),
    "softmax, normalisation": ("softmax", "Softmax", "norm", "BiasNorm"),
    "adding, scaling, masking": ("add", "mul", "sub", "div", "lerp", "masked_fill", "where", "sum"),
    "moving data": ("copy_", "cat", "gather", "fill_", "zero_", "index", "contiguous", "empty"),
}
"""What an operation's name contains, by kind; the first that fits counts. Kernels in C++ have none at inference."""

Shares = dict[str, float]


def run() -> list[Row]:
    """Shares of the time of our inference and training, and of the yardstick's."""
    found = {}
    for name, work in (("ours", our_work()), ("Conformer", yardstick_work())):
        work.model.eval()
        with torch.inference_mode():
            found[f"{name}, inference"] = _shares(work)
        work.model.train()
        found[f"{name}, training"] = _shares(partial(training_step, work))
    _draw(found)
    return [
        Row(work=f"{side}: {kind}", value=share, note="share of time")
        for side, shares in found.items()
        for kind, share in shares.items()
    ]


def _shares(run: Callable[[], object]) -> Shares:
    """Time inside each kind of operation, callees apart, as a share of all."""
    run()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of profiles over several cycles, which this is not
        with profile(activities=[ProfilerActivity.CPU]) as profiler, record_function("between operations"):
            run()
    times = dict.fromkeys([*KINDS, OTHER], 0.0)
    for event in profiler.key_averages():
        times[_kind(event.key)] += event.self_cpu_time_total
    total = sum(times.values())
    return {kind: time / total for kind, time in times.items()}


def _kind(operation: str) -> str:
    fitting = (kind for kind, parts in KINDS.items() if any(part in operation for part in parts))
    return next(fitting, OTHER)


def _draw(found: dict[str, Shares]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 3), layout="constrained")
    left = dict.fromkeys(found, 0.0)
    for kind in [*KINDS, OTHER]:
        widths = [shares[kind] for shares in found.values()]
        axes.barh(list(found), widths, left=list(left.values()), label=kind)
        left = {side: left[side] + shares[kind] for side, shares in found.items()}
    axes.invert_yaxis()
    axes.set_xlabel("share of time")
    axes.legend(ncols=3, fontsize="small", loc="upper center", bbox_to_anchor=(0.45, -0.25))
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURE, dpi=100)
    pyplot.close(figure)

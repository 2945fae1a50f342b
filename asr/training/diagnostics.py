"""Activations and gradients of a batch, as a list and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from asr.training.examine import Examination, Size


def write_sizes(found: Examination, path: Path) -> None:
    """All modules' outputs and all parameters' gradients, as TSV, in the order in which they were worked out."""
    lines = ["kind\tname\tlargest\trms"]
    for kind, sizes in (("output", found.outputs), ("gradient", found.gradients)):
        lines += [f"{kind}\t{size.name}\t{size.largest:.6g}\t{size.rms:.6g}" for size in sizes]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def plot_sizes(found: Examination, path: Path) -> None:
    """Root mean square and largest value: of outputs from first to last module, of gradients from last to first."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7), layout="constrained")
    above, below = figure.subplots(2, 1)
    _plot(above, found.outputs, "outputs, in order of modules")
    _plot(below, found.gradients, "gradients, in order of backward")
    figure.savefig(path, dpi=100)


def _plot(axes, sizes: Sequence[Size], title: str) -> None:
    axes.semilogy([size.largest for size in sizes], ".", color="tab:orange", markersize=3, label="largest")
    axes.semilogy([size.rms for size in sizes], ".", color="tab:blue", markersize=3, label="rms")
    ticks = range(0, len(sizes), max(len(sizes) // 24, 1))
    axes.set_xticks(list(ticks), [sizes[tick].name for tick in ticks], rotation=80, fontsize=6)
    axes.set(title=title)
    axes.legend()

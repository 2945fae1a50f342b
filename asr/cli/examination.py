"""What an examination found, on the screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from asr.training.examine import Examination, Size

_SHOWN = 8


def show(console: Console, found: Examination) -> None:
    """The losses, the diagnosis, and the modules and parameters that stand out."""
    parts = "  ".join(f"{name} {value:.6g}" for name, value in found.parts.items())
    console.print(f"loss {found.loss:.6g}, per frame {found.per_frame:.4g}; {parts}", highlight=False)
    console.print(f"diagnosis: {found.diagnosis()}", highlight=False)
    console.print(_sizes("module", "output", found.outputs))
    console.print(_sizes("parameter", "gradient", found.gradients))


def _sizes(kind: str, what: str, sizes: Sequence[Size]) -> Table:
    """What is not finite, first come first; else the largest."""
    from rich.table import Table

    bad = [size for size in sizes if not size.is_finite]
    shown = bad or sorted(sizes, key=lambda size: -size.largest)
    title = f"{what}s that are not finite: {len(bad)} of {len(sizes)}" if bad else f"largest {what}s of {len(sizes)}"
    table = Table(kind, "largest", "rms", title=title)
    for size in shown[:_SHOWN]:
        table.add_row(size.name, f"{size.largest:.4g}", f"{size.rms:.4g}")
    return table

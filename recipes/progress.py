"""How far long readings and downloads are, shown on a terminal; nothing is written where nobody looks on."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO

from rich import progress
from rich.console import Console


def reading(path: Path, label: str) -> AbstractContextManager[BinaryIO]:
    """The file, opened, with a bar of how much of it was read."""
    console = Console(stderr=True)
    return progress.open(path, "rb", description=label, console=console, disable=not console.is_terminal)


@contextmanager
def receiving(label: str, have: int, total: int | None) -> Iterator[Callable[[int], None]]:
    """A function to be told how many bytes have come.

    Args:
        have: bytes that were there before.
        total: bytes of the whole, None where that is not known.
    """
    console = Console(stderr=True)
    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(label, completed=have, total=total)
        yield lambda count: bar.advance(task, count)

"""What every recipe's stages share: a stage runs once, survives interruption, and notices when its inputs change."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def fingerprint(*parts: bytes | str | int | float) -> str:
    """One short name for everything a stage depends on; another fingerprint means the stage must run again."""
    digest = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to, which takes the place of `path` only when the block ends well: no half file is ever left.

    The temporary name keeps the suffixes, because writers choose their format by them.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{os.getpid()}-part-{path.name}")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


class Stage:
    """One product of a recipe, remembered in a marker file that holds the fingerprint of what it was made from."""

    def __init__(self, marker: Path, wanted: str) -> None:
        self.marker = marker
        self.wanted = wanted

    def finished(self, *products: Path) -> bool:
        """True if the products are there and were made from the same inputs."""
        return self._recorded() == f"done {self.wanted}" and all(product.exists() for product in products)

    def begin(self, leftovers: Sequence[Path] = ()) -> None:
        """Start or go on; `leftovers`, files of an earlier run, are removed if they were made from other inputs."""
        if self._recorded() not in (f"begun {self.wanted}", f"done {self.wanted}"):
            for path in leftovers:
                path.unlink(missing_ok=True)
        self._record("begun")

    def finish(self) -> None:
        self._record("done")

    def _recorded(self) -> str:
        return self.marker.read_text(encoding="utf-8").strip() if self.marker.exists() else ""

    def _record(self, status: str) -> None:
        with replacing(self.marker) as part:
            part.write_text(f"{status} {self.wanted}\n", encoding="utf-8")


def in_parallel(work: Callable[[Item], Result], items: Sequence[Item], label: str, num_workers: int) -> list[Result]:
    """`[work(item) for item in items]` on threads, with a progress bar; the first failure stops the rest and is raised.

    Threads suffice: decoding, resampling and encoding all release the interpreter's lock.
    """
    from rich.progress import track

    results: dict[int, Result] = {}
    with ThreadPoolExecutor(max_workers=max(1, num_workers)) as pool:
        futures = {pool.submit(work, item): index for index, item in enumerate(items)}
        try:
            for future in track(as_completed(futures), description=label, total=len(futures), disable=not futures):
                results[futures[future]] = future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return [results[index] for index in range(len(items))]

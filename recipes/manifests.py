"""Lists of cuts for large corpora: made shard by shard, so that an interruption costs one shard per worker."""

import gzip
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

from lhotse.cut import Cut

from asr.data import Rejected, Utterance, build_cuts, cuts_path, read_cuts, write_cuts
from asr.recipes.stages import Stage, fingerprint, in_parallel, replacing

SHARD = 200
"""Utterances per unit of work."""
PILES = 256
"""Parts of a list that are sorted one by one; as many as the first two digits of a hash can be."""


def write_manifest(
    out: Path, split: str, utterances: Sequence[Utterance], *, num_workers: int, need_text: bool = True
) -> None:
    """Read all audio once and write `out/cuts-<split>.jsonl.gz`; what is unfit goes to `out/quarantine.tsv`.

    Shards finished by an earlier run, whose audio and transcripts have not changed since, are not read again.
    """
    shards = [utterances[first : first + SHARD] for first in range(0, len(utterances), SHARD)]
    marks = [fingerprint(*chain.from_iterable(map(_identity, shard)), int(need_text)) for shard in shards]
    folder = out / "manifests" / split
    stage = Stage(folder / ".stage", fingerprint(*marks))
    if stage.finished(cuts_path(out, split)):
        return
    stage.begin()

    def make(job: tuple[Sequence[Utterance], str]) -> Path:
        return _write_shard(job[0], folder / f"{job[1][:20]}.jsonl.gz", need_text)

    made = in_parallel(make, list(zip(shards, marks, strict=True)), f"manifest of {split}", num_workers)
    write_cuts(_cuts_of(made), cuts_path(out, split))
    rejected = [entry for path in made for entry in json.loads(_rejects(path).read_text(encoding="utf-8"))]
    with replacing(folder / "rejected.json") as part:
        part.write_text(json.dumps(rejected, ensure_ascii=False, indent=0), encoding="utf-8")
    _write_quarantine(out)
    stage.finish()


def _identity(utterance: Utterance) -> Iterator[str]:
    """Everything that makes this utterance's cut what it is; audio counts by size and time of change."""
    stat = utterance.audio.stat() if utterance.audio.exists() else None
    yield repr(utterance)
    yield f"{stat.st_size} {stat.st_mtime_ns}" if stat else "absent"


def _write_shard(shard: Sequence[Utterance], path: Path, need_text: bool) -> Path:
    """One shard's cuts, written last: they say that the shard is complete."""
    if not path.exists():
        cuts, rejected = build_cuts(shard, num_workers=1, need_text=need_text)
        with replacing(_rejects(path)) as part:
            part.write_text(json.dumps(rejected, ensure_ascii=False), encoding="utf-8")
        write_cuts(cuts, path)
    return path


def _rejects(path: Path) -> Path:
    return path.with_name(path.name.replace(".jsonl.gz", ".rejected.json"))


def _cuts_of(paths: Iterable[Path]) -> Iterator[Cut]:
    return chain.from_iterable(map(read_cuts, paths))


def _write_quarantine(out: Path) -> None:
    """`quarantine.tsv` (id, reason) of all splits; an utterance that was mended is no longer in it."""
    entries = [
        Rejected(*entry)
        for path in sorted((out / "manifests").glob("*/rejected.json"))
        for entry in json.loads(path.read_text(encoding="utf-8"))
    ]
    lines = ["id\treason", *("\t".join(" ".join(cell.split()) for cell in entry) for entry in sorted(entries))]
    with replacing(out / "quarantine.tsv") as part:
        part.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_union(
    out: Path,
    split: str,
    parts: Sequence[str],
    path_of: Callable[[Path, str], Path] = cuts_path,
    *,
    shuffled: bool = False,
) -> None:
    """Make a split out of others: `path_of(out, split)` lists what the parts' files list.

    Args:
        shuffled: in an order that follows from the ids alone, always the same. Training reads long lists through a
            buffer: in the order of the parts, an epoch would begin with the first part and end with the last.
    """
    sources, target = [path_of(out, part) for part in parts], path_of(out, split)
    made_from = [*(str(_changed(path)) for path in sources), *(["shuffled"] if shuffled else [])]
    stage = Stage(out / "manifests" / f".{target.name}.stage", fingerprint(*made_from))
    if stage.finished(target):
        return
    stage.begin()
    lines = chain.from_iterable(map(_lines, sources))
    with replacing(target) as part, gzip.open(part, "wb", compresslevel=6) as file:
        file.writelines(_by_hash(lines, out) if shuffled else lines)
    stage.finish()


def _lines(path: Path) -> Iterator[bytes]:
    """One cut each. They can be copied as they are: parts and union lie in one folder, which paths are relative to."""
    with gzip.open(path, "rb") as file:
        yield from file


def _by_hash(lines: Iterable[bytes], folder: Path) -> Iterator[bytes]:
    """The lines in the order of their ids' hashes. Sorted in piles on disk: a million of them take gigabytes."""
    with TemporaryDirectory(dir=folder, prefix=".order-") as place, ExitStack() as open_files:
        paths = [Path(place) / f"{pile:02x}" for pile in range(PILES)]
        piles = [open_files.enter_context(path.open("wb")) for path in paths]
        for line in lines:
            piles[int(_hash(line)[:2], 16)].write(line)
        open_files.close()
        for path in paths:
            yield from sorted(path.read_bytes().splitlines(keepends=True), key=_hash)


def _hash(line: bytes) -> str:
    return fingerprint("order", json.loads(line)["id"])


def _changed(path: Path) -> int:
    return path.stat().st_mtime_ns

"""Shares of audio in a mixed epoch."""

from __future__ import annotations

from pathlib import Path

import pytest
from lhotse import CutSet
from lhotse.testing.dummies import dummy_cut

from asr.data.replay import mixed
from asr.errors import DataError


def some(name: str, count: int) -> CutSet:
    return CutSet.from_cuts(dummy_cut(number, duration=2.0).with_id(f"{name}-{number}") for number in range(count))


def on_disk(cuts: CutSet, folder: Path, lazy: bool) -> CutSet:
    """The same, read from a file where it is to be lazy."""
    if not lazy:
        return cuts
    cuts.to_file(path := folder / f"{next(iter(cuts)).id}.jsonl.gz")
    return CutSet.from_jsonl_lazy(path)


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(("new", "old", "share"), [(3, 40, 0.5), (3, 40, 0.9), (40, 3, 0.5), (10, 10, 0.25)])
def test_shares_are_as_asked(new, old, share, lazy, tmp_path):
    parts = (on_disk(some(name, count), tmp_path, lazy) for name, count in (("new", new), ("old", old)))
    both = mixed(*parts, share)
    cuts = list(both)
    assert both.is_lazy == lazy and [cut.id for cut in both] == [cut.id for cut in cuts], "each pass is the same"
    ids = [cut.id for cut in cuts]
    assert len(set(ids)) == len(ids), "every copy has an id of its own"
    bases = {name.partition("-again")[0] for name in ids}
    assert bases == {cut.id for cut in (*some("new", new), *some("old", old))}, "nothing is left out"
    found = sum(name.startswith("old") for name in ids) / len(ids)
    assert found == pytest.approx(share, abs=1 / len(ids) + 1e-9)


def test_lazy_lists_are_mixed_all_along(tmp_path):
    """A sampler's buffer never sees the whole of a long list: old data behind the new would be another epoch."""
    parts = [on_disk(some(name, 400), tmp_path, lazy=True) for name in ("new", "old")]
    ids = [cut.id for cut in mixed(*parts, 0.5, seed=3)]
    assert 120 < sum(name.startswith("old") for name in ids[:400]) < 280
    assert ids != [cut.id for cut in mixed(*parts, 0.5, seed=4)]


def test_nothing_to_mix_is_said():
    with pytest.raises(DataError, match="there are no old training cuts"):
        mixed(some("new", 1), CutSet.from_cuts([]), 0.5)

"""Shares of audio in a mixed epoch."""

from __future__ import annotations

import pytest
from lhotse import CutSet
from lhotse.testing.dummies import dummy_cut

from asr.data.replay import mixed
from asr.errors import DataError


def some(name: str, count: int) -> CutSet:
    return CutSet.from_cuts(dummy_cut(number, duration=2.0).with_id(f"{name}-{number}") for number in range(count))


@pytest.mark.parametrize(("new", "old", "share"), [(3, 40, 0.5), (3, 40, 0.9), (40, 3, 0.5), (10, 10, 0.25)])
def test_shares_are_as_asked(new, old, share):
    cuts = list(mixed(some("new", new), some("old", old), share))
    ids = [cut.id for cut in cuts]
    assert len(set(ids)) == len(ids), "every copy has an id of its own"
    bases = {name.partition("-again")[0] for name in ids}
    assert bases == {cut.id for cut in (*some("new", new), *some("old", old))}, "nothing is left out"
    found = sum(name.startswith("old") for name in ids) / len(ids)
    assert found == pytest.approx(share, abs=1 / len(ids) + 1e-9)


def test_nothing_to_mix_is_said():
    with pytest.raises(DataError, match="there are no old training cuts"):
        mixed(some("new", 1), CutSet.from_cuts([]), 0.5)

"""The plan of an epoch: determined by seed and epoch, complete, and shared between processes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from asr.data import DataConfig, at_speeds
from asr.data.sampling import Sampler
from asr.errors import ConfigError

DATA = DataConfig(max_duration_s=8.0, num_buckets=4)


def ids(plans) -> list[list[str]]:
    return [[cut.id for cut in plan.cuts] for plan in plans]


def test_order_follows_from_seed_and_epoch(cuts):
    def order(seed: int, epoch: int) -> list[list[str]]:
        return ids(Sampler(cuts, replace(DATA, seed=seed)).epoch(epoch))

    assert order(0, 0) == order(0, 0)
    orders = [order(0, 0), order(0, 1), order(1, 0)]
    assert all(orders[i] != orders[j] for i in range(3) for j in range(i))
    for found in orders:
        assert sorted(name for batch in found for name in batch) == sorted(cut.id for cut in cuts)


@pytest.mark.parametrize("world_size", [2, 3, 7])
def test_processes_deal_out_one_epoch(cuts, world_size):
    """The order is that of a single process; rounds are whole, and what fills the last one up does not count."""
    many = at_speeds(cuts, (0.9, 1.0, 1.1))
    alone = ids(Sampler(many, DATA).epoch(0))
    parts = [list(Sampler(many, DATA, rank=rank, world_size=world_size).epoch(0)) for rank in range(world_size)]
    assert {len(part) for part in parts} == {-(-len(alone) // world_size)}
    dealt = [plan for plans in zip(*parts) for plan in plans]
    assert ids(dealt[: len(alone)]) == alone
    assert [plan.counts for plan in dealt] == [number < len(alone) for number in range(len(dealt))]
    assert len({plan.seed for plan in dealt}) == len(dealt)


@pytest.mark.parametrize("num_cuts", [1, 2, 3])
def test_tiny_corpora_have_batches_too(cuts, num_cuts):
    few = cuts.subset(first=num_cuts)
    found = ids(Sampler(few, replace(DATA, num_buckets=10)).epoch(0))
    assert sorted(name for batch in found for name in batch) == [cut.id for cut in few]


@pytest.mark.parametrize(
    "bad",
    [
        {"speeds": []},
        {"speeds": [0.0]},
        {"max_duration_s": 0.0},
        {"num_workers": -1},
        {"num_buckets": 0},
        {"prefetch": 0},
        {"min_utterance_s": 40.0},
    ],
)
def test_meaningless_settings_are_named(bad):
    with pytest.raises(ConfigError, match=f"data.{next(iter(bad))}"):
        DataConfig(**bad)


def test_planning_can_start_anywhere(cuts):
    whole = list(Sampler(cuts, DATA).epoch(2))
    late = list(Sampler(cuts, DATA).epoch(2, skip=3))
    assert ids(late) == ids(whole[3:])
    assert [(plan.index, plan.seed) for plan in late] == [(plan.index, plan.seed) for plan in whole[3:]]
    assert Sampler(cuts, DATA).num_batches(2) == len(whole)


def test_dropping_the_rest_leaves_only_full_batches(cuts):
    many = at_speeds(cuts, (0.9, 1.0, 1.1))
    for plan in Sampler(many, replace(DATA, drop_last=True)).epoch(0):
        assert (len(plan.cuts) + 1) * max(cut.duration for cut in plan.cuts) > DATA.max_duration_s

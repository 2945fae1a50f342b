"""Scheduled values, where they stand, and when they do not count."""

from __future__ import annotations

import pytest
from torch import nn

from asr.nn.schedule import ScheduledFloat, current, set_schedule_position

POINTS = (0.0, 0.3), (100.0, 0.1), (200.0, 0.0)


@pytest.mark.parametrize(
    "position, value", [(-5, 0.3), (0, 0.3), (50, 0.2), (100, 0.1), (150, 0.05), (200, 0.0), (1e9, 0.0)]
)
def test_straight_lines_between_points_and_flat_beyond(position, value):
    assert ScheduledFloat(*POINTS).at(position) == pytest.approx(value)


def test_flat_before_the_first_point():
    assert ScheduledFloat((571.0, 0.5), (600.0, 0.035)).at(0.0) == 0.5


def test_the_default_counts_without_a_position_and_in_evaluation():
    schedule = ScheduledFloat(*POINTS, default=0.7)
    assert schedule.value == 0.7
    schedule.move_to(100.0)
    assert schedule.value == 0.1
    assert schedule.eval().value == 0.7
    assert schedule.train().value == 0.1


def test_one_call_moves_all_schedules_of_a_model():
    inner, outer = ScheduledFloat(*POINTS), ScheduledFloat(*POINTS)
    model = nn.ModuleDict({"outer": outer, "nested": nn.ModuleList([inner])})
    set_schedule_position(model, 50.0)
    assert outer.value == inner.value == pytest.approx(0.2)
    model.eval()
    assert outer.value == inner.value == 0.0


def test_current_takes_numbers_and_schedules():
    schedule = ScheduledFloat(*POINTS, default=0.25)
    assert current(0.5) == 0.5
    assert current(schedule) == 0.25


def test_no_schedule_is_part_of_a_checkpoint():
    schedule = ScheduledFloat(*POINTS)
    schedule.move_to(3.0)
    assert not schedule.state_dict()

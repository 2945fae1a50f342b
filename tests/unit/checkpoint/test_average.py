"""Averages of models: over all steps, over an interval, over files."""

from __future__ import annotations

import pytest
import torch

from asr.checkpoint import (
    RunningAverage,
    average_interval,
    checkpoint_path,
    interval_average,
    mean_of_checkpoints,
    with_prefix,
    write_checkpoint,
)
from asr.errors import CheckpointError

PERIOD = 10


def _model(step):
    generator = torch.Generator().manual_seed(step)
    return {"w": torch.randn(3, 4, generator=generator), "n": torch.tensor(step), "h": torch.full((2,), step).half()}


def _run(folder, last=60):
    average = RunningAverage(_model(0), period=PERIOD)
    for step in range(1, last + 1):
        assert average.update(lambda now=step: _model(now), step) == (step % PERIOD == 0)
        if step in (23, 54):
            tensors = {**with_prefix("model", _model(step)), **with_prefix("average", average.tensors)}
            write_checkpoint(
                checkpoint_path(folder, step), tensors, {"training": {"step": step, "average_period": PERIOD}}
            )
    return average


def _mean(name, steps):
    return torch.stack([_model(step)[name].double() for step in steps]).mean(0)


def test_running_average_is_the_mean_of_all_updates(tmp_path):
    average = _run(tmp_path)
    assert average.tensors.keys() == {"w", "h"}
    torch.testing.assert_close(average.tensors["w"], _mean("w", range(10, 61, 10)))


def test_interval_between_files(tmp_path):
    _run(tmp_path)
    found = average_interval(checkpoint_path(tmp_path, 23), checkpoint_path(tmp_path, 54))
    torch.testing.assert_close(found["w"], _mean("w", (30, 40, 50)).float())
    assert found["n"] == 54
    assert found["h"].dtype == torch.float16


def test_empty_intervals_and_other_models_are_refused(tmp_path):
    one = {"w": torch.ones(2)}
    with pytest.raises(CheckpointError, match="hold no update"):
        interval_average(one, one, start_step=21, end_step=29, period=10)
    with pytest.raises(CheckpointError, match="differ in w"):
        interval_average(one, {"w": torch.ones(3)}, start_step=10, end_step=20, period=10)
    average = RunningAverage(one)
    with pytest.raises(CheckpointError, match="such as v"):
        average.load({"w": torch.ones(2), "v": torch.ones(2)})
    with pytest.raises(CheckpointError, match="another shape"):
        average.load({"w": torch.ones(3)})
    bare = tmp_path / "bare.safetensors"
    write_checkpoint(bare, with_prefix("model", one), {})
    with pytest.raises(CheckpointError, match="no running average"):
        average_interval(bare, bare)
    write_checkpoint(bare, with_prefix("average", one), {})
    with pytest.raises(CheckpointError, match=r"training\.step"):
        average_interval(bare, bare)


def test_continuing_an_average_changes_nothing(tmp_path):
    whole, first = RunningAverage(_model(0), period=PERIOD), RunningAverage(_model(0), period=PERIOD)
    for step in range(10, 31, 10):
        whole.update(lambda now=step: _model(now), step)
        first.update(lambda now=step: _model(now), step)
    second = RunningAverage(_model(99), period=PERIOD)
    second.load(first.tensors)
    for average in (whole, second):
        average.update(lambda: _model(40), 40)
    assert torch.equal(whole.tensors["w"], second.tensors["w"])


def test_plain_mean_of_files(tmp_path):
    paths = [checkpoint_path(tmp_path, step) for step in (3, 4, 6)]
    for step, path in zip((3, 4, 6), paths):
        write_checkpoint(path, with_prefix("model", _model(step)), {})
    found = mean_of_checkpoints(paths)
    torch.testing.assert_close(found["w"], _mean("w", (3, 4, 6)).float())
    assert found["n"] == 4  # 13 / 3, the rest dropped
    with pytest.raises(CheckpointError, match="at least one"):
        mean_of_checkpoints([])
    write_checkpoint(paths[0], {"model/x": torch.ones(1)}, {})
    with pytest.raises(CheckpointError, match="different models"):
        mean_of_checkpoints(paths)

"""Averages of one stretch of a run, as asked for or the best of several; and the device that all is computed on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from asr.checkpoint import (
    RunningAverage,
    average_interval,
    checkpoint_path,
    list_checkpoints,
    read_checkpoint,
    write_checkpoint,
)
from asr.checkpoint.model import AVERAGED
from asr.data import Batch


@pytest.fixture(scope="module")
def run(run_dir, tmp_path_factory) -> Path:
    """A copy of the run's folder, with checkpoints at steps 2, 4 and 6 and its average moving every 2 steps."""
    folder = tmp_path_factory.mktemp("averages") / "run"
    shutil.copytree(run_dir, folder)
    return folder


def averaged(folder: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(folder / AVERAGED).part("model")


def test_one_stretch_is_averaged_as_asked(run, command):
    status, out, err = command("average", run, "first=2", "last=4", "split=nowhere")
    assert status == 0, err
    assert "4 averaged" in " ".join(" ".join(out).split()) and not any("error rate" in line for line in out)
    found = averaged(run)
    wanted = average_interval(*(checkpoint_path(run / "checkpoints", step) for step in (2, 4)))
    assert all(torch.equal(found[name], value) for name, value in wanted.items())
    # One update of the running mean lies after step 2 and up to step 4: the model as it was at step 4.
    then = read_checkpoint(checkpoint_path(run / "checkpoints", 4)).part("model")
    for name in RunningAverage(then).tensors:
        torch.testing.assert_close(found[name], then[name])
    assert read_checkpoint(run / AVERAGED).metadata["stretch"] == {"first": 2, "last": 4}
    assert "steps 2 to 4 averaged" in " ".join(command("info", run)[1])


@pytest.fixture(scope="module")
def epochs(run, tmp_path_factory) -> Path:
    """The same run, as if its third and fourth epoch had ended with the steps 2 and 6."""
    folder = Path(shutil.copytree(run, tmp_path_factory.mktemp("epochs") / "run"))
    for step, epoch in ((2, 3), (6, 4)):
        path = checkpoint_path(folder / "checkpoints", step)
        found = read_checkpoint(path)
        found.metadata["training"].update(epoch=epoch, consumed=0)
        write_checkpoint(path, found.tensors, found.metadata)
    return folder


def test_a_stretch_of_epochs_is_averaged_as_one_of_steps(epochs, command):
    status, out, err = command("average", epochs, "first_epoch=3", "last_epoch=4", "split=nowhere")
    assert status == 0, err
    name = "steps 2 to 6 averaged (epoch 3 to epoch 4)"
    assert name in " ".join(" ".join(out).split()), "wherever the line was broken"
    wanted = average_interval(*(checkpoint_path(epochs / "checkpoints", step) for step in (2, 6)))
    assert all(torch.equal(averaged(epochs)[key], value) for key, value in wanted.items())
    stretch = read_checkpoint(epochs / AVERAGED).metadata["stretch"]
    assert stretch == {"first": 2, "last": 6, "first_epoch": 3, "last_epoch": 4}
    assert name in " ".join(command("info", epochs)[1])


def test_one_epoch_alone_bounds_the_comparison(epochs, command):
    status, _, err = command("average", epochs, "last_epoch=4")
    assert status == 0, err
    names = [point["name"] for point in read_checkpoint(epochs / AVERAGED).metadata["average"]["curve"]]
    assert names[0] == "step 6" and "steps 4 to 6 averaged" in names


def test_bad_stretches_of_epochs(epochs, refused):
    line = refused("average", epochs, "first_epoch=2", "last_epoch=4")
    assert "first_epoch=2" in line and line.endswith("the nearest: 3")
    assert "cannot do both" in refused("average", epochs, "first_epoch=3", "last=6")
    assert "must come before" in refused("average", epochs, "first_epoch=4", "last_epoch=4")


def test_what_lies_between_is_compared_where_asked(run, command):
    status, _, err = command("average", run, "first=2", "last=4", "compare=true")
    assert status == 0, err
    names = [point["name"] for point in read_checkpoint(run / AVERAGED).metadata["average"]["curve"]]
    assert names[0] == "step 4" and names[-1] == "steps 2 to 4 averaged" and not any("6" in name for name in names)
    status, _, err = command("average", run, "last=6", "compare=false")
    assert status == 0, err
    oldest = list_checkpoints(run / "checkpoints")[0]
    wanted = average_interval(oldest, checkpoint_path(run / "checkpoints", 6))
    assert all(torch.equal(averaged(run)[name], value) for name, value in wanted.items())


def test_bad_stretches(run, refused):
    line = refused("average", run, "first=3", "last=6")
    assert "first=3" in line and "the nearest: 2 and 4" in line
    assert "the nearest: 6" in refused("average", run, "first=2", "last=7")
    assert "must come before" in refused("average", run, "first=4", "last=4")


@pytest.mark.parametrize("name", ["average", "decode"])
def test_batches_go_where_the_model_is_asked_to(name, run, command, refused, monkeypatch, tmp_path):
    from asr.evaluation import device

    wishes, places, move = [], [], Batch.to

    def spy(wish: str | None) -> torch.device:
        wishes.append(wish)
        return torch.device("cpu")

    monkeypatch.setattr(Batch, "to", lambda batch, place: places.append(place) or move(batch, place))
    monkeypatch.setattr(device, "find_device", spy)
    more = [f"out={tmp_path}"] if name == "decode" else []
    status, _, err = command(name, run, "device=cpu", *more)
    assert status == 0, err
    assert wishes and set(wishes) == {"cpu"} and places and set(places) == {torch.device("cpu")}
    if name == "decode":
        assert json.loads(next(tmp_path.glob("*.json")).read_text())["settings"]["device"] == "cpu"
    monkeypatch.undo()
    assert "device=tpu is not known" in refused(name, run, "device=tpu")

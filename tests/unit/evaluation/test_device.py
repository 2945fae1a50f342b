"""Where a finished model computes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from asr.errors import ConfigError
from asr.evaluation import device as module
from asr.evaluation.device import find_device, move_model


@pytest.fixture
def gpus(monkeypatch):
    """Makes torch believe in two GPUs."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def test_a_gpu_is_taken_where_there_is_one(gpus, monkeypatch):
    assert find_device(None).type == "cuda" and find_device("cuda:1").index == 1
    assert find_device("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert find_device(None) == torch.device("cpu")


@pytest.mark.parametrize("name", ["tpu", "cuda:x", "meta", "cuda1"])
def test_unknown_devices_are_refused(name):
    with pytest.raises(ConfigError, match=f"device={name} is not known"):
        find_device(name)


def test_absent_gpus_are_refused(gpus):
    with pytest.raises(ConfigError, match="device=cuda:2 is not there: torch finds 2 GPUs"):
        find_device("cuda:2")


def test_k2_without_gpus_stays_on_the_cpu(gpus, monkeypatch):
    monkeypatch.setattr(module, "load_k2", lambda: SimpleNamespace(with_cuda=False))
    assert move_model(nn.Linear(1, 1), None, needs_k2=True) == torch.device("cpu")
    with pytest.raises(ConfigError, match="device=cuda does not go with k2"):
        move_model(nn.Linear(1, 1), "cuda", needs_k2=True)

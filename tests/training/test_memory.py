"""Batches as large as memory allows, measured, and no larger."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from asr.data import Bin, Capacity, bins_for
from asr.errors import ConfigError
from asr.training import build, memory
from asr.training.arrangement import BY_MEMORY
from asr.training.memory import MemoryProbe, fit_batches, made_up, memory_limit, peak_bytes, standing_bytes
from asr.training.precision import Precision

LIMIT = 60_000_000


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_peak_is_what_is_held_at_once():
    def work() -> None:
        for _ in range(3):
            first = torch.ones(1_000_000)
            second = first + 1  # with the first, 8 MB
            del first, second

    assert 8_000_000 <= peak_bytes(work, torch.device("cpu")) < 8_100_000


def test_batches_fill_the_limit_and_never_exceed_it(trainer):
    """Whatever is drawn: other seeds than those the probe saw."""
    run = trainer("training.regularisation_start=0")
    probe = MemoryProbe(run.objective, run.snapshot, Precision.FP32, LIMIT)
    before = {name: tensor.clone() for name, tensor in run.snapshot.model.state_dict().items()}
    fit = probe.fit(Bin(2.0, 12))
    assert fit.utterances > 3
    needs = [probe.need(fit, fit.utterances, draws=1)]
    batch = made_up(fit.seconds, fit.tokens, fit.utterances, run.snapshot.model.config)
    for _ in range(2):  # real steps, with the optimizer
        needs.append(probe.standing + peak_bytes(partial(run.stepper.step, [batch]), torch.device("cpu")))
        run.snapshot.model.load_state_dict(before)
    assert max(needs) <= LIMIT, needs
    assert needs[0] >= 0.8 * LIMIT, needs


def test_gradients_that_wait_for_the_next_batch_are_counted(trainer):
    """A step of two batches holds those of the first while the second goes forward."""
    one, two = trainer(), trainer("training.accumulate=2")
    gradients = sum(4 * parameter.numel() for parameter in two.objective.parameters())
    assert standing_bytes(two.snapshot) - standing_bytes(one.snapshot) == gradients


def test_a_run_batches_by_memory_and_measures_once(trainer, monkeypatch):
    limit = "training.memory_limit_gb=0.03"
    monkeypatch.setattr(build, "bins_for", partial(bins_for, num_lengths=1))
    run = trainer(limit)
    found = run.data.capacity
    assert all(bin.utterances > 1 for bin in found.bins)
    assert run.snapshot.arrangement.data[BY_MEMORY] is not None
    for batch in run.data.epoch(0):
        seconds = batch.feature_lens.max().item() / 100 - 0.01  # the last frame is rounded up
        assert len(batch.ids) <= found.of(seconds, int(batch.token_lens.max()))
    monkeypatch.setattr(MemoryProbe, "fit", None)
    assert trainer(limit).data.capacity == found, "kept from the first time"


def test_what_does_not_fit_at_all_is_said(trainer):
    run = trainer()
    with pytest.raises(
        ConfigError, match="one utterance of 20.0 s needs .* GB, more than training.memory_limit_gb=0.01; "
    ):
        fit_batches(MemoryProbe(run.objective, run.snapshot, Precision.FP32, 10_000_000), [Bin(20.0, 60)])
    with pytest.raises(ConfigError, match="memory_limit_gb=0 takes what a GPU has free"):
        memory_limit(0.0, torch.device("cpu"))
    assert not list(memory._cache_folder().glob("*"))


def test_capacity_is_that_of_the_first_bin_that_holds_both():
    capacity = Capacity((Bin(1.0, 5, 9), Bin(1.0, 8, 8), Bin(2.0, 6, 4), Bin(2.0, 20, 3)))
    asked = {(0.5, 5): 9, (1.0, 6): 8, (1.0, 9): 3, (1.5, 6): 4, (1.5, 7): 3, (2.1, 1): 1, (2.0, 21): 1}
    assert {question: capacity.of(*question) for question in asked} == asked

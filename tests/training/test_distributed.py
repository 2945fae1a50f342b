"""Two processes do what one does, and neither waits for one that is gone."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch

from asr.checkpoint.folder import epoch_ended, list_checkpoints
from asr.checkpoint.format import Checkpoint, read_checkpoint
from asr.config.compose import compose
from asr.data import train_loader
from asr.text import load_tokenizer
from asr.training.evidence import read_evidence
from tests.training import troubles
from tests.training.child import asr, company
from tests.training.spoil import metrics
from tests.training.tiny import overrides

NUM_STEPS = 11  # over more than two epochs, in whose last step one of two processes has a batch that does not count
RHYTHM = [
    "data.max_duration_s=2.0",
    f"training.num_steps={NUM_STEPS}",
    "training.device=cpu",
    "training.checkpoint_every=4",
    "training.validate_every=8",
    "training.average_period=3",
    "training.log_every=1",
    "training.keep_epochs=1",
    "training.ema_decay=0.9",
    "training.processes=2",
]

SHARED = "training.parallel=FSDP"


def command(corpus: Path, run_dir: Path, *more: str) -> list[str]:
    return ["train", *overrides(corpus, run_dir, *RHYTHM, *more)]


def final(run_dir: Path) -> Checkpoint:
    return read_checkpoint(list_checkpoints(run_dir / "checkpoints")[-1])


def farthest(found: Checkpoint, expected: Checkpoint, part: str) -> float:
    """The largest difference of a part's tensors, relative to each tensor's largest value."""
    pairs = [(found.part(part)[name].double(), tensor.double()) for name, tensor in expected.part(part).items()]
    return max(((left - right).abs().max() / right.abs().max().clamp(min=1e-12)).item() for left, right in pairs)


@pytest.fixture(scope="module")
def two(corpus, tmp_path_factory) -> Path:
    """A run of two processes that nothing happened to."""
    run_dir = tmp_path_factory.mktemp("two")
    outcomes = company(command(corpus, run_dir), run_dir / "log", troubles=[None, None])
    assert [outcome.status for outcome in outcomes] == [0, 0], outcomes
    assert "2 processes" in outcomes[0].err and not outcomes[1].err, "only the first speaks"
    return run_dir


@pytest.fixture(scope="module")
def one(corpus, tmp_path_factory) -> Path:
    """A run of one process that takes two batches a step."""
    run_dir = tmp_path_factory.mktemp("one")
    assert asr(command(corpus, run_dir, "training.accumulate=2"), run_dir / "log").status == 0
    return run_dir


def test_an_epoch_ends_unevenly(corpus, tmp_path):
    """Or what two processes do there would not be tested."""
    config = compose("train", overrides(corpus, tmp_path, *RHYTHM))
    tokenizer = load_tokenizer(corpus / "tokenizer.json")
    ranks = [train_loader(config.data, tokenizer, None, rank=rank, world_size=2) for rank in (0, 1)]
    counts = [[batch.counts for batch in loader.epoch(0)] for loader in ranks]
    assert all(counts[0]) and counts[1][-1] is False and 2 * len(counts[1]) < NUM_STEPS


def test_two_processes_equal_one_with_two_batches_a_step(one, two):
    both, alone = final(two), final(one)
    assert farthest(both, alone, "model") < 1e-5
    assert farthest(both, alone, "average") < 1e-5
    assert farthest(both, alone, "ema") < 1e-5
    for key in ("step", "epoch", "utterances", "audio_s", "whiten"):
        assert both.metadata["training"][key] == alone.metadata["training"][key], key
    for mine, other in zip(metrics(two), metrics(one)):
        assert mine["kind"] == other["kind"]
        for key in ("loss", "simple", "ctc") if mine["kind"] == "train" else ("wer", "ctc_wer"):
            assert mine[key] == pytest.approx(other[key], rel=1e-4), key


def test_one_end_of_an_epoch_is_kept(two):
    assert [epoch_ended(path) for path in list_checkpoints(two / "checkpoints")] == [None, None, None, 3, None]


@pytest.mark.parametrize(
    "trouble", [partial(troubles.die_before_optimizer, 7), partial(troubles.die_between_epochs, 1)]
)
def test_killed_and_resumed(corpus, two, tmp_path, trouble):
    run = command(corpus, tmp_path)
    outcomes = company(run, tmp_path / "log", troubles=[None, trouble])
    assert outcomes[1].was_killed
    assert outcomes[0].status == 1
    assert outcomes[0].err.splitlines()[-1].startswith("asr train: process 0 ends, for another has ended; ")
    assert [outcome.status for outcome in company(run, tmp_path / "log", troubles=[None, None])] == [0, 0]
    found, expected = final(tmp_path), final(two)
    assert not [name for name, tensor in expected.tensors.items() if not torch.equal(found.tensors[name], tensor)]


def test_a_process_that_fails_says_why_and_ends_all(corpus, tmp_path):
    began = time.monotonic()
    outcomes = company(command(corpus, tmp_path), tmp_path / "log", troubles=[None, partial(troubles.fail, 4)])
    assert [outcome.status for outcome in outcomes] == [1, 1]
    assert outcomes[1].err.strip() == "asr train: the audio of cut-7 cannot be read any more"
    assert "another has ended" in outcomes[0].err
    assert time.monotonic() - began < 60


def test_a_loss_that_is_not_finite_on_one_process_is_left_out_on_all(corpus, tmp_path):
    run = command(corpus, tmp_path, "training.num_steps=4")
    outcomes = company(run, tmp_path / "log", troubles=[None, partial(troubles.not_a_number, 2)])
    assert [outcome.status for outcome in outcomes] == [0, 0], outcomes
    assert final(tmp_path).metadata["training"]["bad_losses"] == 1
    assert [path.name for path in (tmp_path / "trouble").glob("*.safetensors")] != []


def test_another_number_of_processes_is_noticed(corpus, two, tmp_path):
    """Refused with a sentence; or from about the same place, when asked."""
    (tmp_path / "checkpoints").mkdir()
    path = next(path for path in list_checkpoints(two / "checkpoints") if path.stem == "step-000008")
    os.link(path, tmp_path / "checkpoints" / path.name)
    outcome = asr(command(corpus, tmp_path), tmp_path / "log")
    assert outcome.status == 1
    assert "was trained with processes=2, not 1, so its steps saw other batches; " in outcome.err
    run = command(corpus, tmp_path, "training.resume_approximately=true")
    assert asr(run, tmp_path / "log").status == 0
    assert final(tmp_path).metadata["training"]["step"] == NUM_STEPS


@pytest.mark.slow
def test_torchrun_ends_a_job_that_lost_a_process(corpus, tmp_path):
    """As people start it. The process that dies takes all others with it, and its error is on the screen."""
    code = (
        "import os, sys; from tests.training import troubles; from asr.cli.main import main\n"
        "os.environ['RANK'] == '1' and troubles.fail(4)\nsys.exit(main(sys.argv[1:]))"
    )
    script = tmp_path / "start.py"
    script.write_text(code)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    began = time.monotonic()
    done = subprocess.run(
        [*torchrun, str(script), *command(corpus, tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode != 0
    assert "asr train: the audio of cut-7 cannot be read any more" in done.stderr
    assert time.monotonic() - began < 120


@pytest.fixture(scope="module")
def shares(corpus, tmp_path_factory) -> Path:
    """A run of two processes with a share of the model each."""
    run_dir = tmp_path_factory.mktemp("shares")
    outcomes = company(command(corpus, run_dir, SHARED), run_dir / "log", troubles=[None, None])
    assert [outcome.status for outcome in outcomes] == [0, 0], outcomes
    return run_dir


def distance(found: Checkpoint, expected: Checkpoint, part: str) -> float:
    """Between all tensors of a part taken together, relative to their length.

    Tensor by tensor would ask too much: biases of keys have gradients of rounding errors alone, which Adam enlarges.
    """
    mine, other = (
        torch.cat([x.double().flatten() for _, x in sorted(one.part(part).items())]) for one in (found, expected)
    )
    return ((mine - other).norm() / other.norm()).item()


def test_a_model_in_shares_equals_one_that_is_whole(one, shares):
    """Of one process with two batches a step. Its checkpoints hold whole tensors, too."""
    found, expected = final(shares), final(one)
    assert found.tensors.keys() == expected.tensors.keys()
    for part in ("model", "average", "ema", "optimizer"):
        assert distance(found, expected, part) < 1e-5, part
    for mine, other in zip(metrics(shares), metrics(one)):
        for key in ("loss", "simple", "ctc", "grad_norm") if mine["kind"] == "train" else ("wer", "ctc_wer"):
            assert mine[key] == pytest.approx(other[key], rel=1e-4), key


@pytest.mark.slow
def test_a_model_in_shares_killed_and_resumed(corpus, shares, tmp_path):
    run = command(corpus, tmp_path, SHARED)
    outcomes = company(run, tmp_path / "log", troubles=[None, partial(troubles.die_before_optimizer, 7)])
    assert outcomes[1].was_killed and outcomes[0].status == 1
    assert "process 0 ends, for another has ended" in outcomes[0].err
    assert [outcome.status for outcome in company(run, tmp_path / "log", troubles=[None, None])] == [0, 0]
    found, expected = final(tmp_path), final(shares)
    assert not [name for name, tensor in expected.tensors.items() if not torch.equal(found.tensors[name], tensor)]


@pytest.mark.slow
def test_trouble_with_a_model_in_shares(corpus, tmp_path):
    """The first of two batches on one process only; then all give up, with a batch that can be looked at."""
    more = [
        "training.num_steps=4",
        "training.accumulate=2",
        "training.guard.patience=1",
        "training.guard.max_fallbacks=0",
    ]
    run = command(corpus, tmp_path, SHARED, *more)
    outcomes = company(run, tmp_path / "log", troubles=[None, partial(troubles.not_a_number, 3)])
    assert [outcome.status for outcome in outcomes] == [1, 1], outcomes
    assert "1 steps in a row went wrong, the last at step 2 (the loss is not finite); " in outcomes[0].err
    kept = sorted((tmp_path / "trouble").glob("*.safetensors"))
    assert kept and read_evidence(kept[0]).batch.ids

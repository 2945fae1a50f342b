"""A tiny model learns a handful of clips, and says how it goes."""

from __future__ import annotations

import json

import pytest
import torch

from asr.checkpoint.model import load_model
from asr.config.compose import compose
from asr.data import DataConfig, eval_loader, split_cuts
from asr.losses import TransducerLossConfig
from asr.nn.chunks import ChunkContext
from asr.training.build import build_trainer
from asr.training.objective import TransducerObjective
from tests.training.tiny import overrides

NUM_STEPS = 80
LEARN = [
    f"training.num_steps={NUM_STEPS}",
    "training.log_every=4",
    "training.validate_every=40",
    "augment={warp:null,level:null,silence:null,masks:null}",
    "training.regularisation_start=20000",
    "loss.warm_steps=0",
    "schedule.warmup_steps=5",
]


@pytest.fixture(scope="module")
def learned(corpus, tmp_path_factory):
    """The folder of a run over sixteen clips."""
    torch.manual_seed(0)
    run_dir = tmp_path_factory.mktemp("learned")
    trainer = build_trainer(compose("train", overrides(corpus, run_dir, *LEARN)))
    trainer.run()
    trainer.journal.close()
    return run_dir


@pytest.fixture(scope="module")
def rows(learned):
    return [json.loads(line) for line in (learned / "metrics.jsonl").read_text().splitlines()]


def test_loss_falls(rows):
    """On clips that it has seen, without augmentation."""
    losses = {row["step"]: row["loss"] for row in rows if row["kind"] == "train"}
    assert losses[NUM_STEPS] < 0.35 * losses[4], losses


def test_metrics(rows):
    train = [row for row in rows if row["kind"] == "train"]
    assert [row["step"] for row in train] == list(range(4, NUM_STEPS + 1, 4))
    expected = {"loss", "simple", "pruned", "ctc", "lr", "utterances_per_s", "grad_norm", "epoch", "hours"}
    for row in train:
        assert expected <= row.keys()
        assert row["lr"] > 0 and row["utterances_per_s"] > 0 and row["grad_norm"] > 0
    hours = [row["hours"] for row in train]
    assert hours == sorted(hours) and hours[-1] > 0
    dev = [row for row in rows if row["kind"] == "dev"]
    assert [row["step"] for row in dev] == [40, 80]
    assert all(row["wer"] >= 0 and row["ctc_wer"] >= 0 for row in dev)


def test_tensorboard(learned):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(learned / "tensorboard"))
    events.Reload()
    assert {"train/loss", "train/lr", "train/utterances_per_s", "dev/wer"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("dev/wer")] == [40, 80]


@pytest.mark.parametrize("context", [ChunkContext(), ChunkContext(chunk_size=8, left_context=16)], ids=str)
def test_padding_changes_no_loss(corpus, learned, context):
    """The loss of a batch is the sum of the losses of its utterances alone."""
    loaded = load_model(learned)
    objective = TransducerObjective(loaded.model, TransducerLossConfig(ctc_scale=0.3)).eval()
    data = DataConfig(folder=str(corpus), max_duration_s=60.0, num_workers=0)
    (batch,) = eval_loader(split_cuts(data, "train"), loaded.tokenizer, data)
    assert len(set(batch.feature_lens.tolist())) > 5 and len(set(batch.token_lens.tolist())) > 2
    with torch.no_grad():
        together = objective(*batch[:4], step=5000, context=context)
        alone = [
            objective(
                batch.features[i : i + 1, : batch.feature_lens[i]],
                batch.feature_lens[i : i + 1],
                batch.tokens[i : i + 1, : batch.token_lens[i]],
                batch.token_lens[i : i + 1],
                step=5000,
                context=context,
            )
            for i in range(len(batch.ids))
        ]
    for name in ("simple", "pruned", "ctc"):
        total = sum(loss.parts[name] for loss in alone)
        assert together.parts[name].item() == pytest.approx(total.item(), rel=1e-5), name
    assert together.total.item() == pytest.approx(sum(loss.total for loss in alone).item(), rel=1e-5)


def test_epochs_can_decide(corpus, tmp_path):
    trainer = build_trainer(compose("train", overrides(corpus, tmp_path, *LEARN, "training.num_epochs=2")))
    trainer.run()
    trainer.journal.close()
    assert trainer.position.epoch == 2 and trainer.position.step < NUM_STEPS

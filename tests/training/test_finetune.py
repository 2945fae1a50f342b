"""A trained model goes on with other data, in several ways, and what it forgets is seen."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
import torch

from asr.checkpoint.folder import list_checkpoints
from asr.checkpoint.format import read_checkpoint
from asr.checkpoint.model import load_model
from asr.cli.main import main
from asr.config.compose import compose
from asr.data import DataConfig, all_cuts
from asr.errors import CheckpointError, ConfigError
from asr.training.build import build_trainer, regularisation_start
from asr.training.canary import before_and_after
from tests.training import troubles
from tests.training.child import asr
from tests.training.tiny import SHORT, overrides

LORA = "finetune.lora.rank=2"


@pytest.fixture(scope="module")
def trained(corpus, tmp_path_factory) -> Path:
    """The folder of a run of a few steps."""
    run_dir = tmp_path_factory.mktemp("trained")
    trainer = build_trainer(compose("train", overrides(corpus, run_dir, *SHORT)))
    trainer.run()
    trainer.journal.close()
    return run_dir


def settings(corpus: Path, trained: Path, run_dir: Path, *more: str) -> list[str]:
    return overrides(corpus, run_dir, *SHORT, f"finetune.start={trained}", "optim.lr=0.01", *more)


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_model(path).model.state_dict()


def moved(run_dir: Path, trained: Path) -> set[str]:
    before, after = weights(trained), weights(run_dir)
    return {name for name, tensor in after.items() if not torch.allclose(tensor, before[name], rtol=1e-5, atol=1e-6)}


def test_starts_where_the_checkpoint_is_with_its_shape(corpus, trained, tmp_path, capsys):
    """Whatever model and tokenizer the recipe has."""
    more = ["model.joiner_dim=40", "training.num_steps=2", "finetune.canary.folder=" + str(corpus)]
    assert main(["train", *settings(corpus, trained, tmp_path, *more)]) == 0
    first, last = (read_checkpoint(path) for path in list_checkpoints(tmp_path / "checkpoints"))
    given = weights(trained)
    assert all(torch.equal(tensor, given[name]) for name, tensor in first.part("model").items())
    assert last.metadata["config"]["joiner_dim"] == 24
    said = " ".join(capsys.readouterr().err.split())
    assert f"fine-tuning {trained}" in said and "trains 48,833 parameters of a model of 48,833" in said
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    watched = [row for row in rows if row["kind"] == "dev"]
    assert [row["step"] for row in watched] == [0, 2]
    assert all(row["canary_wer"] == row["wer"] for row in watched), "here they are the same set"
    assert f"error rate from step 0 to step 2: dev {watched[0]['wer']:.2f} to" in said and "canary" in said


@pytest.mark.parametrize(
    ("changes", "start"),
    [
        (["finetune.start=x"], 100_000.0),
        (["training.warm_start=x"], 100_000.0),
        ([], 0.0),
        (["finetune.start=x", "training.regularisation_start=0"], 0.0),
        (["finetune.start=x", "recipe=digits"], 20_000.0),
    ],
)
def test_regularisation_begins_at_its_end(changes, start):
    """The position that is published for fine-tuning (icefall, finetune.py), unless a setting says otherwise."""
    recipe = [] if "recipe=digits" in changes else ["recipe=librispeech"]
    assert regularisation_start(compose("train", [*recipe, *changes])) == start


def test_frozen_names_stay(corpus, trained, tmp_path):
    more = ["finetune.freeze=[encoder.embed,'*.bias']"]
    assert main(["train", *settings(corpus, trained, tmp_path, *more)]) == 0
    changed = moved(tmp_path, trained)
    assert changed and not [name for name in changed if name.startswith("encoder.embed") or name.endswith(".bias")]


def test_changes_of_low_rank_are_plain_weights_to_everyone_else(corpus, trained, tmp_path):
    """Checkpoints, averages and what is loaded from them know nothing of it."""
    assert main(["train", *settings(corpus, trained, tmp_path, LORA, "training.average_period=2")]) == 0
    changed = moved(tmp_path, trained)
    assert changed and all(name.startswith("encoder.") and name.endswith(".weight") for name in changed)
    before, after = weights(trained), weights(tmp_path)
    differences = [(after[name] - before[name]).double() for name in changed]
    for difference in differences:  # the product at the start and the one now: twice the rank
        assert torch.linalg.matrix_rank(difference, rtol=1e-3) <= 4
    assert main(["average", str(tmp_path), "chunk_size=16", "left_context=16"]) == 0
    averaged = read_checkpoint(tmp_path / "averaged.safetensors")
    assert set(averaged.part("model")) == set(before)


def killed_and_whole(corpus: Path, trained: Path, tmp_path: Path, *more: str) -> list[dict[str, torch.Tensor]]:
    """All that the last checkpoint holds: of a run that was killed and started again, and of one that was not."""
    run = ["train", *settings(corpus, trained, tmp_path / "killed", *more)]
    assert asr(run, tmp_path / "log", trouble=partial(troubles.die_before_optimizer, 4)).was_killed
    assert asr(run, tmp_path / "log").status == 0
    assert asr(["train", *settings(corpus, trained, tmp_path / "whole", *more)], tmp_path / "log").status == 0
    folders = (tmp_path / name / "checkpoints" for name in ("killed", "whole"))
    return [read_checkpoint(list_checkpoints(folder)[-1]).tensors for folder in folders]


def differing(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> list[str]:
    return [name for name in one.keys() | other.keys() if not torch.equal(one[name], other[name])]


@pytest.mark.slow
def test_changes_of_low_rank_resume_to_the_bit(corpus, trained, tmp_path):
    assert not differing(*killed_and_whole(corpus, trained, tmp_path, LORA))
    run = build_trainer(compose("train", settings(corpus, trained, tmp_path / "whole", "finetune.lora.rank=3")))
    with pytest.raises(CheckpointError, match="was made with another finetune.lora"):
        run.run()
    run.journal.close()


@pytest.mark.slow
def test_replay_of_lazy_lists_resumes_to_the_bit(corpus, trained, tmp_path):
    more = ["data.lazy=true", f"finetune.replay.folder={corpus}", "finetune.replay.share=0.7"]
    assert not differing(*killed_and_whole(corpus, trained, tmp_path, *more))


def test_old_data_is_replayed(corpus, trained, tmp_path):
    """The new data are one voice, the old ones all others."""
    voices = {cut.id: cut.supervisions[0].speaker for cut in all_cuts(DataConfig(folder=str(corpus)))}
    new, *old = sorted(set(voices.values()))
    replay = [f"finetune.replay.folder={corpus}", f"finetune.replay.exclude_speakers=[{new}]"]
    more = [f"data.exclude_speakers={old}".replace("'", ""), *replay, "finetune.replay.share=0.5"]
    trainer = build_trainer(compose("train", settings(corpus, trained, tmp_path, *more)))
    heard: dict[str, float] = {"new": 0.0, "old": 0.0}
    for batch in trainer.data.epoch(0):
        for name, frames in zip(batch.ids, batch.feature_lens.tolist()):
            heard["new" if voices[name.partition("-again")[0]] == new else "old"] += frames
    trainer.journal.close()
    assert 0.35 < heard["old"] / sum(heard.values()) < 0.65, heard


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        (["finetune.freeze=[nothing]"], "nothing called nothing"),
        (["finetune.lora.layers=[nothing]"], "no linear layer of this model is called nothing"),
        (["finetune.lora.rank=0"], "finetune.lora.rank=0 must be at least 1"),
        ([LORA, "training.ema_decay=0.9"], "training.ema_decay averages whole weights"),
        ([LORA, "training.parallel=FSDP"], "training.parallel=FSDP has no whole weights to change"),
        (["finetune.replay={folder: x, share: 1}"], "finetune.replay.share=1.0 must lie between 0 and 1"),
        (["training.warm_start=exp/other"], "training.warm_start must be null"),
        (["loss.attention_scale=1"], "loss.attention_scale=1.0 needs a head of its own"),
    ],
)
def test_what_cannot_be_is_refused(corpus, trained, tmp_path, changes, complaint):
    with pytest.raises(ConfigError, match=complaint):
        build_trainer(compose("train", settings(corpus, trained, tmp_path, *changes))).journal.close()


def test_what_was_forgotten_is_told_after_a_crash_in_the_middle_of_a_line(tmp_path):
    rows = [{"kind": "dev", "step": step, "wer": 9.0 - step, "canary_wer": 3.0 + step} for step in (0, 2)]
    first, last = map(json.dumps, rows)
    (tmp_path / "metrics.jsonl").write_text(f"{first}\n{last[:9]}\n{last}\n")
    assert before_and_after(tmp_path) == "error rate from step 0 to step 2: dev 9.00 to 7.00 %, canary 3.00 to 5.00 %"

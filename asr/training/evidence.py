"""The batch of a step that went wrong, and the model that met it, in one file that replays it anywhere.

The file has the form of a checkpoint: tensors `model/...` and `batch/...`, the rest as JSON: cut ids, texts, what was
wrong, and what every random generator was seeded with. The same JSON, without the model's shape, lies beside it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from asr.checkpoint.format import read_checkpoint, with_prefix, write_checkpoint
from asr.data import Batch
from asr.data.collate import TENSORS
from asr.errors import CheckpointError
from asr.losses import TransducerLossConfig
from asr.models.transducer import Transducer, copy_weights, model_config_from_dict
from asr.nn.lora import plain_state
from asr.nn.schedule import set_schedule_position
from asr.nn.whiten import load_whiten_probabilities
from asr.training.consistency import ConsistencyConfig
from asr.training.examine import Moment
from asr.training.guard import Trouble
from asr.training.objective import TransducerObjective
from asr.training.plain import from_plain, to_plain
from asr.training.precision import Precision

KIND = "batch"


class Evidence(NamedTuple):
    """objective: with the model as it was; batch: what it met; moment: when; trouble: what was wrong then."""

    objective: TransducerObjective
    batch: Batch
    moment: Moment
    trouble: str


def write_evidence(
    path: Path,
    batch: Batch,
    moment: Moment,
    trouble: Trouble,
    *,
    objective: TransducerObjective,
    description: Mapping[str, Any],
    whiten: dict[str, float],
    clock: float,
) -> None:
    """Keep a batch.

    Args:
        objective: with the model's weights before the step.
        description: what a checkpoint says of the model: its shape and its tokenizer.
        whiten: acting probabilities before the step.
        clock: where the regularisation schedules stand.
    Raises:
        CheckpointError: it cannot be written.
    """
    tensors: dict[str, Tensor] = {
        **with_prefix("model", plain_state(objective.model)),
        **with_prefix("batch", {name: getattr(batch, name) for name in TENSORS}),
    }
    story = {
        "trouble": trouble.value,
        "cuts": batch.ids,
        "texts": batch.texts,
        "index": batch.index,
        **moment._asdict(),
        "precision": moment.precision.value,
        "clock": clock,
        "loss": to_plain(objective.config),
        "consistency": to_plain(objective.consistency),
    }
    write_checkpoint(path, tensors, {**description, "kind": KIND, "whiten": whiten, "evidence": story})
    path.with_suffix(".json").write_text(json.dumps(story, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_evidence(path: Path) -> Evidence:
    """Everything as it was when `write_evidence` kept it; raises CheckpointError for other files."""
    checkpoint = read_checkpoint(path)
    metadata, story = checkpoint.metadata, checkpoint.metadata.get("evidence")
    if metadata.get("kind") != KIND or story is None:
        raise CheckpointError(f"{path} holds no batch; give a file from the folder `trouble` of a run")
    model = Transducer(model_config_from_dict(metadata["config"]))
    copy_weights(model, checkpoint.part("model"))
    load_whiten_probabilities(model, metadata["whiten"])
    set_schedule_position(model, story["clock"])
    moment = {name: story[name] for name in Moment._fields}
    features, feature_lens, tokens, token_lens = (checkpoint.part("batch")[name] for name in TENSORS)
    names = {"texts": story["texts"], "ids": story["cuts"], "index": story["index"]}
    batch = Batch(features, feature_lens, tokens, token_lens, **names)
    loss = from_plain(TransducerLossConfig, story["loss"])
    consistency = story["consistency"] and from_plain(ConsistencyConfig, story["consistency"])
    return Evidence(
        TransducerObjective(model, loss, consistency),
        batch,
        Moment(**{**moment, "precision": Precision(moment["precision"])}),
        story["trouble"],
    )

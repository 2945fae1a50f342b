"""A run small enough to be killed and repeated many times: a few milliseconds a step."""

from __future__ import annotations

from pathlib import Path

MODEL = [
    "model.encoder.embed_channels=[4,8,16]",
    "model.encoder.embed_expansion=1",
    "model.encoder.downsampling_factors=[1,2]",
    "model.encoder.num_layers=[1,1]",
    "model.encoder.encoder_dims=[24,32]",
    "model.encoder.unmasked_dims=[16,16]",
    "model.encoder.feedforward_dims=[32,32]",
    "model.encoder.num_heads=[2,2]",
    "model.encoder.cnn_kernels=[7,7]",
    "model.encoder.query_head_dim=8",
    "model.encoder.value_head_dim=6",
    "model.encoder.pos_dim=12",
    "model.encoder.chunk_sizes=[8,16,null]",
    "model.encoder.left_contexts=[16,null]",
    "model.predictor_dim=24",
    "model.joiner_dim=24",
]
RUN = [
    "data.max_duration_s=2.5",
    "data.num_buckets=2",
    "data.num_workers=0",
    "training.num_threads=1",
    "evaluation.chunk_size=16",
    "evaluation.left_context=16",
]
SHORT = ["training.num_steps=6", "training.checkpoint_every=2", "training.validate_every=0"]


def overrides(corpus: Path, run_dir: Path, *more: str) -> list[str]:
    """What follows `asr train`: the digits recipe with everything made small."""
    where = [f"data.folder={corpus}", "data.test=[test]", f"run_dir={run_dir}", "name=tiny"]
    return ["recipe=digits", *MODEL, *RUN, *where, *more]

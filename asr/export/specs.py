"""The files of one export: which graphs, with what inputs, outputs and metadata.

Names, order and metadata are those sherpa-onnx 2.0 expects of a "zipformer2" model, transducer or CTC; it binds tensors
by position and reads every fact about the architecture from the metadata.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from asr.errors import ExportError
from asr.export.config import ExportConfig, ExportHead, ExportMode
from asr.export.heads import OutputHead, output_head
from asr.export.wrappers import Decoder, Joiner, OfflineEncoder, StreamingEncoder, state_names, to_client_states
from asr.models.encoders import kind_of
from asr.models.transducer import Transducer
from asr.models.zipformer import Zipformer, ZipformerConfig

Axes = dict[int, str]
BATCH: Axes = {0: "N"}
EXAMPLE_BATCH = 2
"""Rows of the example that is traced: with one, the exporter would take the batch for a constant."""
CLIENT_EMBED = (128, 80)
"""Front-end channels and mel bins of every streaming model the client can serve."""


@dataclass(kw_only=True)
class GraphSpec:
    """One graph to write."""

    stem: str
    """File name without its ending."""
    module: nn.Module
    """What to trace."""
    args: tuple[Any, ...]
    """Example inputs: tensors and lists of tensors."""
    inputs: dict[str, Axes]
    """Names, in order, with the names of axes that may vary."""
    outputs: dict[str, Axes]
    """The same of outputs."""
    metadata: dict[str, str] = field(default_factory=dict)
    """What the client reads."""
    quantized_ops: Sequence[str] = ("MatMul",)
    """Operators with 8-bit weights in the twin."""


def graph_specs(model: Transducer, config: ExportConfig) -> list[GraphSpec]:
    """Encoder, decoder and joiner of `model`, which is in eval mode; of a CTC model the encoder with its head.

    Raises:
        ExportError: the client cannot serve a model of this shape, or it lacks the head asked for.
        ConfigError: the model cannot work under the wanted context.
    """
    streaming = config.mode is ExportMode.STREAMING
    head = output_head(model, config)
    encoder = _streaming_encoder(model, head, config) if streaming else _offline_encoder(model, head)
    return [encoder] if head.kind is ExportHead.CTC else [encoder, _decoder(model), _joiner(model)]


def zipformer_shape(model: Transducer) -> ZipformerConfig:
    """The shape of the model's encoder; raises ExportError where it is no Zipformer, the only one the client serves."""
    shape = model.config.encoder
    if not isinstance(shape, ZipformerConfig):
        raise ExportError(
            f"this model's encoder is a {kind_of(shape)}; sherpa-onnx is served Zipformers only, so export one of those"
        )
    return shape


def _streaming_encoder(model: Transducer, head: OutputHead, config: ExportConfig) -> GraphSpec:
    shape = zipformer_shape(model)
    for value, wanted, what in (
        (shape.embed_channels[-1], CLIENT_EMBED[0], "front end ends in {} channels"),
        (shape.feature_dim, CLIENT_EMBED[1], "features have {} mel bins"),
    ):
        if value != wanted:
            raise ExportError(
                f"this model's {what.format(value)}; sherpa-onnx serves {wanted} only, so train one with {wanted}"
            )
    # Every state is a tensor of its own: leaves that share memory would be merged into one input.
    states = [state.clone() for state in to_client_states(model.init_state(EXAMPLE_BATCH, config.context))]
    names = state_names(sum(shape.num_layers))
    axes = {name: state_batch_axis(name) for name in names}
    x = torch.randn(EXAMPLE_BATCH, step_frames(config.chunk_size), shape.feature_dim)
    return GraphSpec(
        stem=f"{_STREAMING_STEMS[head.kind]}-chunk-{config.chunk_size}-left-{config.left_context}",
        module=StreamingEncoder(model, head.module, config.context, shape.num_layers),
        args=(x, states),
        inputs={"x": BATCH, **axes},
        outputs={head.output: BATCH, **{f"new_{name}": axes[name] for name in names}},
        metadata=streaming_metadata(model, config),
    )


_STREAMING_STEMS = {ExportHead.TRANSDUCER: "encoder", ExportHead.CTC: "ctc"}


def _offline_encoder(model: Transducer, head: OutputHead) -> GraphSpec:
    ctc = head.kind is ExportHead.CTC
    shape = zipformer_shape(model)
    block, num_blocks = 2 * shape.chunk_multiple, 5
    blocks = torch.randn(EXAMPLE_BATCH, num_blocks, block, shape.feature_dim)
    tail = torch.randn(EXAMPLE_BATCH, Zipformer.lookahead, shape.feature_dim)
    frames = num_blocks * block + Zipformer.lookahead
    return GraphSpec(
        stem="model" if ctc else "encoder",
        module=OfflineEncoder(model, head.module),
        args=(blocks, tail, torch.tensor([frames, frames // 2])),
        inputs={"blocks": {0: "N", 1: "K"}, "tail": BATCH, "x_lens": BATCH},
        outputs={head.output: {0: "N", 1: "frames"}, head.lens: BATCH},
        metadata={
            **_AUTHORSHIP,
            "model_type": "zipformer2_ctc" if ctc else "zipformer2",
            "comment": "non-streaming zipformer2",
        },
    )


def _decoder(model: Transducer) -> GraphSpec:
    config = model.config
    return GraphSpec(
        stem="decoder",
        module=Decoder(model),
        args=(torch.zeros(EXAMPLE_BATCH, config.context_size, dtype=torch.int64),),
        inputs={"y": BATCH},
        outputs={"decoder_out": BATCH},
        metadata={"context_size": str(config.context_size), "vocab_size": str(config.vocab_size)},
        quantized_ops=("MatMul", "Gather"),
    )


def _joiner(model: Transducer) -> GraphSpec:
    width = model.config.joiner_dim
    return GraphSpec(
        stem="joiner",
        module=Joiner(model),
        args=(torch.randn(EXAMPLE_BATCH, width), torch.randn(EXAMPLE_BATCH, width)),
        inputs={"encoder_out": BATCH, "decoder_out": BATCH},
        outputs={"logit": BATCH},
        metadata={"joiner_dim": str(width)},
    )


_AUTHORSHIP = {"model_type": "zipformer2", "version": "1", "model_author": "rill-asr"}


def streaming_metadata(model: Transducer, config: ExportConfig) -> dict[str, str]:
    """What the client needs to know of a streaming encoder; lists have one entry per stack."""
    shape = zipformer_shape(model)
    stacks = len(shape.num_layers)
    lists = {
        "num_encoder_layers": shape.num_layers,
        "encoder_dims": shape.encoder_dims,
        "cnn_module_kernels": shape.cnn_kernels,
        "left_context_len": [config.left_context // factor for factor in shape.downsampling_factors],
        "query_head_dims": [shape.query_head_dim] * stacks,
        "value_head_dims": [shape.value_head_dim] * stacks,
        "num_heads": shape.num_heads,
    }
    return {
        **_AUTHORSHIP,
        "comment": "streaming zipformer2",
        "T": str(step_frames(config.chunk_size)),
        "decode_chunk_len": str(2 * config.chunk_size),
        **{key: ",".join(map(str, values)) for key, values in lists.items()},
    }


def step_frames(chunk_size: int) -> int:
    """Feature frames, 100 Hz, that a step of `chunk_size` 50 Hz frames reads; it moves on by 2 * `chunk_size`."""
    return 2 * chunk_size + Zipformer.lookahead


def state_batch_axis(name: str) -> Axes:
    """Where the client keeps the batch of a state: attention caches have time, or a one, first."""
    return {1: "N"} if name.startswith(("cached_key", "cached_nonlin", "cached_val")) else BATCH

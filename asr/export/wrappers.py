"""The model's parts as the deployment client wants to see them: same forward, other layout at the boundary.

Inside, everything is batch first and typed. The client wants flat lists, attention caches with time first and
convolution caches with channels before time; these wrappers permute, and do nothing else. Layouts are those of
sherpa-onnx 2.0 (model types "zipformer2", "zipformer2_ctc" and "transducer").
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from asr.models.transducer import Transducer
from asr.models.zipformer import EncoderState, LayerState
from asr.nn.chunks import ChunkContext

STATES_PER_LAYER = ("cached_key", "cached_nonlin_attn", "cached_val1", "cached_val2", "cached_conv1", "cached_conv2")


def state_names(num_layers: int) -> list[str]:
    """Names of a streaming encoder's states, in order; `num_layers` counts the layers of all stacks."""
    per_layer = [f"{name}_{layer}" for layer in range(num_layers) for name in STATES_PER_LAYER]
    return [*per_layer, "embed_states", "processed_lens"]


def to_client_states(state: EncoderState) -> list[Tensor]:
    """Our state as the client's flat list, in the client's layouts."""
    states = []
    for layer in (layer for stack in state.stacks for layer in stack):
        states += [
            layer.key.transpose(0, 1),  # (L, N, H * query_head_dim)
            layer.nonlin.unsqueeze(0),  # (1, N, L, 3 C / 4)
            layer.value1.transpose(0, 1),  # (L, N, H * value_head_dim)
            layer.value2.transpose(0, 1),
            layer.conv1.transpose(1, 2),  # (N, C, K // 2)
            layer.conv2.transpose(1, 2),
        ]
    return [*states, state.embed.permute(0, 3, 1, 2), state.processed]  # (N, 128, 3, 19), (N,)


def from_client_states(states: list[Tensor], layers_per_stack: list[int]) -> EncoderState:
    """The inverse of `to_client_states`."""
    flat = iter(states)
    stacks = tuple(tuple(_layer_state(flat) for _ in range(layers)) for layers in layers_per_stack)
    return EncoderState(stacks, next(flat).permute(0, 2, 3, 1), next(flat))


def _layer_state(flat: Iterator[Tensor]) -> LayerState:
    key, nonlin, value1, value2, conv1, conv2 = (next(flat) for _ in STATES_PER_LAYER)
    return LayerState(
        key=key.transpose(0, 1),
        nonlin=nonlin.squeeze(0),
        value1=value1.transpose(0, 1),
        value2=value2.transpose(0, 1),
        conv1=conv1.transpose(1, 2),
        conv2=conv2.transpose(1, 2),
    )


class StreamingEncoder(nn.Module):
    """One step: features and states in, what `head` makes of the encoder frames and the next states out."""

    def __init__(self, model: Transducer, head: nn.Module, context: ChunkContext, num_layers: list[int]):
        super().__init__()
        self.model, self.head = model, head
        self.num_layers = num_layers
        self.context = context

    def forward(self, x: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """x (N, 2 S + 13, 80), raw features, and the client's states to (N, S / 2, J or V) and the next states.

        There is no `x_lens`: the client only ever sends whole steps.
        """
        state = from_client_states(states, self.num_layers)
        x_lens = torch.full((x.shape[0],), x.shape[1], dtype=torch.int64, device=x.device)
        out = self.model.encode(x, x_lens, context=self.context, state=state)
        return self.head(out.out), to_client_states(out.state)


class OfflineEncoder(nn.Module):
    """Whole utterances, cut into blocks: what `head` makes of the encoder frames, and their lengths out.

    The exporter reasons about shapes in symbols. With one symbol for the number of blocks every length inside is a
    multiple of it; with the number of frames all would be nested roundings, and tracing takes minutes or fails.
    `asr.export.lengths` puts the cutting in front of the graph, so that the client may send any length.
    """

    def __init__(self, model: Transducer, head: nn.Module):
        super().__init__()
        self.model, self.head = model, head

    def forward(self, blocks: Tensor, tail: Tensor, x_lens: Tensor) -> tuple[Tensor, Tensor]:
        """Raw features in blocks (N, K, 2 * chunk_multiple, 80), the lookahead (N, 13, 80), x_lens (N,).

        Returns (N, T', J or V) and (N,).
        """
        x = torch.cat([blocks.flatten(1, 2), tail], dim=1)
        state = self.model.encoder.init_state(x.shape[0], device=x.device)
        out = self.model.encode(x, x_lens, context=ChunkContext(), state=state)
        return self.head(out.out), out.lens


class Decoder(nn.Module):
    """What the client calls the decoder: the predictor and its projection."""

    def __init__(self, model: Transducer):
        super().__init__()
        self.predictor, self.projection = model.predictor, model.joiner.predictor_proj

    def forward(self, y: Tensor) -> Tensor:
        """y (N, context_size) int64, below zero where there is nothing yet, to (N, J)."""
        return self.projection(self.predictor(y, pad_left=False).squeeze(1))


class Joiner(nn.Module):
    """The joiner without its input projections, which the other two graphs hold."""

    def __init__(self, model: Transducer):
        super().__init__()
        self.joiner = model.joiner

    def forward(self, encoder_out: Tensor, decoder_out: Tensor) -> Tensor:
        """Both (N, J) to logits (N, V)."""
        return self.joiner(encoder_out, decoder_out, project=False)

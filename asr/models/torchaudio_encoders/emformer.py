"""torchaudio's Emformer as the body of an encoder: segments, each with a right context that all its layers share.

Source: Shi et al. 2021, arXiv 2010.10759, as torchaudio.models.Emformer has it; without its memory bank.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from asr.models.torchaudio_encoders.config import EmformerConfig
from asr.nn.chunks import ChunkContext
from asr.tensors import tree_cat, tree_select


class LayerPast(NamedTuple):
    """Both (B, L, C), L frames (25 Hz) of left context, or 0 for whole utterances."""

    key: Tensor
    value: Tensor


class EmformerState(NamedTuple):
    """layers: their left context; past: 25 Hz frames seen before, (B,)."""

    layers: tuple[LayerPast, ...]
    past: Tensor


class Emformer(nn.Module):
    """Whole utterances by torchaudio's `forward`, steps by its `infer`."""

    stride, supports_step = 1, True

    def __init__(self, config: EmformerConfig):
        super().__init__()
        from torchaudio.models import Emformer as Layers  # here, for not every model needs it

        self.output_dim = config.dim
        self.segment, self.lookahead = config.chunk_size // 2, config.right_context // 2
        self.left = config.left_context // 2
        self.layers = Layers(
            config.dim,
            config.num_heads,
            config.feedforward_dim,
            config.num_layers,
            self.segment,
            dropout=config.dropout,
            left_context_length=self.left,
            right_context_length=self.lookahead,
        )

    def init_state(self, batch_size: int, context: ChunkContext | None, device: torch.device | None) -> EmformerState:
        """An empty past; None is for whole utterances."""
        shape = (batch_size, 0 if context is None else self.left, self.output_dim)
        layers = tuple(
            LayerPast(torch.zeros(shape, device=device), torch.zeros(shape, device=device))
            for _ in self.layers.emformer_layers
        )
        return EmformerState(layers, torch.zeros(batch_size, dtype=torch.int64, device=device))

    def forward(self, x: Tensor, lens: Tensor, state: EmformerState) -> tuple[Tensor, EmformerState]:
        """x (B, T + R, C), zero beyond lens, T whole segments, to (B, T, C) and the next state.

        Zeros after a row's end count as frames up to the end of its segment, in every mode, so a row is what it is
        alone. (torchaudio's own masks see to that in batches only, and only where the longest row is full.)
        """
        frames = x.shape[1] - self.lookahead
        if state.layers[0].key.shape[1] == 0:
            out, _ = self.layers(x, torch.full_like(lens, frames))
            return out, state
        outs = []
        for start in range(0, frames, self.segment):
            out, state = self._step(x[:, start : start + self.segment + self.lookahead], state)
            outs.append(out)
        return torch.cat(outs, dim=1), state

    def _step(self, x: Tensor, state: EmformerState) -> tuple[Tensor, EmformerState]:
        """One segment. torchaudio reads one row's past for all, so rows go together that have equally much of it."""
        seen = state.past.clamp(max=self.left)
        if bool((seen == seen[0]).all()):
            return self._infer(x, state)
        groups = [(seen == count).nonzero().squeeze(1) for count in seen.unique()]
        done = [self._infer(x.index_select(0, rows), tree_select(state, rows)) for rows in groups]
        return tree_select(tree_cat(done), torch.cat(groups).argsort())

    def _infer(self, x: Tensor, state: EmformerState) -> tuple[Tensor, EmformerState]:
        past = state.past.to(torch.int32).unsqueeze(0)
        memory = x.new_zeros(0, *x[:, 0].shape)
        states = [[memory, *(leaf.transpose(0, 1) for leaf in layer), past] for layer in state.layers]
        lens = torch.full((x.shape[0],), x.shape[1], device=x.device)
        out, _, states = self.layers.infer(x, lens, states)
        layers = tuple(LayerPast(*(leaf.transpose(0, 1) for leaf in (key, value))) for _, key, value, _ in states)
        return out, EmformerState(layers, state.past + self.segment)

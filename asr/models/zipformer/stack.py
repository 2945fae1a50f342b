"""A stack of layers at one frame rate. Source: Zipformer, arXiv 2310.11230, section 3.1."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from asr.models.zipformer.bypass import Bypass
from asr.models.zipformer.config import ZipformerConfig
from asr.models.zipformer.layer import ZipformerLayer
from asr.models.zipformer.positions import RelativePositions
from asr.models.zipformer.resample import Downsample, downsampled_lens, upsample
from asr.models.zipformer.state import LayerState
from asr.nn.cache import past_frames
from asr.nn.recompute import recomputed
from asr.nn.schedule import ScheduledFloat


class ZipformerStack(nn.Module):
    """Layers that run `factor` times slower than 50 Hz, bypassed as a whole where that is slower at all."""

    stride = 1

    def __init__(self, config: ZipformerConfig, stack: int):
        super().__init__()
        self.factor, self.recompute = config.downsampling_factors[stack], config.recompute
        prototype = ZipformerLayer(config, stack)
        # Layers of a stack start from the same weights, as published: the optimizer was tuned to that start.
        layers = [copy.deepcopy(prototype) for _ in range(config.num_layers[stack])]
        self.layers: Sequence[ZipformerLayer] = nn.ModuleList(layers)  # type: ignore[assignment]
        for index, layer in enumerate(self.layers):
            layer.bypass.skip_rate = _layer_skip_rate(config, stack, index)
        self.positions = RelativePositions(config.pos_dim)
        if self.factor > 1:
            self.downsample = Downsample(self.factor)
            self.out_combiner = Bypass(config.encoder_dims[stack])

    @property
    def lookahead(self) -> int:
        """Frames (50 Hz) needed beyond a chunk."""
        return self.factor * sum(layer.lookahead for layer in self.layers)

    @property
    def supports_step(self) -> bool:
        return all(layer.supports_step for layer in self.layers)

    def init_state(
        self, batch_size: int, cache_frames: int, device: torch.device | None = None
    ) -> tuple[LayerState, ...]:
        """An empty past of `cache_frames` frames at 50 Hz, one state per layer; 0 for whole utterances."""
        frames = cache_frames // self.factor
        return tuple(layer.init_state(batch_size, frames, device) for layer in self.layers)

    def forward(
        self,
        x: Tensor,
        lens: Tensor,
        states: tuple[LayerState, ...],
        *,
        visible: Tensor,
        chunk_size: int | Tensor | None,
        feature_mask: Tensor | None = None,
    ) -> tuple[Tensor, tuple[LayerState, ...]]:
        """Run the layers at their rate.

        Args:
            x: (B, T, C) at 50 Hz.
            lens: (B,), at 50 Hz.
            visible: (B, T or 1, L + T) at 50 Hz.
            chunk_size: 50 Hz frames, for all rows or (B,); None for the whole row.
        Returns:
            (B, T, C) and the next states.
        """
        if self.factor == 1:
            return self._run_layers(x, lens, states, visible, chunk_size, feature_mask)
        if chunk_size is not None:
            chunk_size = chunk_size // self.factor
        slow = self.downsample(x, lens)
        slow_lens = downsampled_lens(lens, self.factor)
        visible = visible[:, :: self.factor, :: self.factor]
        slow, states = self._run_layers(slow, slow_lens, states, visible, chunk_size, feature_mask)
        return self.out_combiner(x, upsample(slow, self.factor)[:, : x.shape[1]]), states

    def _run_layers(self, x, lens, states, visible, chunk_size, feature_mask):
        pos_emb = self.positions(x.shape[1], past_frames(states[0].key), x.device)
        if feature_mask is not None:
            x = x * feature_mask
        next_states = []
        for layer, state in zip(self.layers, states):
            run = partial(
                layer,
                x,
                lens,
                state,
                pos_emb=pos_emb,
                visible=visible,
                chunk_size=chunk_size,
                feature_mask=feature_mask,
            )
            x, state = recomputed(run) if self.recompute and self.training else run()
            next_states.append(state)
        return x, tuple(next_states)


def _layer_skip_rate(config: ZipformerConfig, stack: int, layer: int) -> ScheduledFloat:
    """Layers are released one by one, stack by stack, in the first 4000 positions."""
    share = 4000.0 / (len(config.num_layers) + 1)
    step = share / config.num_layers[stack]
    begin = share * (stack + 1) + layer * step
    return ScheduledFloat((begin, 0.5), (begin + step, 0.035 * config.downsampling_factors[stack] ** 0.5))

"""Gated depthwise convolutions that look back only, as the body of an encoder.

Source: the gate is that of Dauphin et al. 2017, arXiv 1612.08083; depthwise and point-wise halves as in MobileNet,
arXiv 1704.04861.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import glu

from asr.kernels.depthwise import depthwise_conv
from asr.kernels.swoosh import swoosh_r
from asr.models.convolutional.config import CnnConfig
from asr.nn.biasnorm import BiasNorm
from asr.nn.cache import extend_left
from asr.nn.chunks import ChunkContext
from asr.tensors import zero_padding


class CausalBlock(nn.Module):
    """Norm, gated linear, causal depthwise convolution, SwooshR, linear, around a residual."""

    def __init__(self, config: CnnConfig):
        super().__init__()
        dim = config.dim
        self.norm = BiasNorm(dim)
        self.in_proj = nn.Linear(dim, 2 * dim)
        conv = nn.Conv1d(dim, dim, config.kernel_size, groups=dim)
        self.weight, self.bias = conv.weight, conv.bias
        self.out_proj = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(config.dropout)

    def init_state(self, batch_size: int, device: torch.device | None) -> Tensor:
        """No frames yet, (B, K - 1, C)."""
        channels, _, kernel = self.weight.shape
        return torch.zeros(batch_size, kernel - 1, channels, device=device)

    def forward(self, x: Tensor, lens: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, T, C), lens (B,), cache (B, K - 1, C) to (B, T, C) and the next cache."""
        gated = zero_padding(glu(self.in_proj(self.norm(x)), dim=2), lens)
        extended, cache = extend_left(gated, cache)
        convolved = depthwise_conv(extended, self.weight, self.bias)
        return x + self.dropout(self.out_proj(swoosh_r(convolved))), cache


class CausalCnn(nn.Module):
    """Blocks one above the other; each sees K - 1 frames back, all together `num_layers` times that."""

    stride, lookahead, supports_step = 1, 0, True

    def __init__(self, config: CnnConfig):
        super().__init__()
        self.output_dim = config.dim
        blocks = nn.ModuleList(CausalBlock(config) for _ in range(config.num_layers))
        self.blocks: Sequence[CausalBlock] = blocks  # type: ignore[assignment]
        self.norm = BiasNorm(config.dim)

    def init_state(
        self, batch_size: int, context: ChunkContext | None, device: torch.device | None
    ) -> tuple[Tensor, ...]:
        """An empty past for each block, the same for steps and whole utterances."""
        return tuple(block.init_state(batch_size, device) for block in self.blocks)

    def forward(self, x: Tensor, lens: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """x (B, T, C) to (B, T, C) and the next state."""
        caches = []
        for block, cache in zip(self.blocks, state):
            x, cache = block(x, lens, cache)
            caches.append(cache)
        return self.norm(x), tuple(caches)

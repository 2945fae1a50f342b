"""Convolution module, and the depthwise convolution that is causal across chunks.

Source: Zipformer, arXiv 2310.11230, section 3.2; the chunk-causal form is the published streaming recipe's.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from asr.kernels.depthwise import depthwise_conv
from asr.kernels.gate import gate_rows
from asr.kernels.swoosh import SWOOSH_R, swoosh_linear
from asr.models.zipformer.attention import whiten_limit
from asr.nn.balancer import Balancer
from asr.nn.cache import extend_left
from asr.nn.linear import Linear, scaled_linear
from asr.nn.memo import Memo
from asr.nn.schedule import ScheduledFloat
from asr.nn.whiten import Whiten


class DepthwiseConv(nn.Module):
    """Sees as far ahead as back; for models that do not stream. Rows beyond their length must be zero."""

    stride, supports_step = 1, False

    def __init__(self, dim: int, kernel_size: int):
        super().__init__()
        self.lookahead = kernel_size // 2
        conv = nn.Conv1d(dim, dim, kernel_size, groups=dim)
        self.weight, self.bias = conv.weight, conv.bias

    def init_state(self, batch_size: int, device: torch.device | None = None) -> Tensor:
        """Nothing is remembered, (B, 0, C)."""
        return torch.zeros(batch_size, 0, len(self.weight), device=device)

    def forward(self, x: Tensor, lens: Tensor, cache: Tensor, chunk_size: int | Tensor | None) -> tuple[Tensor, Tensor]:
        return depthwise_conv(x, self.weight, self.bias, padding=self.lookahead), cache


class ChunkCausalDepthwiseConv(nn.Module):
    """A causal convolution over everything, plus one inside each chunk whose share varies towards the chunk's edges."""

    stride, lookahead, supports_step = 1, 0, True

    def __init__(self, dim: int, kernel_size: int):
        super().__init__()
        self.causal_conv = nn.Conv1d(dim, dim, (kernel_size + 1) // 2, groups=dim)
        self.chunkwise_conv = nn.Conv1d(dim, dim, kernel_size, groups=dim, padding=kernel_size // 2)
        self.chunkwise_conv_scale = nn.Parameter(torch.zeros(2, dim, kernel_size))
        assert self.causal_conv.bias is not None
        nn.init.uniform_(self.causal_conv.bias, -0.1, 0.1)
        self._chunk_edges = Memo()

    def init_state(self, batch_size: int, device: torch.device | None = None) -> Tensor:
        """No frames yet, (B, K // 2, C)."""
        conv = self.causal_conv
        return torch.zeros(batch_size, conv.kernel_size[0] - 1, conv.in_channels, device=device)

    def forward(self, x: Tensor, lens: Tensor, cache: Tensor, chunk_size: int | Tensor | None) -> tuple[Tensor, Tensor]:
        """Convolve frames, (B, T, C) to (B, T, C).

        Args:
            x: zero beyond each row's length; with a chunk size, any length (the last chunk is filled up with zeros).
            lens: (B,); without a chunk size the row itself is the chunk.
            cache: the K // 2 frames before, (B, K // 2, C).
            chunk_size: frames of the stack's rate, or None; or, where each row is a chunk, its nominal size, (B,).
        Returns:
            the convolved frames and the next cache.
        """
        extended, cache = extend_left(x, cache)
        causal = depthwise_conv(extended, self.causal_conv.weight, self.causal_conv.bias)
        if not isinstance(chunk_size, int):
            edges = self._row_edges(x.shape[1], lens if chunk_size is None else chunk_size)
            return torch.addcmul(causal, self._inside(x), edges), cache
        batch, frames, channels = x.shape
        whole = pad(x, (0, 0, 0, -frames % chunk_size)).reshape(-1, chunk_size, channels)
        edges = self._chunk_edges.get(lambda: self.chunk_edges(chunk_size), self.chunkwise_conv_scale, key=chunk_size)
        inside = self._inside(whole) * edges
        return causal + inside.reshape(batch, -1, channels)[:, :frames], cache

    def _inside(self, chunks: Tensor) -> Tensor:
        conv = self.chunkwise_conv
        return depthwise_conv(chunks, conv.weight, conv.bias, padding=conv.kernel_size[0] // 2)

    def chunk_edges(self, chunk_size: int) -> Tensor:
        """How much the inner convolution counts at each position of a chunk, (chunk_size, C)."""
        position = torch.arange(chunk_size, device=self.chunkwise_conv_scale.device)
        return self._edges(position, chunk_size - 1 - position)

    def _row_edges(self, frames: int, lens: Tensor) -> Tensor:
        position = torch.arange(frames, device=lens.device)
        to_end = (lens.unsqueeze(1) - 1 - position).clamp(min=0)
        return self._edges(position.expand_as(to_end), to_end)

    def _edges(self, from_start: Tensor, to_end: Tensor) -> Tensor:
        """1 + left scale by distance from the chunk's start + right scale by distance to its end; none beyond K."""
        kernel = self.chunkwise_conv_scale.shape[2]
        tables = pad(self.chunkwise_conv_scale, (0, 1)).transpose(1, 2)
        right = torch.cat([self.chunkwise_conv_scale[1].flip(1).t(), tables[1, kernel:]])
        return 1.0 + tables[0][from_start.clamp(max=kernel)] + right[to_end.clamp(max=kernel)]


class ConvModule(nn.Module):
    """Gated linear, depthwise convolution, SwooshR, linear."""

    stride = 1

    def __init__(self, dim: int, kernel_size: int, *, causal: bool):
        super().__init__()
        self.in_proj = Linear(dim, 2 * dim)
        self.balance_gate = Balancer(
            min_positive=ScheduledFloat((0.0, 0.05), (8000.0, 0.025)),
            max_positive=1.0,
            min_abs=1.5,
            max_abs=ScheduledFloat((0.0, 5.0), (8000.0, 10.0), default=1.0),
        )
        self.depthwise_conv = (ChunkCausalDepthwiseConv if causal else DepthwiseConv)(dim, kernel_size)
        self.balance_conv = Balancer(
            min_positive=ScheduledFloat((0.0, 0.1), (8000.0, 0.05)),
            max_positive=1.0,
            min_abs=ScheduledFloat((0.0, 0.2), (20000.0, 0.5)),
            max_abs=10.0,
        )
        self.whiten = Whiten(groups=1, limit=whiten_limit(7.5, 2.0), grad_scale=0.01)
        self.out_proj = scaled_linear(dim, dim, scale=0.05)

    @property
    def lookahead(self) -> int:
        """Frames needed beyond a chunk."""
        return self.depthwise_conv.lookahead

    @property
    def supports_step(self) -> bool:
        return self.depthwise_conv.supports_step

    def init_state(self, batch_size: int, device: torch.device | None = None) -> Tensor:
        """No frames yet, (B, K // 2, C), or (B, 0, C) where the module cannot step."""
        return self.depthwise_conv.init_state(batch_size, device)

    def forward(self, x: Tensor, lens: Tensor, cache: Tensor, chunk_size: int | Tensor | None) -> tuple[Tensor, Tensor]:
        """x (B, T, C), lens (B,), cache (B, K // 2, C), chunk size in x's frames to (B, T, C) and the next cache."""
        projected, balancer = self.in_proj(x), self.balance_gate
        gated = gate_rows(projected, lens, balancer.correct if balancer.draws(projected) else None)
        convolved, cache = self.depthwise_conv(gated, lens, cache, chunk_size)
        hidden, out = self.whiten(self.balance_conv(convolved)), self.out_proj
        return swoosh_linear(hidden, out.weight, out.bias, SWOOSH_R), cache

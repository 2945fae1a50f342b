"""Attention weights, computed once a layer, and the two kinds of module that use them.

Source: Zipformer, arXiv 2310.11230, section 3.2 and figure 2.
"""

from __future__ import annotations

import random

import torch
from torch import Tensor, nn

from asr.kernels.softmax import masked_softmax, positioned_softmax, skew
from asr.nn.balancer import Balancer
from asr.nn.cache import extend_left
from asr.nn.gradients import penalize_abs
from asr.nn.linear import Linear, scaled_linear
from asr.nn.memo import Memo
from asr.nn.schedule import ScheduledFloat
from asr.nn.whiten import Whiten


def whiten_limit(start: float, ratio: float) -> ScheduledFloat:
    """The usual limit of a Whiten: from `start` to `ratio` times that over 20000 positions."""
    return ScheduledFloat((0.0, start), (20000.0, ratio * start), default=start)


class AttentionWeights(nn.Module):
    """Who listens to whom, for all of a layer's attention modules."""

    stride, lookahead, supports_step = 1, 0, True

    def __init__(self, dim: int, *, pos_dim: int, num_heads: int, query_head_dim: int, pos_head_dim: int):
        super().__init__()
        self.num_heads, self.query_head_dim, self.pos_head_dim = num_heads, query_head_dim, pos_head_dim
        # The usual division by sqrt(query_head_dim) lives in this starting scale.
        width = (2 * query_head_dim + pos_head_dim) * num_heads
        self.in_proj = scaled_linear(dim, width, scale=query_head_dim**-0.25)
        self.linear_pos = scaled_linear(pos_dim, num_heads * pos_head_dim, scale=0.05, bias=False)
        self.balance_keys = Balancer(min_positive=0.4, max_positive=0.6, min_abs=0.0, max_abs=100.0, prob=0.025)
        self.whiten_keys = Whiten(groups=num_heads, limit=whiten_limit(3.0, 2.0), grad_scale=0.025)
        self._by_offset = Memo()
        self.pos_skip_rate = ScheduledFloat((0.0, 0.5), (4000.0, 0.0))

    def init_state(self, batch_size: int, cache_frames: int, device: torch.device | None = None) -> Tensor:
        """No keys yet, (B, L, H * query_head_dim)."""
        return torch.zeros(batch_size, cache_frames, self.num_heads * self.query_head_dim, device=device)

    def forward(self, x: Tensor, pos_emb: Tensor, key_cache: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        """Weights of T targets over L + T sources.

        Args:
            x: (B, T, C).
            pos_emb: rows by offset, (L + 2T, pos_dim).
            key_cache: (B, L, H * query_head_dim).
            visible: bool, True = seen, (B or 1, T or 1, L + T).
        Returns:
            (B, H, T, L + T) and the next key cache.
        """
        query, key, pos_query = self._project(x)
        key, key_cache = extend_left(self.whiten_keys(self.balance_keys(key)), key_cache)
        scores = torch.matmul(self._split(query), self._split(key).transpose(2, 3))
        pos_query, table = self._split(pos_query), self._table(pos_emb)
        has_positions = not self.training or random.random() >= self.pos_skip_rate.value
        if self.training and random.random() < 0.1:
            if has_positions:
                scores = scores + skew(torch.matmul(pos_query, table), scores.shape[-1])
            scores, has_positions = penalize_abs(scores, limit=25.0, weight=1.0e-4), False
        if has_positions:
            return positioned_softmax(scores, pos_query, table, visible), key_cache
        return masked_softmax(scores, visible.unsqueeze(1)), key_cache

    def _table(self, pos_emb: Tensor) -> Tensor:
        """What positional queries are multiplied with, by offset: (H, pos_head_dim, L + 2T)."""
        by_offset = self._by_offset.get(lambda: self.linear_pos(pos_emb), pos_emb, self.linear_pos.weight)
        return by_offset.unflatten(1, (self.num_heads, -1)).permute(1, 2, 0)

    def _project(self, x: Tensor) -> tuple[Tensor, ...]:
        width = self.num_heads * self.query_head_dim
        return self.in_proj(x).split([width, width, self.num_heads * self.pos_head_dim], dim=2)

    def _split(self, x: Tensor) -> Tensor:
        """(B, T, H * D) to a view (B, H, T, D)."""
        return x.unflatten(2, (self.num_heads, -1)).transpose(1, 2)


class SelfAttention(nn.Module):
    """Values gathered by weights that were computed elsewhere."""

    stride, lookahead, supports_step = 1, 0, True

    def __init__(self, dim: int, *, num_heads: int, value_head_dim: int):
        super().__init__()
        self.num_heads = num_heads
        self.in_proj = Linear(dim, num_heads * value_head_dim)
        self.out_proj = scaled_linear(num_heads * value_head_dim, dim, scale=0.05)
        self.whiten = Whiten(groups=1, limit=whiten_limit(7.5, 3.0), grad_scale=0.01)

    def init_state(self, batch_size: int, cache_frames: int, device: torch.device | None = None) -> Tensor:
        """No values yet, (B, L, H * value_head_dim)."""
        return torch.zeros(batch_size, cache_frames, self.in_proj.out_features, device=device)

    def forward(self, x: Tensor, weights: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, T, C), weights (B, H, T, L + T), cache (B, L, H * value_head_dim) to (B, T, C) and the next cache."""
        value, cache = extend_left(self.in_proj(x), cache)
        value = value.unflatten(2, (self.num_heads, -1)).transpose(1, 2)
        gathered = torch.matmul(weights, value).transpose(1, 2).flatten(2)
        return self.whiten(self.out_proj(gathered)), cache


class NonlinAttention(nn.Module):
    """Gated values, gathered by the first head's weights and gated again."""

    stride, lookahead, supports_step = 1, 0, True

    def __init__(self, dim: int, hidden_dim: int):
        super().__init__()
        self.hidden_dim = hidden_dim
        self.in_proj = Linear(dim, 3 * hidden_dim)
        self.out_proj = scaled_linear(hidden_dim, dim, scale=0.05)
        self.balance_gate = Balancer(
            min_positive=ScheduledFloat((0.0, 0.25), (20000.0, 0.05)),
            max_positive=ScheduledFloat((0.0, 0.75), (20000.0, 0.95)),
            min_abs=0.5,
            max_abs=5.0,
        )
        self.whiten_value = Whiten(groups=1, limit=whiten_limit(5.0, 2.0), grad_scale=0.01)
        self.whiten_out = Whiten(groups=1, limit=whiten_limit(5.0, 3.0), grad_scale=0.01)

    def init_state(self, batch_size: int, cache_frames: int, device: torch.device | None = None) -> Tensor:
        """No values yet, (B, L, hidden_dim)."""
        return torch.zeros(batch_size, cache_frames, self.hidden_dim, device=device)

    def forward(self, x: Tensor, weights: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, T, C), one head's weights (B, T, L + T), cache (B, L, hidden_dim) to (B, T, C) and the next cache."""
        gate, value, out_gate = self.in_proj(x).chunk(3, dim=2)
        value = self.whiten_value(value) * torch.tanh(self.balance_gate(gate))
        value, cache = extend_left(value, cache)
        return self.whiten_out(self.out_proj(torch.matmul(weights, value) * out_gate)), cache

"""Feed-forward module. Source: Zipformer, arXiv 2310.11230, section 3.2."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asr.kernels.mlp import swoosh_mlp
from asr.kernels.swoosh import SWOOSH_L, swoosh_linear
from asr.models.zipformer.attention import whiten_limit
from asr.nn.balancer import Balancer
from asr.nn.dropout import SharedDropout
from asr.nn.linear import Linear, scaled_linear
from asr.nn.schedule import ScheduledFloat
from asr.nn.whiten import Whiten


class FeedForward(nn.Module):
    """Linear, SwooshL, dropout shared over time, linear; x is (B, T, C)."""

    def __init__(self, dim: int, hidden_dim: int, *, dropout_end: float):
        super().__init__()
        self.in_proj = Linear(dim, hidden_dim)
        self.balancer = Balancer(min_positive=0.3, max_positive=1.0, min_abs=0.75, max_abs=5.0)
        self.dropout = SharedDropout(ScheduledFloat((0.0, 0.3), (20000.0, dropout_end)))
        self.out_proj = scaled_linear(hidden_dim, dim, scale=0.1)
        self.whiten = Whiten(groups=1, limit=whiten_limit(7.5, 2.0), grad_scale=0.01)

    def forward(self, x: Tensor) -> Tensor:
        out = self.out_proj
        if not (self.training or torch.is_grad_enabled()):
            return swoosh_mlp(x, self.in_proj.weight, self.in_proj.bias, out.weight, out.bias, SWOOSH_L)
        hidden = self.balancer(self.in_proj(x))
        scale = self.dropout.draw(hidden)
        return self.whiten(swoosh_linear(hidden, out.weight, out.bias, SWOOSH_L, scale=scale))

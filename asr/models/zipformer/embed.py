"""The convolutional front end: 100 Hz features to 50 Hz frames.

Source: Zipformer, arXiv 2310.11230, section 3.1 (Conv-Embed) and ConvNeXt, arXiv 2201.03545.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from asr.kernels.depthwise import depthwise_image_conv
from asr.kernels.linear import linear
from asr.kernels.mlp import swoosh_mlp
from asr.kernels.swoosh import SWOOSH_L, swoosh_linear, swoosh_r
from asr.nn.balancer import Balancer
from asr.nn.biasnorm import BiasNorm
from asr.nn.cache import extend_left
from asr.nn.dropout import SharedDropout, keep_sequences
from asr.nn.gradients import scale_grad
from asr.nn.linear import Linear, shrink
from asr.nn.memo import Memo
from asr.nn.schedule import ScheduledFloat
from asr.nn.whiten import Whiten
from asr.tensors import zero_padding

LOOKAHEAD = 3
"""Frames (50 Hz) that the ConvNeXt block sees ahead, and as many back."""


class Embedded(NamedTuple):
    """out: (B, N, C) at 50 Hz; lens: (B,); cache: the front-end frames the next step needs, (B, 3, F', C')."""

    out: Tensor
    lens: Tensor
    cache: Tensor


class ConvNeXt(nn.Module):
    """Depthwise 7x7 convolution and two point-wise ones around a residual; rows are (B, T, F, C)."""

    def __init__(self, channels: int, *, expansion: int = 3):
        super().__init__()
        hidden = expansion * channels
        self.depthwise_conv = nn.Conv2d(channels, channels, 7, groups=channels, padding=3)
        self.pointwise_conv1 = nn.Conv2d(channels, hidden, 1)
        self.pointwise_conv2 = nn.Conv2d(hidden, channels, 1)
        shrink(self.pointwise_conv2, 0.01)
        self.skip_rate = ScheduledFloat((0.0, 0.2), (20000.0, 0.015))
        self.balance_hidden = Balancer(min_positive=0.3, max_positive=1.0, min_abs=0.75, max_abs=5.0)
        self.balance_out = Balancer(min_positive=0.4, max_positive=0.6, min_abs=1.0, max_abs=6.0)
        self.whiten = Whiten(groups=1, limit=5.0, grad_scale=0.01)

    def forward(self, x: Tensor, cache: Tensor, ahead: int = 0) -> tuple[Tensor, Tensor]:
        """x (B, N + 3, F, C), the last 3 frames lookahead only, zero beyond the length; cache (B, 3, F, C).

        Returns (B, N, F, C) and the next cache: the last 3 of the frames without the lookahead and `ahead` others.
        """
        frames = x.shape[1] - LOOKAHEAD
        extended, _ = extend_left(x, cache)
        y = depthwise_image_conv(extended, self.depthwise_conv.weight, self.depthwise_conv.bias)
        y = self._pointwise(y.flatten(0, 2)).view_as(y)
        keep = keep_sequences(y, self.skip_rate.value)
        y = y if keep is None else y * keep.unsqueeze(3)
        kept = extended[:, frames - ahead : frames - ahead + LOOKAHEAD]
        return self.whiten(self.balance_out(x[:, :frames] + y)), kept

    def _pointwise(self, rows: Tensor) -> Tensor:
        # A 1x1 convolution on rows with channels last is a matrix product, at twice the convolution path's speed.
        first, second = self.pointwise_conv1, self.pointwise_conv2
        weight1, weight2 = first.weight.flatten(1), second.weight.flatten(1)
        assert first.bias is not None and second.bias is not None
        if not self.balance_hidden.draws(rows):
            return swoosh_mlp(rows, weight1, first.bias, weight2, second.bias, SWOOSH_L)
        hidden = self.balance_hidden.correct(linear(rows, weight1, first.bias))
        return swoosh_linear(hidden, weight2, second.bias, SWOOSH_L)


class ConvEmbed(nn.Module):
    """Three convolutions, a ConvNeXt block and a projection; halves the frame rate."""

    stride = 2
    """Feature frames per output frame."""
    lookahead = 7 + 2 * LOOKAHEAD
    """Feature frames, 100 Hz, that a step of N frames reads beyond its 2 N: for convolutions and ConvNeXt block."""
    supports_step = True

    def __init__(self, feature_dim: int, channels: list[int], output_dim: int, *, expansion: int = 3):
        super().__init__()
        first, second, third = channels
        self.conv = nn.ModuleDict(
            {
                "0": nn.Conv2d(1, first, 3, padding=(0, 1)),
                "4": nn.Conv2d(first, second, 3, stride=2),
                "7": nn.Conv2d(second, third, 3, stride=(1, 2)),
            }
        )
        self.balance0 = Balancer(channel_dim=1, max_abs=1.0)
        self.balance4 = Balancer(channel_dim=1, max_abs=4.0)
        self.balance7 = Balancer(channel_dim=1, max_abs=4.0)
        self.convnext = ConvNeXt(third, expansion=expansion)
        self.channels, self.width = third, ((feature_dim - 1) // 2 - 1) // 2
        self.out = Linear(third * self.width, output_dim)
        self._out_memo = Memo()
        self.out_whiten = Whiten(
            groups=1, limit=ScheduledFloat((0.0, 4.0), (20000.0, 8.0), default=4.0), grad_scale=0.02
        )
        self.out_norm = BiasNorm(output_dim)
        self.dropout = SharedDropout(ScheduledFloat((0.0, 0.3), (20000.0, 0.1)))

    def init_state(self, batch_size: int, device: torch.device | None = None) -> Tensor:
        """An empty past, (B, 3, F', C')."""
        return torch.zeros(batch_size, LOOKAHEAD, self.width, self.channels, device=device)

    def forward(self, x: Tensor, x_lens: Tensor, cache: Tensor, *, ahead: int = 0) -> Embedded:
        """Embed features.

        Args:
            x: (B, 2 N + 13, feature_dim) at 100 Hz, the last 13 frames lookahead only.
            x_lens: valid frames of this call, (B,); a row may end anywhere, or have ended before.
            cache: (B, 3, F', C').
            ahead: how many of the N frames the next call will make again.
        Returns:
            N frames at 50 Hz, of which row b has min(N, (x_lens[b] - 7) // 2) valid ones.
        """
        lens = torch.div(x_lens - 7, 2, rounding_mode="floor").clamp(min=0)
        y = zero_padding(self._convolve(x), lens)
        y, cache = self.convnext(y, cache, ahead)
        y = self.out_whiten(linear(y.flatten(2), self._out_weight(), self.out.bias))
        return Embedded(self.dropout(self.out_norm(y)), lens.clamp(max=y.shape[1]), cache)

    def _convolve(self, x: Tensor) -> Tensor:
        """(B, T, feature_dim) to (B, (T - 7) // 2, F', C')."""
        # Channels last from where there are several: the other convolutions keep to it, and nothing is laid out anew.
        y = self.conv["0"](x.unsqueeze(1)).contiguous(memory_format=torch.channels_last)
        y = scale_grad(y, 0.2) if self.training else y
        y = swoosh_r(self.balance0(y))
        y = swoosh_r(self.balance4(self.conv["4"](y)))
        y = swoosh_r(self.balance7(self.conv["7"](y)))
        return y.permute(0, 2, 3, 1)

    def _out_weight(self) -> Tensor:
        """The projection's columns, stored channel-major as published, in the order of our rows."""
        weight = self.out.weight

        def reorder() -> Tensor:
            return weight.unflatten(1, (self.channels, self.width)).transpose(1, 2).flatten(1)

        return self._out_memo.get(reorder, weight)

"""One Zipformer layer. Source: Zipformer, arXiv 2310.11230, section 3.2 and figure 2."""

from __future__ import annotations

import random

import torch
from torch import Tensor, nn

from asr.models.zipformer.attention import AttentionWeights, NonlinAttention, SelfAttention, whiten_limit
from asr.models.zipformer.bypass import Bypass
from asr.models.zipformer.config import ZipformerConfig
from asr.models.zipformer.conv import ConvModule
from asr.models.zipformer.feedforward import FeedForward
from asr.models.zipformer.state import LayerState
from asr.nn.balancer import Balancer
from asr.nn.biasnorm import BiasNorm
from asr.nn.dropout import keep_sequences
from asr.nn.schedule import ScheduledFloat
from asr.nn.whiten import Whiten


def _falling(start: float, middle: float, end_position: float) -> ScheduledFloat:
    return ScheduledFloat((0.0, start), (4000.0, middle), (end_position, 0.0))


class ZipformerLayer(nn.Module):
    """Attention weights once; feed-forward, non-linear attention, attention and convolution, the last two twice."""

    stride = 1

    def __init__(self, config: ZipformerConfig, stack: int):
        super().__init__()
        dim, hidden = config.encoder_dims[stack], config.feedforward_dims[stack]
        heads, kernel = config.num_heads[stack], config.cnn_kernels[stack]
        self.self_attn_weights = AttentionWeights(
            dim,
            pos_dim=config.pos_dim,
            num_heads=heads,
            query_head_dim=config.query_head_dim,
            pos_head_dim=config.pos_head_dim,
        )
        self.feed_forward1 = FeedForward(dim, hidden * 3 // 4, dropout_end=config.dropout_end)
        self.nonlin_attention = NonlinAttention(dim, hidden_dim=3 * dim // 4)
        self.self_attn1 = SelfAttention(dim, num_heads=heads, value_head_dim=config.value_head_dim)
        self.conv_module1 = ConvModule(dim, kernel, causal=config.causal)
        self.feed_forward2 = FeedForward(dim, hidden, dropout_end=config.dropout_end)
        self.bypass_mid = Bypass(dim)
        self.self_attn2 = SelfAttention(dim, num_heads=heads, value_head_dim=config.value_head_dim)
        self.conv_module2 = ConvModule(dim, kernel, causal=config.causal)
        self.feed_forward3 = FeedForward(dim, hidden * 5 // 4, dropout_end=config.dropout_end)
        self.norm = BiasNorm(dim)
        self.bypass = Bypass(dim, skip_rate=ScheduledFloat((0.0, 0.5), (4000.0, 0.035)))
        # Published checkpoints carry this unused parameter; it keeps counts and optimizer order the same.
        self.bypass_scale = nn.Parameter(torch.full((dim,), 0.5))
        self._add_regularisers()

    def _add_regularisers(self) -> None:
        self.attention_skip_rate = _falling(0.2, 0.05, 16000.0)
        self.conv_skip_rate = _falling(0.2, 0.05, 16000.0)
        self.ff2_skip_rate = _falling(0.1, 0.01, 50000.0)
        self.ff3_skip_rate = _falling(0.1, 0.01, 50000.0)
        self.const_attention_rate = ScheduledFloat((0.0, 0.25), (4000.0, 0.025))
        self.balance_nonlin = self._branch_balancer(ScheduledFloat((0.0, 0.004), (4000.0, 0.02)), 100.0)
        self.balance_ff2 = self._branch_balancer(ScheduledFloat((0.0, 0.0), (4000.0, 0.1), default=0.0), 2.0)
        self.balance_ff3 = self._branch_balancer(ScheduledFloat((0.0, 0.0), (4000.0, 0.2), default=0.0), 4.0)
        self.balance_norm = Balancer(min_positive=0.45, max_positive=0.55, min_abs=0.2, max_abs=4.0)
        self.balance_out = Balancer(min_positive=0.45, max_positive=0.55, min_abs=0.1, max_abs=4.0)
        self.whiten_out = Whiten(groups=1, limit=whiten_limit(4.0, 3.0), grad_scale=0.01)

    @staticmethod
    def _branch_balancer(min_abs: ScheduledFloat, max_abs: float) -> Balancer:
        return Balancer(min_positive=0.3, max_positive=0.7, min_abs=min_abs, max_abs=max_abs, prob=0.05)

    @property
    def lookahead(self) -> int:
        """Frames needed beyond a chunk."""
        return self.conv_module1.lookahead + self.conv_module2.lookahead

    @property
    def supports_step(self) -> bool:
        return self.conv_module1.supports_step and self.conv_module2.supports_step

    def init_state(self, batch_size: int, cache_frames: int, device: torch.device | None = None) -> LayerState:
        """An empty past of L = `cache_frames` frames at the stack's rate; 0 for whole utterances."""
        return LayerState(
            key=self.self_attn_weights.init_state(batch_size, cache_frames, device),
            nonlin=self.nonlin_attention.init_state(batch_size, cache_frames, device),
            value1=self.self_attn1.init_state(batch_size, cache_frames, device),
            value2=self.self_attn2.init_state(batch_size, cache_frames, device),
            conv1=self.conv_module1.init_state(batch_size, device),
            conv2=self.conv_module2.init_state(batch_size, device),
        )

    def forward(
        self,
        x: Tensor,
        lens: Tensor,
        state: LayerState,
        *,
        pos_emb: Tensor,
        visible: Tensor,
        chunk_size: int | Tensor | None,
        feature_mask: Tensor | None = None,
    ) -> tuple[Tensor, LayerState]:
        """Run the layer, at the rate of its stack.

        Args:
            x: (B, T, C).
            lens: (B,).
            state: what earlier steps left, L frames back.
            pos_emb: (L + 2T, pos_dim).
            visible: bool, True = seen, (B, T or 1, L + T).
            chunk_size: frames, for all rows or (B,), or None for the whole row.
            feature_mask: {0, 1}, (B, 1, C), or None.
        Returns:
            (B, T, C) and the next state.
        """
        before = x
        weights, key = self.self_attn_weights(x, pos_emb, state.key, visible)
        skip_attention = keep_sequences(x, self.attention_skip_rate.value)
        x = x + self.feed_forward1(x)
        out, nonlin = self.nonlin_attention(x, self._nonlin_weights(weights[:, 0]), state.nonlin)
        x = x + _kept(self.balance_nonlin(out), skip_attention)
        out, value1 = self.self_attn1(x, weights, state.value1)
        x = x + _kept(out, skip_attention)
        out, conv1 = self.conv_module1(x, lens, state.conv1, chunk_size)
        x = x + _kept(out, keep_sequences(x, self.conv_skip_rate.value))
        out = self.balance_ff2(self.feed_forward2(x))
        x = x + _kept(out, keep_sequences(x, self.ff2_skip_rate.value))
        x = self.bypass_mid(before, x)
        out, value2 = self.self_attn2(x, weights, state.value2)
        x = x + _kept(out, skip_attention)
        out, conv2 = self.conv_module2(x, lens, state.conv2, chunk_size)
        x = x + _kept(out, keep_sequences(x, self.conv_skip_rate.value))
        out = self.balance_ff3(self.feed_forward3(x))
        x = x + _kept(out, keep_sequences(x, self.ff3_skip_rate.value))
        x = self.bypass(before, self.norm(self.balance_norm(x)))
        x = self.whiten_out(self.balance_out(x))
        if feature_mask is not None:
            x = x * feature_mask
        return x, LayerState(key, nonlin, value1, value2, conv1, conv2)

    def _nonlin_weights(self, weights: Tensor) -> Tensor:
        """The first head's weights, now and then made uniform over what it sees; (B, T, S)."""
        if not self.training or random.random() >= self.const_attention_rate.value:
            return weights
        seen = (weights > 0.0).to(weights.dtype)
        return seen / seen.sum(dim=-1, keepdim=True).clamp(min=1.0)


def _kept(x: Tensor, keep: Tensor | None) -> Tensor:
    return x if keep is None else x * keep

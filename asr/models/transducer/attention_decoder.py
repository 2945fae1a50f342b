"""The attention decoder: what follows a text so far, read off the whole utterance. Helps training, and rescoring.

Source: Vaswani et al. 2017, "Attention is all you need", with layer norms in front; beside CTC as in Watanabe et al.
2017, "Hybrid CTC/attention architecture for end-to-end speech recognition".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, silu

from asr.errors import ConfigError
from asr.nn.gradients import penalize_abs
from asr.tensors import pad_mask


@dataclass(kw_only=True)
class AttentionDecoderConfig:
    """Sizes of the attention decoder; the defaults are the published ones."""

    num_layers: int = 6
    """Layers, 1 or more."""
    dim: int = 512
    """Width, a multiple of 2 and of num_heads."""
    num_heads: int = 8
    """Attention heads."""
    feedforward_dim: int = 2048
    """Hidden width of the feed-forward modules."""
    dropout: float = 0.1
    """Share of values dropped, 0 to 1."""

    def __post_init__(self) -> None:
        for name in ("num_layers", "dim", "num_heads", "feedforward_dim"):
            if getattr(self, name) < 1:
                raise ConfigError(f"model.attention_decoder.{name}={getattr(self, name)} must be at least 1")
        if self.dim % self.num_heads or self.dim % 2:
            raise ConfigError(
                f"model.attention_decoder.dim={self.dim} must be even and a multiple of "
                f"model.attention_decoder.num_heads={self.num_heads}"
            )
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"model.attention_decoder.dropout={self.dropout} must lie in [0, 1)")


class AttentionDecoder(nn.Module):
    """Scores for every next symbol of a transcript, given the symbols before it and the encoder's frames.

    The symbol `<sos/eos>` opens and closes every transcript.
    """

    sos_eos_id = 1

    def __init__(self, config: AttentionDecoderConfig, encoder_dim: int, vocab_size: int):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, config.dim)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(_Layer(config, encoder_dim) for _ in range(config.num_layers))
        self.output = nn.Linear(config.dim, vocab_size)

    def forward(self, encoder_out: Tensor, encoder_lens: Tensor, tokens: Tensor, token_lens: Tensor) -> Tensor:
        """Logits (B, S + 1, V): position s is about symbol s, the last one of a row about its end.

        Args:
            encoder_out: (B, T, C), valid up to encoder_lens, (B,).
            tokens: (B, S), valid up to token_lens, (B,).
        """
        symbols = self.with_start(tokens, token_lens)
        dim = self.embedding.embedding_dim
        x = self.embedding(symbols) * math.sqrt(dim) + sinusoids(symbols.shape[1], dim).to(encoder_out)
        x = self.dropout(x)
        future = torch.ones(2 * (symbols.shape[1],), dtype=torch.bool, device=x.device).triu(1)
        silent = pad_mask(encoder_lens, encoder_out.shape[1])[:, None, None]
        for layer in self.layers:
            x = layer(x, encoder_out, future, silent)
        return self.output(x)

    def with_start(self, tokens: Tensor, token_lens: Tensor) -> Tensor:
        """(B, S) with `<sos/eos>` in front, and in the place of padding: (B, S + 1)."""
        padded = tokens.masked_fill(pad_mask(token_lens, tokens.shape[1]), self.sos_eos_id)
        return pad(padded, (1, 0), value=self.sos_eos_id)

    def targets(self, tokens: Tensor, token_lens: Tensor) -> Tensor:
        """What the logits should name, (B, S + 1): the symbols, then `<sos/eos>`, then -1 for nothing."""
        after = pad(tokens.masked_fill(pad_mask(token_lens, tokens.shape[1]), -1), (0, 1), value=-1)
        return after.scatter(1, token_lens[:, None], self.sos_eos_id)


def sinusoids(length: int, dim: int) -> Tensor:
    """Positions as sines (even channels) and cosines (odd ones), (length, dim)."""
    rates = torch.exp(torch.arange(0, dim, 2) * (-math.log(10000.0) / dim))
    angles = torch.arange(length)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


class _Layer(nn.Module):
    """x += Self(LN x); x += Cross(LN x, memory); x += FF(LN x)."""

    def __init__(self, config: AttentionDecoderConfig, memory_dim: int):
        super().__init__()
        dim = config.dim
        self.self_norm, self.cross_norm, self.feedforward_norm = (nn.LayerNorm(dim) for _ in range(3))
        self.self_attention = _Attention(dim, dim, config.num_heads)
        self.cross_attention = _Attention(dim, memory_dim, config.num_heads)
        self.widen = nn.Linear(dim, config.feedforward_dim)
        self.narrow = nn.Linear(config.feedforward_dim, dim)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, memory: Tensor, future: Tensor, silent: Tensor) -> Tensor:
        """x (B, U, D), memory (B, T, C); masks, True is hidden: future (U, U), silent (B, 1, 1, T)."""
        normed = self.self_norm(x)
        x = x + self.dropout(self.self_attention(normed, normed, future))
        x = x + self.dropout(self.cross_attention(self.cross_norm(x), memory, silent))
        return x + self.dropout(self.narrow(self.dropout(silu(self.widen(self.feedforward_norm(x))))))


class _Attention(nn.Module):
    """Multi-head attention; very large scores are held back through their gradient, as in the encoder."""

    def __init__(self, dim: int, memory_dim: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.query, self.out = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.key, self.value = nn.Linear(memory_dim, dim), nn.Linear(memory_dim, dim)

    def forward(self, x: Tensor, memory: Tensor, hidden: Tensor) -> Tensor:
        """(B, U, D) of (B, U, D) looking at (B, T, C); `hidden`, True, broadcasts to (B, H, U, T)."""
        query, key, value = self.query(x), self.key(memory), self.value(memory)
        query, key, value = (y.unflatten(2, (self.num_heads, -1)).transpose(1, 2) for y in (query, key, value))
        scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[3])
        if self.training:
            scores = penalize_abs(scores, limit=50.0, weight=1e-4)
        weights = scores.masked_fill(hidden, -math.inf).softmax(dim=-1)
        return self.out((weights @ value).transpose(1, 2).flatten(2))

"""The prediction network: what the transducer knows about the tokens emitted so far."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asr.errors import ConfigError
from asr.nn.balancer import Balancer

CHANNELS_PER_GROUP = 4


class Predictor(nn.Module):
    """Embed the last `context_size` tokens and nothing older (a stateless, n-gram-like predictor).

    A token id below zero means "nothing there yet" and embeds as zeros; the blank, which also starts every
    utterance, is a trained vector like any other token's.

    Source: Ghodsi et al. 2020, "RNN-transducer with stateless prediction network"; the grouped convolution over more
    than one token, and its ReLU, are those of the published Zipformer transducers.
    """

    def __init__(self, vocab_size: int, dim: int, context_size: int, blank_id: int = 0):
        """Args: `dim` is the width D, a multiple of 4 when `context_size`, in tokens, is above 1."""
        super().__init__()
        if context_size < 1:
            raise ConfigError(f"predictor context_size={context_size} tokens makes no sense; use 1 or more")
        if context_size > 1 and dim % CHANNELS_PER_GROUP:
            raise ConfigError(
                f"predictor dim={dim} must be a multiple of {CHANNELS_PER_GROUP}, the convolution's groups"
            )
        self.vocab_size = vocab_size
        self.context_size = context_size
        self.blank_id = blank_id
        self.embedding = nn.Embedding(vocab_size, dim)
        self.embedding_balancer = _balancer()
        if context_size > 1:
            groups = dim // CHANNELS_PER_GROUP
            self.conv = nn.Conv1d(dim, dim, context_size, groups=groups, bias=False)
            self.conv_balancer = _balancer()

    def forward(self, tokens: Tensor, pad_left: bool = True) -> Tensor:
        """Predict from every position of `tokens`, (B, U) int64, where ids below zero stand for nothing.

        Args:
            pad_left: True for training, where each position also sees the (empty) past before the first: U' = U.
                False for decoding, where the given tokens are the whole context: U' = U - context_size + 1.
        Returns:
            (B, U', D).
        """
        # Clamp and multiply, rather than a data-dependent branch, so that the exported graph is this very code.
        embedded = self.embedding(tokens.clamp(min=0)) * (tokens >= 0).unsqueeze(-1)
        embedded = self.embedding_balancer(embedded)
        if self.context_size == 1:
            return embedded
        channels_first = embedded.transpose(1, 2)
        if pad_left:
            channels_first = F.pad(channels_first, (self.context_size - 1, 0))
        convolved = self.conv(channels_first).transpose(1, 2)
        return self.conv_balancer(convolved.relu())

    def start_context(self, batch_size: int, device: torch.device | str = "cpu") -> Tensor:
        """The context before any token, (B, context_size) int64: nothing, and then the blank."""
        context = torch.full((batch_size, self.context_size), -1, dtype=torch.int64, device=device)
        context[:, -1] = self.blank_id
        return context


def _balancer() -> Balancer:
    return Balancer(channel_dim=-1, min_positive=0.0, max_positive=1.0, min_abs=0.5, max_abs=1.0, prob=0.05)

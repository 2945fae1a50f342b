"""The joiner: scores for the next symbol, from one encoder frame and one predictor position."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asr.nn.linear import Linear, scaled_linear

INITIAL_SCALE = 0.25


class Joiner(nn.Module):
    """logits = W_o tanh(W_e e + b_e + W_p p + b_p) + b_o.

    Source: Graves, Mohamed and Hinton 2013, "Speech recognition with deep recurrent neural networks",
    where the transducer first gets a hidden layer after the sum.
    """

    def __init__(self, encoder_dim: int, predictor_dim: int, joiner_dim: int, vocab_size: int):
        super().__init__()
        self.encoder_proj = scaled_linear(encoder_dim, joiner_dim, scale=INITIAL_SCALE)
        self.predictor_proj = scaled_linear(predictor_dim, joiner_dim, scale=INITIAL_SCALE)
        self.output_linear = Linear(joiner_dim, vocab_size)

    def forward(self, encoder_out: Tensor, predictor_out: Tensor, *, project: bool = True) -> Tensor:
        """Join broadcastable `encoder_out` (..., E) and `predictor_out` (..., P) to logits (..., V).

        With `project=False` both are (..., J): already through `encoder_proj` and `predictor_proj`, as search and the
        pruned loss prefer, because a frame or a position is projected once but joined many times.
        """
        if project:
            encoder_out = self.encoder_proj(encoder_out)
            predictor_out = self.predictor_proj(predictor_out)
        return self.output_linear(torch.tanh(encoder_out + predictor_out))

"""Tiny models whose every parameter matters, for tests that need a model and no training."""

from __future__ import annotations

import torch
from torch import nn

from asr.models.transducer import Transducer, TransducerConfig
from asr.models.zipformer import ZipformerConfig


def tiny_config(*, causal: bool = True) -> TransducerConfig:
    """All the frame rates of the published models, in a few tens of thousands of parameters."""
    encoder = ZipformerConfig(
        feature_dim=20,
        embed_channels=[4, 6, 8],
        num_layers=[1, 1, 2, 1, 1, 1],
        encoder_dims=[16, 20, 32, 36, 32, 20],
        unmasked_dims=[12, 16, 20, 24, 20, 16],
        feedforward_dims=[24, 32, 40, 48, 40, 32],
        num_heads=[2, 2, 2, 4, 2, 2],
        query_head_dim=6,
        value_head_dim=4,
        pos_head_dim=3,
        pos_dim=16,
        causal=causal,
    )
    return TransducerConfig(encoder=encoder, vocab_size=30, predictor_dim=32, joiner_dim=36)


def tiny_transducer(*, causal: bool = True, seed: int = 0) -> Transducer:
    """A model in evaluation mode, with weights drawn so that a mistake in the use of any of them shows."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Transducer(tiny_config(causal=causal)).eval()
        randomise(model)
    return model


@torch.no_grad()
def randomise(model: nn.Module) -> None:
    """Draw every parameter anew; those that start near zero, or all alike, get sizeable and different values."""
    for name, parameter in model.named_parameters():
        if name.endswith("bypass_scale"):
            parameter.uniform_(0.3, 1.0)
        elif name.endswith("log_scale"):
            parameter.uniform_(-0.3, 0.3)
        elif name.endswith(("chunkwise_conv_scale", "downsample.bias", "downsample_output.bias")):
            parameter.normal_(std=0.5)
        elif parameter.dim() == 1:
            parameter.normal_(std=0.2)
        else:
            parameter.normal_(std=1.2 * parameter[0].numel() ** -0.5)

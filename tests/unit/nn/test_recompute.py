"""Layers that are worked out twice give the gradients of those that are kept."""

from __future__ import annotations

import random

import torch

from asr.models.zipformer import Zipformer, ZipformerConfig
from asr.nn.chunks import ChunkContext
from asr.nn.recompute import recomputed
from asr.nn.schedule import set_schedule_position


def gradients(*, recompute: bool) -> tuple[list[torch.Tensor], list[float]]:
    """Of a tiny encoder in training with everything random about it, and what the next draws would be."""
    torch.manual_seed(3)
    config = ZipformerConfig(
        downsampling_factors=[1, 2],
        num_layers=[1, 2],
        encoder_dims=[16, 24],
        unmasked_dims=[16, 16],
        feedforward_dims=[32, 32],
        num_heads=[2, 2],
        cnn_kernels=[7, 7],
        embed_channels=[4, 8, 8],
        recompute=recompute,
    )
    model = Zipformer(config).train()
    set_schedule_position(model, 500.0)
    random.seed(5)
    torch.manual_seed(5)
    x, lens, context = torch.randn(2, 60, 80), torch.tensor([60, 50]), ChunkContext()
    out, _, _ = model(model.pad_whole(x, context), lens, model.init_state(2), context)
    out.square().sum().backward()
    found = [p.grad for p in model.parameters() if p.grad is not None]
    return found, [random.random(), torch.rand(()).item()]


def test_gradients_are_the_same():
    kept, next_draws = gradients(recompute=False)
    again, next_draws_again = gradients(recompute=True)
    assert len(kept) == len(again) > 50
    for mine, theirs in zip(again, kept):
        torch.testing.assert_close(mine, theirs)
    assert next_draws == next_draws_again


def test_the_function_runs_twice_with_the_same_draws():
    draws = []
    weight = torch.ones(3, requires_grad=True)

    def function():
        draws.append(random.random())
        return (weight * weight.exp()).sum()

    recomputed(function).backward()
    assert len(draws) == 2 and draws[0] == draws[1]

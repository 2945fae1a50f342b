"""The encoder's settings, its states, and what training adds to it."""

from __future__ import annotations

import random

import pytest
import torch

from asr.errors import ConfigError
from asr.models.encoder import _warn_once, warn_untrained
from asr.models.zipformer import Zipformer, ZipformerConfig
from asr.nn.chunks import ChunkContext
from asr.nn.schedule import set_schedule_position
from asr.tensors import tree_leaves
from tests.streaming.tiny import tiny_config, tiny_transducer

CONTEXT = ChunkContext(chunk_size=16, left_context=64)


def encoder(*, causal: bool = True) -> Zipformer:
    return tiny_transducer(causal=causal).encoder


@pytest.mark.parametrize(
    "settings, complaint",
    [
        ({"num_heads": [4, 4]}, r"encoder\.num_heads has 2 entries but encoder\.num_layers has 6"),
        ({"cnn_kernels": [31, 31, 15, 14, 15, 31]}, r"encoder\.cnn_kernels=.* must all be odd"),
        ({"embed_channels": [8, 32]}, r"encoder\.embed_channels=.* three entries"),
        ({"causal": True, "chunk_sizes": [30]}, r"chunk_sizes=30 must be a multiple of 8.*use 24 or 32"),
        ({"lookaheads": [0, 12]}, r"encoder\.lookaheads=12 must be 0 or a multiple of 8"),
        ({"lookaheads": []}, r"encoder\.lookaheads=\[\] must hold frames"),
    ],
)
def test_impossible_settings_are_named(settings, complaint):
    with pytest.raises(ConfigError, match=complaint):
        ZipformerConfig(**settings)


@pytest.mark.parametrize(
    "context", [ChunkContext(), ChunkContext(chunk_size=16), ChunkContext(chunk_size=12, left_context=24)]
)
def test_steps_need_a_chunk_size_that_fits_and_a_left_context(context):
    with pytest.raises(ConfigError, match="chunk"):
        encoder().init_state(1, context)


def test_a_model_of_whole_utterances_refuses_to_step():
    whole = encoder(causal=False)
    assert not whole.supports_step
    assert not any(stack.supports_step for stack in whole.stacks)
    with pytest.raises(ConfigError, match="cannot stream"):
        whole.init_state(1, CONTEXT)


def test_stated_lookahead_adds_up():
    slow = encoder(causal=False).stacks[3]
    kernel = tiny_config().encoder.cnn_kernels[3]
    assert slow.lookahead == 8 * 2 * (kernel // 2)
    assert encoder().stacks[3].lookahead == 0
    assert encoder().lookahead == 13


@pytest.mark.parametrize("context", [None, CONTEXT])
def test_states_have_the_batch_first_and_leaves_of_their_own(context):
    leaves = tree_leaves(encoder().init_state(3, context))
    assert all(leaf.shape[0] == 3 for leaf in leaves)
    starts = [leaf.data_ptr() for leaf in leaves if leaf.numel()]
    assert len(set(starts)) == len(starts)


def test_contexts_are_drawn_from_the_configured_ones():
    random.seed(0)
    drawn = {(context.chunk_size, context.left_context) for context in (encoder().draw_context() for _ in range(8))}
    config = tiny_config().encoder
    assert drawn <= {(size, left) for size in config.chunk_sizes for left in config.left_contexts}
    model = encoder()
    many = {(c.chunk_size, c.left_context) for c in (model.draw_context() for _ in range(300))}
    assert len(many) == len(config.chunk_sizes) * len(config.left_contexts)
    assert encoder(causal=False).draw_context() == ChunkContext()


@pytest.mark.parametrize("frames", [0, 1, 8, 9, 10, 33, 45, 46])
@pytest.mark.parametrize("lookahead", [0, 4])
def test_whole_utterances_are_padded_no_further_than_their_frames_see(frames, lookahead):
    model, needed = encoder(), max((frames - 7) // 2, 1)
    context = ChunkContext(chunk_size=8, left_context=16, lookahead=lookahead)
    for seen, extra in ((ChunkContext(), 0), (context, lookahead and lookahead + -needed % 8)):
        padded = model.pad_whole(torch.zeros(2, frames, 20), seen)
        assert padded.shape[1] == 2 * (needed + extra) + model.lookahead


@pytest.mark.parametrize("frames", [44, 47, 60])
def test_a_last_chunk_may_be_short(frames):
    model = encoder()
    features, lens = torch.randn(2, frames, 20), torch.tensor([frames, frames - 5])
    padded = model.pad_whole(features, CONTEXT)
    filled = torch.nn.functional.pad(padded, (0, 0, 0, 2 * (-((padded.shape[1] - 13) // 2) % CONTEXT.chunk_size)))
    assert filled.shape[1] > padded.shape[1]
    short, lens_out, _ = model(padded, lens, model.init_state(2), CONTEXT)
    full, _, _ = model(filled, lens, model.init_state(2), CONTEXT)
    for row, length in enumerate(lens_out.tolist()):
        torch.testing.assert_close(short[row, :length], full[row, :length], rtol=1e-4, atol=1e-5)


def test_utterances_too_short_for_a_frame_come_out_empty():
    model = tiny_transducer()
    out = model.encode(torch.randn(3, 12, 20), torch.tensor([12, 8, 0]), context=CONTEXT)
    assert out.lens.tolist() == [1, 0, 0]
    assert out.out.isfinite().all()


# -- training


def test_layers_are_released_one_by_one():
    model = encoder().train()
    rates = [layer.bypass.skip_rate for stack in model.stacks for layer in stack.layers]
    set_schedule_position(model, 0.0)
    assert all(rate.value == 0.5 for rate in rates)
    begins = [rate.points[0][0] for rate in rates]
    assert begins == sorted(begins) and begins[0] == pytest.approx(4000 / 7)
    set_schedule_position(model, 4000.0)
    ends = [0.035 * stack.factor**0.5 for stack in model.stacks for _ in stack.layers]
    assert [rate.value for rate in rates] == pytest.approx(ends)


def test_layers_of_a_stack_start_alike():
    torch.manual_seed(1)
    first, second = Zipformer(tiny_config().encoder).stacks[2].layers
    for a, b in zip(first.parameters(), second.parameters()):
        assert torch.equal(a, b) and a is not b
    assert first.bypass.skip_rate is not second.bypass.skip_rate


def test_feature_masks_drop_the_upper_channels_of_whole_sequences():
    model = encoder().train()
    masks = model._feature_masks(torch.zeros(2000, 3, 16))
    config = model.config
    for mask, dim, unmasked in zip(masks, config.encoder_dims, config.unmasked_dims):
        assert mask.shape == (2000, 1, dim)
        assert mask[..., :unmasked].all()
        middle, top = mask[:, 0, unmasked], mask[:, 0, -1]
        assert not ((top == 1) & (middle == 0)).any()
        assert float(middle.mean()) == pytest.approx(0.875, abs=0.03)
        assert float(top.mean()) == pytest.approx(0.875**2, abs=0.03)
    # the same sequences in every stack
    assert all(torch.equal(mask[:, 0, -1], masks[0][:, 0, -1]) for mask in masks)
    assert model.eval()._feature_masks(torch.zeros(2, 3, 16)) == [None] * len(masks)


@pytest.mark.parametrize("position", [None, 0.0, 2000.0, 50000.0])
@pytest.mark.parametrize("context", [ChunkContext(), CONTEXT])
def test_training_has_finite_gradients_from_the_first_to_the_last_position(position, context):
    random.seed(0)
    model = tiny_transducer().train()
    if position is not None:
        set_schedule_position(model, position)
    x, lens = torch.randn(4, 90, 20), torch.tensor([90, 61, 30, 0])
    for _ in range(3):
        out = model.encode(x, lens, context=context)
        out.out.square().mean().backward()
    grads = [parameter.grad for parameter in model.encoder.parameters() if parameter.grad is not None]
    assert grads and all(grad.isfinite().all() for grad in grads)


def test_evaluation_is_deterministic_and_training_is_not():
    model, x, lens = tiny_transducer(), torch.randn(2, 60, 20), torch.tensor([60, 50])
    set_schedule_position(model, 0.0)
    outs = [model.encode(x, lens, context=CONTEXT).out for _ in range(2)]
    assert torch.equal(*outs)
    model.train()
    outs = [model.encode(x, lens, context=CONTEXT).out for _ in range(2)]
    assert not torch.equal(*outs)


def test_lookahead_is_drawn_where_there_are_chunks():
    model = encoder()
    model.config.lookaheads = [0, 8]
    drawn = [model.draw_context() for _ in range(200)]
    assert {context.lookahead for context in drawn if context.chunk_size} == {0, 8}
    assert {context.lookahead for context in drawn if not context.chunk_size} == {0}


def test_a_lookahead_that_was_never_drawn_is_warned_of_once(caplog):
    _warn_once.cache_clear()
    config = ZipformerConfig(lookaheads=[0, 16])
    for lookahead in (0, 8, 8, 16, 24):
        warn_untrained(config, ChunkContext(chunk_size=8, left_context=16, lookahead=lookahead))
    assert [record.getMessage().split(";")[0] for record in caplog.records] == [
        f"this model was trained with lookahead 0 or 16 and may hear worse with lookahead={lookahead}"
        for lookahead in (8, 24)
    ]
    warn_untrained(ZipformerConfig(lookaheads=[8]), ChunkContext())  # whole utterances see everything
    assert len(caplog.records) == 2


def test_training_with_lookahead_reaches_every_parameter():
    model = tiny_transducer().train()
    context = ChunkContext(chunk_size=8, left_context=16, lookahead=8)
    set_schedule_position(model, 100000.0)
    out = model.encode(torch.randn(2, 150, 20), torch.tensor([150, 80]), context=context).out
    out.square().sum().backward()
    unused = {name for name, value in model.encoder.named_parameters() if value.grad is None}
    assert {name.rpartition(".")[2] for name in unused} <= {"bypass_scale"}

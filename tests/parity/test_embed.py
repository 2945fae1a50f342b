"""The convolutional front end against reference outputs, whole and step by step."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from asr.models.zipformer.embed import LOOKAHEAD, ConvEmbed, ConvNeXt
from tests.parity.published import Group, assert_close, groups, numbered, parameters

STEP_OVERLAP = 13


def rows(x: Tensor) -> Tensor:
    """(B, C, T, F) to (B, T, F, C)."""
    return x.permute(0, 2, 3, 1)


def convnext(case: Group) -> ConvNeXt:
    hidden, channels = parameters(case)["pointwise_conv1.weight"].shape[:2]
    module = ConvNeXt(channels, expansion=hidden // channels)
    module.load_state_dict(parameters(case))
    return module.eval()


def test_convnext(golden):
    for name, case in groups(golden("modules.npz"), r"convnext_\d+").items():
        x = rows(case["x"])
        before = x.new_zeros(x.shape[0], LOOKAHEAD, *x.shape[2:])
        y, _ = convnext(case)(pad(x, (0, 0, 0, 0, 0, LOOKAHEAD)), before)
        assert_close(y, rows(case["y"]), name)


def test_convnext_step(golden):
    arrays = golden("modules.npz")
    plain = groups(arrays, r"convnext_\d+")
    for name, case in groups(arrays, r"convnext_\d+_streaming").items():
        whole = plain[name.removesuffix("_streaming")]
        y, cache = convnext(whole)(rows(whole["x"]), rows(case["cached_left_pad"]))
        assert_close(y, rows(case["y"]), name)
        assert_close(cache, rows(case["new_cached_left_pad"]), f"{name} cache")


def embed(case: Group) -> ConvEmbed:
    state = parameters(case)
    hidden, channels = state["convnext.pointwise_conv1.weight"].shape[:2]
    module = ConvEmbed(
        int(case["in_channels"]),
        [state[f"conv.{i}.weight"].shape[0] for i in (0, 4, 7)],
        int(case["out_channels"]),
        expansion=hidden // channels,
    )
    module.load_state_dict(state)
    return module.eval()


def test_embed(golden, left_out):
    for name, case in groups(golden("modules.npz"), r"subsampling_\d+").items():
        module, x, frames = embed(case), case["x"], case["y"].shape[1]
        padded = pad(x, (0, 0, 0, 2 * frames + STEP_OVERLAP - x.shape[1]))
        y = module(padded, case["x_lens"], module.init_state(x.shape[0]))
        assert torch.equal(y.lens, case["y_lens"]), name
        assert y.out.shape == case["y"].shape, name
        for row, lens in enumerate(case["y_lens"].tolist()):
            # The reference's last frames of a shorter row look into the batch's padding.
            valid = lens if lens == frames else max(lens - LOOKAHEAD, 0)
            assert_close(y.out[row, :valid], case["y"][row, :valid], f"{name} row {row}")
            if valid < lens:
                left_out(f"{name} row {row}: {lens - valid} of {lens} frames, which see padding")


def test_embed_steps(golden):
    arrays = golden("modules.npz")
    plain = groups(arrays, r"subsampling_\d+")
    for name, case in groups(arrays, r"subsampling_\d+_streaming").items():
        module = embed(plain[name.removesuffix("_streaming")])
        cache = module.init_state(case["x_step0"].shape[0])
        assert list(cache.permute(0, 3, 1, 2).shape) == case["cached_left_pad_init_shape"].tolist(), name
        for step, x in numbered(case, r"x_step(\d+)").items():
            y = module(x, torch.full((x.shape[0],), x.shape[1]), cache)
            cache = y.cache
            assert_close(y.out, case[f"y_step{step}"], f"{name} step {step}")
            assert torch.equal(y.lens, case[f"y_lens_step{step}"]), name
            assert_close(cache, rows(case[f"cache_after_step{step}"]), f"{name} step {step} cache")

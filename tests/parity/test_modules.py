"""The small modules of the Zipformer against reference outputs."""

from __future__ import annotations

import re

import torch

from asr.models.zipformer.bypass import Bypass
from asr.models.zipformer.feedforward import FeedForward
from asr.models.zipformer.positions import RelativePositions, position_table
from asr.models.zipformer.resample import Downsample, downsampled_lens, upsample
from tests.parity.published import assert_close, batch_first, groups, parameters


def test_downsample(golden):
    for name, case in groups(golden("modules.npz"), r"downsample_\d+_T\d+").items():
        module = Downsample(int(case["downsample"]))
        module.load_state_dict(parameters(case))
        x = batch_first(case["x"])
        lens = torch.full((x.shape[0],), x.shape[1])
        y = module(x, lens)
        assert_close(y, batch_first(case["y"]), name)
        assert torch.equal(downsampled_lens(lens, module.factor), torch.full_like(lens, y.shape[1])), name


def test_upsample(golden):
    for name, case in groups(golden("modules.npz"), r"upsample_\d+_T\d+").items():
        y = upsample(batch_first(case["x"]), int(case["upsample"]))
        assert_close(y, batch_first(case["y"]), name, tolerance=0.0)


def test_bypass(golden):
    for name, case in groups(golden("modules.npz"), r"bypass_\d+").items():
        module = Bypass(case["src"].shape[-1]).eval()
        module.load_state_dict(parameters(case))
        assert_close(module(case["src_orig"], case["src"]), case["y"], name)


def test_position_table(golden):
    for name, case in groups(golden("modules.npz"), r"pos_enc_dim\d+_T\d+_left\d+\w*(?:\.\d+)?").items():
        dim, frames, left = map(int, re.match(r"pos_enc_dim(\d+)_T(\d+)_left(\d+)", name).groups())
        factor = float(case.get("length_factor", 1.0))
        offsets = torch.arange(-(left + frames - 1), frames)
        expected = case["y"].squeeze(0)
        assert_close(position_table(offsets, dim, factor), expected, name)
        if factor == 1.0:
            module = RelativePositions(dim).eval()
            # One row more than the reference's, at the end; no score reads it.
            assert_close(module(frames, left, torch.device("cpu"))[:-1], expected, f"{name} module")


def test_position_table_of_a_long_utterance(golden):
    for name, case in groups(golden("modules.npz"), "pos_enc_long").items():
        frames = int(case["T"])
        table = RelativePositions(int(case["embed_dim"])).eval()(frames, 0, torch.device("cpu"))
        assert_close(table[case["row_index"]], case["rows"], name)


def test_feedforward(golden):
    for name, case in groups(golden("modules.npz"), r"feedforward_\d+").items():
        hidden, dim = parameters(case)["in_proj.weight"].shape
        module = FeedForward(dim, hidden, dropout_end=0.1).eval()
        module.load_state_dict(parameters(case))
        assert_close(module(batch_first(case["x"])), batch_first(case["y"]), name)

"""Convolution modules and the chunk-causal depthwise convolution against reference outputs."""

from __future__ import annotations

import torch
from torch import Tensor

from asr.models.zipformer.conv import ChunkCausalDepthwiseConv, ConvModule
from tests.parity.published import Group, assert_close, batch_first, groups, lens_of, numbered, parameters


def conv_module(case: Group, *, causal: bool) -> ConvModule:
    module = ConvModule(parameters(case)["out_proj.weight"].shape[0], int(case["kernel_size"]), causal=causal)
    module.load_state_dict(parameters(case))
    return module.eval()


def whole_lens(x: Tensor) -> Tensor:
    return torch.full((x.shape[0],), x.shape[1])


def nominal(chunk: int, frames: int) -> int | None:
    """The reference shrinks a chunk that is longer than the input; to us that is an input without chunks."""
    return chunk if chunk <= frames else None


def masked_lens(case: Group, name: str, left_out) -> Tensor | None:
    lens = lens_of(case["src_key_padding_mask"])
    if lens is None:
        left_out(f"{name}: a mask that hides more than the end of a row")
    return lens


def test_noncausal(golden, left_out):
    for name, case in groups(golden("modules.npz"), r"conv_noncausal_\d+").items():
        module, x = conv_module(case, causal=False), batch_first(case["x"])
        cache = module.init_state(x.shape[0])
        y, _ = module(x, whole_lens(x), cache, None)
        assert_close(y, batch_first(case["y_nomask"]), name)
        lens = masked_lens(case, name, left_out)
        if lens is not None:
            y, _ = module(x, lens, cache, None)
            assert_close(y, batch_first(case["y_padmask"]), f"{name} with padding")


def check_causal_padding(module: ConvModule, case: Group, lens: Tensor, name: str, left_out) -> None:
    x, cache = batch_first(case["x"]), module.init_state(case["x"].shape[1])
    y, _ = module(x, lens, cache, None)
    full = lens == x.shape[1]
    left_out(f"{name} with padding, no chunks: {int((~full).sum())} padded rows (our edges are the row's own)")
    assert_close(y[full], batch_first(case["y_padmask"])[full], f"{name} with padding")
    for chunk, expected in numbered(case, r"y_chunk(\d+)").items():
        y, _ = module(x, lens, cache, nominal(chunk, x.shape[1]))
        rows = full if chunk > x.shape[1] else torch.ones_like(full)
        assert_close(y[rows], batch_first(expected)[rows], f"{name} chunk {chunk}")


def test_causal(golden, left_out):
    for name, case in groups(golden("modules.npz"), r"conv_causal_\d+").items():
        module, x = conv_module(case, causal=True), batch_first(case["x"])
        y, _ = module(x, whole_lens(x), module.init_state(x.shape[0]), None)
        assert_close(y, batch_first(case["y_nomask"]), name)
        lens = masked_lens(case, name, left_out)
        if lens is not None:
            check_causal_padding(module, case, lens, name, left_out)


def test_causal_step(golden, left_out):
    arrays = golden("modules.npz")
    plain = groups(arrays, r"conv_causal_\d+")
    for name, case in groups(arrays, r"conv_causal_\d+_streaming").items():
        whole = plain[name.removesuffix("_streaming")]
        x, lens = batch_first(whole["x"]), masked_lens(whole, name, left_out)
        if lens is None:
            continue
        # The reference takes a step to be one chunk.
        y, cache = conv_module(whole, causal=True)(x, lens, case["cache"].transpose(1, 2), x.shape[1])
        assert_close(y, batch_first(case["y"]), name)
        assert_close(cache, case["new_cache"].transpose(1, 2), f"{name} cache")


def depthwise(case: Group) -> ChunkCausalDepthwiseConv:
    channels = parameters(case)["causal_conv.weight"].shape[0]
    module = ChunkCausalDepthwiseConv(channels, int(case["kernel_size"]))
    module.load_state_dict(parameters(case))
    return module.eval()


def test_chunk_causal_depthwise(golden):
    for name, case in groups(golden("modules.npz"), r"chunk_causal_depthwise_\d+").items():
        module, x = depthwise(case), case["x"].transpose(1, 2)
        cache = module.init_state(x.shape[0])
        outputs = {None: case["y_full"]} | numbered(case, r"y_chunk(\d+)")
        for chunk, expected in outputs.items():
            chunk_size = None if chunk is None else nominal(chunk, x.shape[1])
            y, _ = module(x, whole_lens(x), cache, chunk_size)
            assert_close(y, expected.transpose(1, 2), f"{name} chunk {chunk}")


def test_edge_scales(golden):
    for name, case in groups(golden("modules.npz"), r"chunk_causal_depthwise_\d+").items():
        scales = numbered(case, r"chunk_scale(\d+)")
        if "chunk_scale_full" in case:
            scales[case["x"].shape[2]] = case["chunk_scale_full"]
        for chunk, expected in scales.items():
            assert_close(depthwise(case).chunk_edges(chunk), expected.t(), f"{name} chunk {chunk}")


def test_chunk_causal_depthwise_step(golden):
    arrays = golden("modules.npz")
    plain = groups(arrays, r"chunk_causal_depthwise_\d+")
    for name, case in groups(arrays, r"chunk_causal_depthwise_\d+_streaming").items():
        whole = plain[name.removesuffix("_streaming")]
        x = whole["x"].transpose(1, 2)
        y, cache = depthwise(whole)(x, whole_lens(x), case["cache"].transpose(1, 2), x.shape[1])
        assert_close(y, case["y"].transpose(1, 2), name)
        assert_close(cache, case["new_cache"].transpose(1, 2), f"{name} cache")

"""One whole encoder layer against reference outputs."""

from __future__ import annotations

import torch
from torch import Tensor

from asr.models.zipformer import ZipformerConfig
from asr.models.zipformer.layer import ZipformerLayer
from tests.parity.published import Group, assert_close, batch_first, groups, lens_of, parameters
from tests.parity.test_attention import one_row_more


def layer(case: Group, *, causal: bool) -> ZipformerLayer:
    config = ZipformerConfig(
        downsampling_factors=[1],
        num_layers=[1],
        encoder_dims=[int(case["cfg_embed_dim"])],
        unmasked_dims=[int(case["cfg_embed_dim"])],
        feedforward_dims=[int(case["cfg_feedforward_dim"])],
        num_heads=[int(case["cfg_num_heads"])],
        cnn_kernels=[int(case["cfg_cnn_module_kernel"])],
        query_head_dim=int(case["cfg_query_head_dim"]),
        value_head_dim=int(case["cfg_value_head_dim"]),
        pos_head_dim=int(case["cfg_pos_head_dim"]),
        pos_dim=int(case["cfg_pos_dim"]),
        causal=causal,
    )
    module = ZipformerLayer(config, 0)
    module.load_state_dict(parameters(case))
    return module.eval()


def run(module: ZipformerLayer, case: Group, lens: Tensor, visible: Tensor, chunk_size: int | None) -> Tensor:
    x, pos_emb = batch_first(case["x"]), one_row_more(case["pos_emb"])
    state = module.init_state(x.shape[0], 0)
    return module(x, lens, state, pos_emb=pos_emb, visible=visible, chunk_size=chunk_size)[0]


def assert_rows(y: Tensor, expected: Tensor, lens: Tensor, visible: Tensor, what: str, left_out) -> None:
    """Compare every frame, or the valid ones alone where the reference had rows that see nothing."""
    expected = batch_first(expected)
    if visible.any(dim=-1).all():
        assert_close(y, expected, what)
        return
    valid = torch.arange(y.shape[1]) < lens.unsqueeze(1)
    left_out(f"{what}: {int((~valid).sum())} frames of padding")
    assert_close(y[valid], expected[valid], what)


def test_noncausal(golden, left_out):
    for name, case in groups(golden("modules.npz"), r"layer_noncausal\w*").items():
        mask = case["src_key_padding_mask"]
        visible, lens = ~mask.unsqueeze(1), lens_of(mask)
        y = run(layer(case, causal=False), case, lens, visible, None)
        assert_rows(y, case["y"], lens, visible, name, left_out)


def test_causal(golden, left_out):
    for name, case in groups(golden("modules.npz"), r"layer_causal\w*").items():
        mask, module = case["src_key_padding_mask"], layer(case, causal=True)
        visible, lens = ~mask.unsqueeze(1), lens_of(mask)
        y = run(module, case, lens, visible, None)
        full = lens == mask.shape[1]
        left_out(f"{name}, no chunks: {int((~full).sum())} padded rows (our edges are the row's own)")
        assert_close(y[full], batch_first(case["y"])[full], name)
        if "y_chunk" in case:
            visible = visible & ~case["attn_mask"].unsqueeze(0)
            y = run(module, case, lens, visible, int(case["chunk_size"]))
            assert_rows(y, case["y_chunk"], lens, visible, f"{name} in chunks", left_out)

"""Attention weights and what uses them, with and without masks and remembered frames, against reference outputs."""

from __future__ import annotations

import torch
from torch import Tensor

from asr.models.zipformer.attention import AttentionWeights, NonlinAttention, SelfAttention
from tests.parity.published import Group, assert_close, batch_first, groups, parameters


def weights_module(case: Group) -> AttentionWeights:
    state = parameters(case)
    module = AttentionWeights(
        state["in_proj.weight"].shape[1],
        pos_dim=state["linear_pos.weight"].shape[1],
        num_heads=int(case["num_heads"]),
        query_head_dim=int(case["query_head_dim"]),
        pos_head_dim=int(case["pos_head_dim"]),
    )
    module.load_state_dict(state)
    return module.eval()


def one_row_more(pos_emb: Tensor) -> Tensor:
    """Positions (1, N, D) as our modules take them; the added last row must not count, so it is no number."""
    return torch.cat([pos_emb.squeeze(0), torch.full((1, pos_emb.shape[2]), torch.nan)])


def seen(case: Group, *, keys: bool, pairs: bool) -> Tensor:
    """Which sources are visible, (B or 1, T or 1, S), by the key-padding mask, the attention mask or both."""
    hidden = torch.zeros(1, 1, 1, dtype=torch.bool)
    if keys:
        hidden = hidden | case["key_padding_mask"].unsqueeze(1)
    if pairs:
        hidden = hidden | case["attn_mask"].unsqueeze(0)
    return ~hidden


def assert_weights(actual: Tensor, expected: Tensor, visible: Tensor, what: str, left_out) -> None:
    """Compare (B, H, T, S) with (H, B, T, S), but for rows that see nothing, where ours are zero."""
    some = visible.any(dim=-1).expand(actual.shape[0], actual.shape[2])
    if not some.all():
        left_out(f"{what}: {int((~some).sum())} rows that see nothing")
    assert_close(actual.transpose(1, 2)[some], batch_first(expected).transpose(1, 2)[some], what)
    assert not actual.transpose(1, 2)[~some].any()


def test_weights(golden, left_out):
    masks = {"nomask": (False, False), "padmask": (True, False), "attnmask": (False, True), "bothmasks": (True, True)}
    for name, case in groups(golden("modules.npz"), r"attn_weights_\d+").items():
        module, x = weights_module(case), batch_first(case["x"])
        for mask, (keys, pairs) in masks.items():
            if f"y_{mask}" not in case:
                left_out(f"{name}: the file has no y_{mask}")
                continue
            visible = seen(case, keys=keys, pairs=pairs)
            y, _ = module(x, one_row_more(case["pos_emb"]), module.init_state(x.shape[0], 0), visible)
            expected = case[f"y_{mask}"].transpose(0, 1)
            assert_weights(y, expected.transpose(0, 1), visible, f"{name} {mask}", left_out)


def test_weights_of_a_step(golden, left_out):
    arrays = golden("modules.npz")
    plain = groups(arrays, r"attn_weights_\d+")
    for name, case in groups(arrays, r"attn_weights_\d+_streaming").items():
        whole = plain[name.removesuffix("_streaming")]
        visible = seen(case, keys=True, pairs=False)
        cache = batch_first(case["cached_key"])
        y, next_cache = weights_module(whole)(batch_first(whole["x"]), one_row_more(case["pos_emb"]), cache, visible)
        assert_weights(y, case["y"], visible, name, left_out)
        assert_close(next_cache, batch_first(case["new_cached_key"]), f"{name} cache")


def self_attention(case: Group, num_heads: int) -> SelfAttention:
    values, dim = parameters(case)["in_proj.weight"].shape
    module = SelfAttention(dim, num_heads=num_heads, value_head_dim=values // num_heads)
    module.load_state_dict(parameters(case))
    return module.eval()


def nonlin_attention(case: Group) -> NonlinAttention:
    tripled, dim = parameters(case)["in_proj.weight"].shape
    module = NonlinAttention(dim, tripled // 3)
    module.load_state_dict(parameters(case))
    return module.eval()


def test_self_attention(golden):
    for name, case in groups(golden("modules.npz"), r"self_attn_\d+").items():
        x, weights = batch_first(case["x"]), batch_first(case["attn_weights"])
        module = self_attention(case, weights.shape[1])
        y, _ = module(x, weights, module.init_state(x.shape[0], 0))
        assert_close(y, batch_first(case["y"]), name)


def test_nonlin_attention(golden):
    for name, case in groups(golden("modules.npz"), r"nonlin_attn_\d+").items():
        x, module = batch_first(case["x"]), nonlin_attention(case)
        y, _ = module(x, case["attn_weights"][0], module.init_state(x.shape[0], 0))
        assert_close(y, batch_first(case["y"]), name)


def test_self_attention_of_a_step(golden):
    arrays = golden("modules.npz")
    plain, weights = groups(arrays, r"self_attn_\d+"), groups(arrays, r"attn_weights_\d+_streaming")
    for name, case in groups(arrays, r"self_attn_\d+_streaming").items():
        whole = plain[name.removesuffix("_streaming")]
        step_weights = batch_first(weights[name.replace("self_attn", "attn_weights")]["y"])
        module = self_attention(whole, step_weights.shape[1])
        y, cache = module(batch_first(whole["x"]), step_weights, batch_first(case["cached_val"]))
        assert_close(y, batch_first(case["y"]), name)
        assert_close(cache, batch_first(case["new_cached_val"]), f"{name} cache")


def test_nonlin_attention_of_a_step(golden):
    arrays = golden("modules.npz")
    plain, weights = groups(arrays, r"nonlin_attn_\d+"), groups(arrays, r"attn_weights_\d+_streaming")
    for name, case in groups(arrays, r"nonlin_attn_\d+_streaming").items():
        whole = plain[name.removesuffix("_streaming")]
        step_weights = weights[name.replace("nonlin_attn", "attn_weights")]["y"][0]
        y, cache = nonlin_attention(whole)(batch_first(whole["x"]), step_weights, case["cached_x"].squeeze(0))
        assert_close(y, batch_first(case["y"]), name)
        assert_close(cache, case["new_cached_x"].squeeze(0), f"{name} cache")

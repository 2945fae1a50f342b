"""The attention decoder against torch's own transformer layers, and what it must not see."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import nn

from asr.models.transducer import AttentionDecoder, AttentionDecoderConfig

CONFIG = AttentionDecoderConfig(num_layers=2, dim=16, num_heads=4, feedforward_dim=24)
LENS, TOKEN_LENS = torch.tensor([7, 4]), torch.tensor([3, 2])


def inputs() -> tuple[torch.Tensor, ...]:
    torch.manual_seed(3)
    tokens = torch.tensor([[4, 2, 7], [3, 8, 0]])
    return torch.randn(2, 7, 12), LENS, tokens, TOKEN_LENS


def torch_layer(layer: nn.Module) -> nn.TransformerDecoderLayer:
    """torch's layer with the same weights."""
    theirs = nn.TransformerDecoderLayer(16, 4, 24, activation=nn.functional.silu, batch_first=True, norm_first=True)
    theirs.multihead_attn = nn.MultiheadAttention(16, 4, kdim=12, vdim=12, batch_first=True)
    norms = (layer.self_norm, layer.cross_norm, layer.feedforward_norm)
    pairs = [*zip((theirs.norm1, theirs.norm2, theirs.norm3), norms)]
    pairs += [(theirs.linear1, layer.widen), (theirs.linear2, layer.narrow)]
    pairs += [(theirs.self_attn.out_proj, layer.self_attention.out)]
    pairs += [(theirs.multihead_attn.out_proj, layer.cross_attention.out)]
    for target, source in pairs:
        target.load_state_dict(source.state_dict())
    mine, cross = layer.self_attention, layer.cross_attention
    with torch.no_grad():
        theirs.self_attn.in_proj_weight.copy_(torch.cat([mine.query.weight, mine.key.weight, mine.value.weight]))
        theirs.self_attn.in_proj_bias.copy_(torch.cat([mine.query.bias, mine.key.bias, mine.value.bias]))
        for name in ("query", "key", "value"):
            getattr(theirs.multihead_attn, f"{name[0]}_proj_weight").copy_(getattr(cross, name).weight)
        theirs.multihead_attn.in_proj_bias.copy_(torch.cat([cross.query.bias, cross.key.bias, cross.value.bias]))
    return theirs.eval()


def test_layers_are_those_of_the_literature():
    torch.manual_seed(0)
    decoder = AttentionDecoder(CONFIG, encoder_dim=12, vocab_size=9).eval()
    memory, lens, *_ = inputs()
    x = torch.randn(2, 4, 16)
    future = torch.ones(4, 4, dtype=torch.bool).triu(1)
    silent = torch.arange(7) >= lens[:, None]
    for layer in decoder.layers:
        expected = torch_layer(layer)(x, memory, tgt_mask=future, memory_key_padding_mask=silent)
        torch.testing.assert_close(layer(x, memory, future, silent[:, None, None]), expected, rtol=1e-5, atol=1e-5)


def test_symbols_and_targets():
    decoder = AttentionDecoder(CONFIG, encoder_dim=12, vocab_size=9)
    tokens, lens = torch.tensor([[4, 2, 7], [3, 8, 0]]), torch.tensor([3, 2])
    assert decoder.with_start(tokens, lens).tolist() == [[1, 4, 2, 7], [1, 3, 8, 1]]
    assert decoder.targets(tokens, lens).tolist() == [[4, 2, 7, 1], [3, 8, 1, -1]]


def test_sees_neither_the_future_nor_padding():
    decoder = AttentionDecoder(CONFIG, encoder_dim=12, vocab_size=9).eval()
    memory, lens, tokens, token_lens = inputs()
    logits = decoder(memory, lens, tokens, token_lens)
    other = memory.clone()
    other[1, 4:] = 100.0
    later = tokens.clone()
    later[:, 2] = 5
    changed = decoder(other, lens, later, token_lens)
    torch.testing.assert_close(changed[1, :3], logits[1, :3])
    torch.testing.assert_close(changed[0, :3], logits[0, :3])
    assert not torch.allclose(changed[0, 3], logits[0, 3])  # it does look at the symbols before
    alone = decoder(memory[1:, :4], lens[1:], tokens[1:, :2], token_lens[1:])
    torch.testing.assert_close(alone[0], logits[1, :3])


def test_sizes_as_published():
    """With 500 symbols and memories as wide as the small, medium and large encoders."""
    with torch.device("meta") if hasattr(torch.device, "__enter__") else nullcontext():
        counts = [
            sum(p.numel() for p in AttentionDecoder(AttentionDecoderConfig(), dim, 500).parameters())
            for dim in (256, 512, 768)
        ]
    assert counts == [46_282_107 - 22_118_279, 89_987_295 - 64_250_603, 174_319_650 - 147_010_094]

"""A new run from the weights of another, also with another vocabulary."""

from __future__ import annotations

import pytest
import torch

from asr.checkpoint.model import save_model
from asr.errors import CheckpointError
from asr.models.transducer import Transducer, TransducerConfig
from asr.models.zipformer import ZipformerConfig
from asr.text.characters import CharTokenizer
from asr.training.warm_start import warm_start

ENCODER = {
    "embed_channels": [4, 8, 16],
    "embed_expansion": 1,
    "downsampling_factors": [1],
    "num_layers": [1],
    "encoder_dims": [24],
    "unmasked_dims": [16],
    "feedforward_dims": [32],
    "num_heads": [2],
    "cnn_kernels": [7],
    "query_head_dim": 8,
    "value_head_dim": 6,
    "pos_dim": 12,
}


def make(symbols: str, **shape) -> tuple:
    tokenizer = CharTokenizer(["<blk>", "<sos/eos>", "<unk>", "▁", *symbols])
    config = TransducerConfig(
        encoder=ZipformerConfig(**ENCODER),
        vocab_size=tokenizer.vocab_size,
        **{"predictor_dim": 24, "joiner_dim": 24, **shape},
    )
    return Transducer(config), tokenizer


@pytest.fixture
def saved(tmp_path):
    """A model of five letters, and its file."""
    model, tokenizer = make("abcde")
    save_model(tmp_path / "first.safetensors", model, tokenizer)
    return model, tmp_path / "first.safetensors"


def test_the_same_vocabulary_takes_everything(saved):
    first, path = saved
    model, tokenizer = make("abcde")
    found = warm_start(model, tokenizer, path)
    assert not found.left and not found.by_symbol
    for name, tensor in first.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name


def test_another_vocabulary_takes_the_rows_of_common_symbols(saved):
    """Letters in another order, some of them new: each row follows its letter, new ones stay as initialised."""
    first, path = saved
    model, tokenizer = make("ezca")
    fresh = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = warm_start(model, tokenizer, path)
    expected = {"predictor.embedding.weight", "joiner.output_linear.weight", "joiner.output_linear.bias"}
    assert expected <= set(found.by_symbol) and not found.left
    assert found.common_symbols == 4 + 3
    now, then = model.state_dict(), first.state_dict()
    for name in found.by_symbol:
        assert torch.equal(now[name][4], then[name][8]) and torch.equal(now[name][7], then[name][4])  # e and a
        assert torch.equal(now[name][5], fresh[name][5])  # z
    assert torch.equal(now["encoder.downsample_output.bias"], then["encoder.downsample_output.bias"])
    said = found.sentence()
    assert "the rows of 7 common symbols of" in said and "left as initialised: none" in said


def test_what_does_not_fit_is_named(saved):
    _, path = saved
    model, tokenizer = make("abcde", predictor_dim=32)
    found = warm_start(model, tokenizer, path)
    assert {"predictor.embedding.weight", "joiner.predictor_proj.weight"} <= set(found.left)
    assert "predictor.embedding.weight" in found.sentence()
    with pytest.raises(CheckpointError, match="there is no checkpoint at"):
        warm_start(model, tokenizer, path.with_name("absent.safetensors"))

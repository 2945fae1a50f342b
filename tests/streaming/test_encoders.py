"""Encoders of every kind keep the streaming contract, and come back from a checkpoint as what they were."""

from __future__ import annotations

import pytest
import torch

from asr.checkpoint.model import load_model, save_model
from asr.decoding import SearchConfig, build_search
from asr.decoding.run import decode_by_steps
from asr.errors import ConfigError
from asr.models.encoders import KINDS, kind_of
from asr.models.transducer import Transducer, TransducerConfig, model_config_from_dict, model_config_to_dict
from asr.nn.chunks import ChunkContext
from asr.text.tokenizer import SPECIAL_SYMBOLS
from asr.text.words import WordTokenizer
from tests.streaming.contract import check_contract
from tests.streaming.subjects import Whole
from tests.streaming.tiny import randomise, tiny_config

FRONT = {"feature_dim": 20, "embed_channels": [4, 6, 8], "dim": 12}
SIZES = {
    "lstm": {"hidden_dim": 16, "num_layers": 2},
    "gru": {"hidden_dim": 16, "num_layers": 2},
    "cnn": {"num_layers": 3, "kernel_size": 4},
}
CONTEXT = ChunkContext(chunk_size=16, left_context=16)


def tiny_model(kind: str) -> Transducer:
    """A model in evaluation mode, every parameter of which matters."""
    encoder = KINDS[kind](**FRONT, **SIZES[kind])
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = Transducer(TransducerConfig(encoder=encoder, vocab_size=30, predictor_dim=32, joiner_dim=36)).eval()
        randomise(model)
    return model


def test_every_kind_is_tried():
    assert SIZES.keys() == KINDS.keys() - {"zipformer"}


@pytest.mark.parametrize("chunk_size", [2, 16])
@pytest.mark.parametrize("kind", SIZES)
def test_contract(kind, chunk_size):
    context = ChunkContext(chunk_size=chunk_size, left_context=CONTEXT.left_context)
    subject = Whole(tiny_model(kind), sees_chunks=False, sees_left_context=False)
    check_contract(subject, context, seed=chunk_size)


@pytest.mark.parametrize("kind", SIZES)
def test_checkpoint_says_what_it_is(kind, tmp_path):
    model = tiny_model(kind)
    tokenizer = WordTokenizer([*SPECIAL_SYMBOLS, *(f"word{i}" for i in range(27))])
    save_model(tmp_path / "model.safetensors", model, tokenizer)
    loaded = load_model(tmp_path / "model.safetensors").model
    assert kind_of(loaded.config.encoder) == kind and loaded.config == model.config
    x, lens = torch.randn(2, 90, 20), torch.tensor([90, 61])
    context = ChunkContext()
    assert torch.equal(loaded.encode(x, lens, context=context).out, model.encode(x, lens, context=context).out)
    answers = decode_by_steps(loaded, build_search(SearchConfig(), loaded), x, lens, CONTEXT)
    assert len(answers) == 2


def test_a_checkpoint_without_a_kind_is_a_zipformer():
    values = model_config_to_dict(tiny_config())
    assert values["encoder"].pop("kind") == "zipformer"
    assert model_config_from_dict(values) == tiny_config()


def test_an_unknown_kind_is_refused():
    values = model_config_to_dict(tiny_config())
    values["encoder"]["kind"] = "perceptron"
    with pytest.raises(ConfigError, match="encoder is a perceptron, which this version does not know"):
        model_config_from_dict(values)


@pytest.mark.parametrize("setting", ["dim", "num_layers"])
def test_sizes_below_one_are_refused(setting):
    with pytest.raises(ConfigError, match=f"encoder.{setting}=0 must be at least 1"):
        KINDS["cnn"](**{setting: 0})


def test_chunks_of_odd_size_are_refused():
    with pytest.raises(ConfigError, match="chunk_size=3 must be a multiple of 2"):
        tiny_model("lstm").init_state(1, ChunkContext(chunk_size=3, left_context=16))

"""Encoders of every kind keep the streaming contract, and come back from a checkpoint as what they were."""

from __future__ import annotations

from dataclasses import replace

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
    "lstm": {"num_layers": 2},
    "gru": {"num_layers": 2},
    "cnn": {"num_layers": 3, "kernel_size": 4},
    "conformer": {"num_layers": 2, "num_heads": 2, "feedforward_dim": 16, "kernel_size": 5},
    "emformer": {
        "num_layers": 2,
        "num_heads": 2,
        "feedforward_dim": 16,
        "chunk_size": 16,
        "left_context": 16,
        "right_context": 4,
    },
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


@pytest.mark.parametrize(
    "kind, chunk_size", [(kind, size) for kind in ("lstm", "gru", "cnn") for size in (2, 16)] + [("emformer", 16)]
)
def test_contract(kind, chunk_size):
    context = ChunkContext(chunk_size=chunk_size, left_context=CONTEXT.left_context)
    subject = Whole(tiny_model(kind), sees_chunks=False, sees_left_context=False)
    check_contract(subject, context, seed=chunk_size)


@torch.no_grad()
def test_whole_utterances_alone_beside_others_and_before_garbage():
    """What is left of the contract for an encoder that cannot stream."""
    model, lens = tiny_model("conformer"), torch.tensor([91, 140, 9])
    x = torch.randn(3, 140, FRONT["feature_dim"])
    together = model.encode(x, lens, context=ChunkContext())
    x[0, 91:], x[2, 9:] = torch.nan, 1e3
    dirty = model.encode(x, lens, context=ChunkContext())
    for row, length in enumerate(lens.tolist()):
        alone = model.encode(x[row : row + 1, :length], lens[row : row + 1], context=ChunkContext())
        frames = int(alone.lens)
        assert frames == int(together.lens[row])
        for other in (together, dirty):
            assert (alone.out[0, :frames] - other.out[row, :frames]).abs().max() < 1e-5


def test_what_cannot_stream_says_so():
    model = tiny_model("conformer")
    assert not model.encoder.supports_step and not model.config.encoder.can_stream
    with pytest.raises(ConfigError, match="a Conformer: this model hears whole utterances only and cannot stream"):
        model.init_state(1, CONTEXT)


@pytest.mark.parametrize("context", [{"chunk_size": 32, "left_context": 32}, {"chunk_size": 16, "left_context": 32}])
def test_emformer_has_one_chunk(context):
    with pytest.raises(ConfigError, match="is not what this Emformer was built for; use 16"):
        tiny_model("emformer").init_state(1, ChunkContext(**context))


def test_emformer_sees_chunks_and_their_right_context():
    """The contract cannot vary its chunks, so here are the same weights with others."""
    encoder = tiny_model("emformer").config.encoder
    x, lens = torch.randn(1, 300, FRONT["feature_dim"]), torch.tensor([300])
    outs = []
    for change in ({}, {"chunk_size": 32}, {"right_context": 8}, {"left_context": 32}):
        changed = Transducer(replace(tiny_model("emformer").config, encoder=replace(encoder, **change))).eval()
        changed.load_state_dict(tiny_model("emformer").state_dict())
        outs.append(changed.encode(x, lens, context=ChunkContext()).out)
    assert all((out - outs[0]).abs().max() > 1e-3 for out in outs[1:])


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
    if loaded.encoder.supports_step:
        assert len(decode_by_steps(loaded, build_search(SearchConfig(), loaded), x, lens, CONTEXT)) == 2


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

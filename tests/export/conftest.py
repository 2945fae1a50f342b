"""Small random models that talk a lot, and one export of each kind for all tests of this folder."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn

from asr.export import ExportConfig, ExportMode, export_model
from asr.features import Fbank
from asr.models.transducer import Transducer, TransducerConfig
from asr.models.zipformer import ZipformerConfig
from asr.nn.chunks import ChunkContext
from asr.text.words import WordTokenizer

VOCAB_SIZE = 20


def build_model(
    *, seed: int = 0, causal: bool = True, front_end: int = 128, context_size: int = 2, **heads: bool
) -> Transducer:
    """Two stacks at two rates, with untrained but lively weights: many frames emit a token."""
    torch.manual_seed(seed)
    random.seed(seed)
    encoder = ZipformerConfig(
        embed_channels=[4, 8, front_end],
        embed_expansion=1,
        downsampling_factors=[1, 2],
        num_layers=[1, 1],
        encoder_dims=[16, 24],
        unmasked_dims=[16, 24],
        feedforward_dims=[16, 24],
        num_heads=[2, 4],
        cnn_kernels=[7, 5],
        query_head_dim=4,
        value_head_dim=6,
        pos_head_dim=2,
        pos_dim=8,
        causal=causal,
    )
    model = Transducer(
        TransducerConfig(
            encoder=encoder, vocab_size=VOCAB_SIZE, context_size=context_size, predictor_dim=16, joiner_dim=12, **heads
        )
    )
    model.feature_norm.set(torch.linspace(-9.0, -6.0, 80), 4.0)
    _enliven(model.eval())
    return model


@torch.no_grad()
def _enliven(model: Transducer) -> None:
    """Let what is heard decide what is said: an untrained encoder's frames all look alike."""
    for name, parameter in model.named_parameters():
        if "chunkwise_conv_scale" in name:  # starts at zero
            parameter.normal_(std=0.3)
        if "linear_pos" in name or "out_proj.weight" in name:
            parameter.mul_(5.0)
    features = Fbank()(torch.from_numpy(noises(4.0)[0])[None], torch.tensor([64000])).features
    frames = model.encode(features, torch.tensor([400]), context=ChunkContext()).out[0]
    if model.ctc_head is not None:
        _spread(model.ctc_head.linear, frames)
    if model.has_transducer:
        joiner = model.joiner
        _spread(joiner.encoder_proj, frames)
        joiner.output_linear.weight.normal_()
        joiner.output_linear.bias[0] += 2.5  # blanks
        joiner.output_linear.bias[2] -= 50.0  # <unk>, which the client takes for a blank and the library shows


def _spread(linear: nn.Linear, frames: torch.Tensor) -> None:
    """Give every output the mean 0 and the deviation 1 over `frames`, (T, C)."""
    projected = linear(frames)
    mean, deviation = projected.mean(dim=0), projected.std(dim=0)
    linear.weight.div_(deviation.unsqueeze(1))
    linear.bias.sub_(mean).div_(deviation)


def build_tokenizer() -> WordTokenizer:
    return WordTokenizer(["<blk>", "<sos/eos>", "<unk>", *(f"w{index}" for index in range(3, VOCAB_SIZE))])


def noises(*seconds: float) -> list[np.ndarray]:
    """Bursts of noise of changing loudness, 16 kHz."""
    generator = np.random.default_rng(0)
    recordings = []
    for length in seconds:
        loudness = np.repeat(10 ** generator.uniform(-4, -0.5, int(length * 10) + 1), 1600)[: int(length * 16000)]
        recordings.append((loudness * generator.standard_normal(len(loudness))).clip(-1, 1).astype(np.float32))
    return recordings


@pytest.fixture(scope="session")
def model() -> Transducer:
    return build_model()


@pytest.fixture(scope="session")
def tokenizer() -> WordTokenizer:
    return build_tokenizer()


@pytest.fixture(scope="session")
def streaming_export(model, tokenizer, tmp_path_factory):
    """The one export that fast tests wait for."""
    config = ExportConfig(chunk_size=8, left_context=16, quantize=True)
    return export_model(model, tokenizer, tmp_path_factory.mktemp("streaming") / "model", config)


@pytest.fixture(scope="session")
def offline_export(model, tokenizer, tmp_path_factory):
    config = ExportConfig(mode=ExportMode.OFFLINE, quantize=True)
    return export_model(model, tokenizer, tmp_path_factory.mktemp("offline") / "model", config)

"""A recogniser with random weights that answers speech with tokens now and then, as a trained one does."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asr.features import Fbank
from asr.models.transducer import Transducer, TransducerConfig
from asr.models.zipformer import ZipformerConfig
from asr.nn.chunks import ChunkContext
from asr.streaming import Recognizer
from asr.text import CharTokenizer

CONTEXT = ChunkContext(chunk_size=16, left_context=32)


def offline_features(samples: Tensor) -> tuple[Tensor, Tensor]:
    """(N,) samples at 16 kHz to features (1, T, F) and lengths (1,)."""
    return tuple(Fbank()(samples[None], torch.tensor([len(samples)])))


def tiny_model(vocab_size: int) -> Transducer:
    encoder = ZipformerConfig(
        embed_channels=[4, 4, 8],
        downsampling_factors=[1, 2, 4],
        num_layers=[1, 1, 1],
        encoder_dims=[16, 24, 16],
        unmasked_dims=[16, 16, 16],
        feedforward_dims=[16, 24, 16],
        num_heads=[2, 2, 2],
        cnn_kernels=[15, 7, 7],
        query_head_dim=8,
        value_head_dim=8,
        causal=True,
    )
    config = TransducerConfig(encoder=encoder, vocab_size=vocab_size, predictor_dim=8, joiner_dim=16, ctc_head=True)
    return Transducer(config).eval()


@torch.no_grad()
def tiny_recognizer(speech: Tensor) -> Recognizer:
    """Weights drawn at random, scales set by `speech`, (N,) at 16 kHz: untrained encoders hardly vary over time."""
    torch.manual_seed(1)
    tokenizer = CharTokenizer.train(["abc def ghi"])
    model = tiny_model(tokenizer.vocab_size)
    features, lens = offline_features(speech)
    model.feature_norm.set(features[0].mean(0), float(features.std()))
    out = model.encode(features, lens, context=CONTEXT).out[0]
    joiner = model.joiner
    for parameter in [*model.predictor.parameters(), *joiner.parameters()]:
        nn.init.normal_(parameter)
    for linear in (joiner.encoder_proj, model.ctc_head.linear):
        nn.init.normal_(linear.weight).div_(out.std(0).clamp(min=1e-3))
        linear.bias.copy_(-linear.weight @ out.mean(0))
    joiner.output_linear.bias[0] = 5.0  # as when trained, blanks are the rule
    return Recognizer(model, tokenizer)

"""One side of an exchange of checkpoints between versions.

python -m tests.k2.exchange FILE        decode FILE with this torch, and print the answers as JSON
python -m tests.k2.exchange FILE KIND   the same, after training a model into FILE with this torch

What is heard are real digit strings where the recordings are, and noise where they are not.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from asr.checkpoint.model import LoadedModel, load_model, save_model
from asr.decoding import SearchConfig, SearchMethod, build_search
from asr.decoding.run import decode_by_steps, decode_whole
from asr.features import Fbank
from asr.losses import Topology, TransducerLossConfig
from asr.models.transducer import Transducer, TransducerConfig
from asr.models.zipformer import ZipformerConfig
from asr.nn.chunks import ChunkContext
from asr.optim import ScaledAdam, ScaledAdamConfig, parameter_groups
from asr.text import train_tokenizer
from asr.training.objective import TransducerObjective
from tests.conftest import DATA_DIR
from tests.models.digits import digits_model

CONTEXT = ChunkContext(chunk_size=16, left_context=64)
METHODS = (SearchMethod.GREEDY, SearchMethod.BEAM, SearchMethod.FAST_BEAM, SearchMethod.CTC_GREEDY)
NUM_STEPS = {"new": 40, "digits": 4}
"""Kinds of models: a small one from random weights, and the trained one of the digits recipe, trained further."""


class Heard(NamedTuple):
    """features: (B, T, 80); lens: (B,); texts: what is said."""

    features: Tensor
    lens: Tensor
    texts: list[str]


def utterances() -> Heard:
    if not DATA_DIR.exists():
        noise = torch.randn(3, 200, 80, generator=torch.Generator().manual_seed(2))
        return Heard(3 * noise - 8, torch.tensor([200, 160, 90]), ["one two", "three one", "two"])
    from tests.models.strings import digit_strings

    spoken = digit_strings(DATA_DIR, count=3)
    samples = [one.samples for one in spoken]
    return Heard(
        *Fbank()(pad_sequence(samples, batch_first=True), torch.tensor(list(map(len, samples)))),
        texts=[one.text for one in spoken],
    )


def small_model(vocab_size: int) -> Transducer:
    encoder = ZipformerConfig(
        embed_channels=[4, 6, 8],
        num_layers=[1, 1],
        downsampling_factors=[1, 2],
        encoder_dims=[16, 24],
        unmasked_dims=[12, 16],
        feedforward_dims=[24, 32],
        num_heads=[2, 2],
        cnn_kernels=[15, 15],
        query_head_dim=6,
        value_head_dim=4,
        pos_head_dim=3,
        pos_dim=16,
        causal=True,
    )
    return Transducer(
        TransducerConfig(encoder=encoder, vocab_size=vocab_size, predictor_dim=16, joiner_dim=16, ctc_head=True)
    )


def train(kind: str, path: Path) -> None:
    """Real steps, on what `decode` hears too."""
    torch.manual_seed(1)
    heard = utterances()
    if kind == "new":
        tokenizer = train_tokenizer("char", heard.texts)
        model = small_model(tokenizer.vocab_size)
    else:
        model, tokenizer, *_ = load_model(digits_model())
    objective = TransducerObjective(model, TransducerLossConfig(topology=Topology.MODIFIED, ctc_scale=0.2))
    optimizer = ScaledAdam(parameter_groups(model), ScaledAdamConfig(lr=0.05 if kind == "new" else 0.002))
    labels = [torch.tensor(tokenizer.encode(text)) for text in heard.texts]
    targets = pad_sequence(labels, batch_first=True), torch.tensor(list(map(len, labels)))
    model.train()
    for step in range(1, NUM_STEPS[kind] + 1):
        objective(heard.features, heard.lens, *targets, step=step, context=CONTEXT).total.backward()
        optimizer.step()
        optimizer.zero_grad()
    save_model(path, model.eval(), tokenizer)


def decode(path: Path) -> dict[str, object]:
    """Encoder frames and the answers of several searches, whole and by steps."""
    loaded, heard = load_model(path), utterances()
    with torch.no_grad():
        frames = loaded.model.encode(heard.features, heard.lens, context=CONTEXT).out
    return {
        "torch": torch.__version__,
        "answers": {method.value: answers(loaded, heard, method) for method in METHODS},
        "frames": frames.flatten()[::7].tolist(),
    }


def answers(loaded: LoadedModel, heard: Heard, method: SearchMethod) -> list[dict[str, object]]:
    """First those of whole utterances, then those of chunks."""
    # With a penalty on blanks even a model that has learnt little says something.
    search = build_search(SearchConfig(method=method, blank_penalty=6.0), loaded.model)
    given = loaded.model, search, heard.features, heard.lens, CONTEXT
    return [asdict(answer) for run in (decode_whole, decode_by_steps) for answer in run(*given)]


if __name__ == "__main__":
    file, *kinds = sys.argv[1:]
    for kind in kinds:
        train(kind, Path(file))
    print(json.dumps(decode(Path(file))))

"""One half of an exchange of checkpoints between versions: train and decode here, or decode what was trained there.

python -m tests.k2.exchange train FILE    a small model, trained for a few steps by this torch
python -m tests.k2.exchange decode FILE   what this torch makes of it, as JSON on standard output
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from asr.checkpoint.model import load_model, save_model
from asr.decoding import SearchConfig, SearchMethod, build_search
from asr.decoding.run import decode_by_steps, decode_whole
from asr.losses import prune_ranges, pruned_joiner_loss, smoothed_transducer_loss
from asr.models.transducer import Transducer, TransducerConfig
from asr.models.zipformer import ZipformerConfig
from asr.nn.chunks import ChunkContext
from asr.optim import ScaledAdam, ScaledAdamConfig, parameter_groups
from asr.text import CharTokenizer

CONTEXT = ChunkContext(chunk_size=16, left_context=64)
TOKENIZER = CharTokenizer.train(["one two three"])


def small_model() -> Transducer:
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
        TransducerConfig(encoder=encoder, vocab_size=TOKENIZER.vocab_size, predictor_dim=16, joiner_dim=16)
    )


def train(path: Path, *, num_steps: int = 40) -> None:
    """Real steps, on noise with labels."""
    torch.manual_seed(1)
    model = small_model()
    optimizer = ScaledAdam(parameter_groups(model), ScaledAdamConfig(lr=0.05))
    features, lens = torch.randn(4, 120, 80), torch.tensor([120, 120, 110, 100])
    labels = [TOKENIZER.encode(text) for text in ("one two", "two three", "three one", "two")]
    tokens = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in labels], batch_first=True)
    token_lens = torch.tensor([len(row) for row in labels])
    for _ in range(num_steps):
        loss(model, features, lens, tokens, token_lens).backward()
        optimizer.step()
        optimizer.zero_grad()
    save_model(path, model.eval(), TOKENIZER)


def loss(model: Transducer, features: Tensor, lens: Tensor, tokens: Tensor, token_lens: Tensor) -> Tensor:
    """Simple and pruned loss, as training adds them up."""
    encoded = model.encode(features, lens, context=CONTEXT)
    out, joiner = encoded.out[:, : int(encoded.lens.max())], model.joiner
    predicted = model.predictor(torch.nn.functional.pad(tokens, (1, 0)), pad_left=True)
    labels = tokens, token_lens, encoded.lens
    simple = smoothed_transducer_loss(
        model.simple_am_proj(out), model.simple_lm_proj(predicted), *labels, lm_scale=0.25
    )
    ranges = prune_ranges(simple.px_grad, simple.py_grad, *labels[1:], 5)
    projected = joiner.encoder_proj(out), joiner.predictor_proj(predicted)
    output = joiner.output_linear.weight, joiner.output_linear.bias
    return 0.5 * simple.loss.sum() + pruned_joiner_loss(*projected, *output, tokens, ranges, *labels[1:]).sum()


def decode(path: Path) -> dict[str, object]:
    """Encoder frames and the answers of several searches, whole and by steps."""
    loaded = load_model(path)
    generator = torch.Generator().manual_seed(2)
    features, lens = torch.randn(3, 160, 80, generator=generator), torch.tensor([160, 131, 90])
    found: dict[str, object] = {}
    for method in (SearchMethod.GREEDY, SearchMethod.BEAM, SearchMethod.FAST_BEAM):
        search = build_search(SearchConfig(method=method, blank_penalty=2.0), loaded.model)
        for run in (decode_whole, decode_by_steps):
            answers = run(loaded.model, search, features, lens, CONTEXT)
            found[f"{method.value} {run.__name__}"] = [asdict(answer) for answer in answers]
    with torch.no_grad():
        encoded = loaded.model.encode(features, lens, context=CONTEXT)
    return {"torch": torch.__version__, "answers": found, "frames": encoded.out.flatten()[::7].tolist()}


if __name__ == "__main__":
    action, file = sys.argv[1:]
    if action == "train":
        train(Path(file))
    else:
        print(json.dumps(decode(Path(file))))

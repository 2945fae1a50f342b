"""Greedy search over exported files in plain onnxruntime: what a client does, without the client."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from asr.export.config import ExportMode
from asr.export.files import ClientFiles
from asr.export.runtime import Graph

_BLANK = 0
_UNKNOWN = "<unk>"


@dataclass(kw_only=True)
class Emissions:
    """Token ids, and the encoder frames (25 Hz) at which they were emitted."""

    tokens: list[int] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)


class GraphSearch:
    """The graphs of one export, loaded once."""

    def __init__(self, files: ClientFiles):
        self._encode = _encode_steps if files.mode is ExportMode.STREAMING else _encode_whole
        self._encoder, *self._transducer = (Graph(path) for path in files.models.values())
        self._unknown_id = _unknown_id(files.tokens)

    def __call__(self, features: Tensor) -> Emissions:
        """Decode one recording's features, (T, 80), at most one token per frame.

        As in sherpa-onnx, a transducer's `<unk>` counts as blank, and streaming files are stepped: what does not fill
        a step is dropped.
        """
        out = self._encode(self._encoder, features)
        if not self._transducer:
            return _collapse(out)
        decoder, joiner = self._transducer
        return _search(out, decoder, joiner, self._unknown_id)


def num_steps(num_frames: int, step: int, stride: int) -> int:
    """Steps that sherpa-onnx takes: it wants more frames to be there than a step reads."""
    return max(-(-(num_frames - step) // stride), 0)


def _encode_steps(encoder: Graph, features: Tensor) -> Tensor:
    """(T, 80) to (T', J or V)."""
    step, stride = int(encoder.metadata["T"]), int(encoder.metadata["decode_chunk_len"])
    states = encoder.empty_states(1)
    outputs = []
    for index in range(num_steps(len(features), step, stride)):
        out, *states = encoder(features[None, index * stride : index * stride + step], *states)
        outputs.append(out[0])
    return torch.cat(outputs) if outputs else torch.zeros(0, encoder.outputs[0][1][-1])


def _encode_whole(encoder: Graph, features: Tensor) -> Tensor:
    out, lens = encoder(features[None], torch.tensor([len(features)]))
    return out[0, : int(lens)]


def _search(encoder_out: Tensor, decoder: Graph, joiner: Graph, unknown_id: int) -> Emissions:
    context = [-1] * (int(decoder.metadata["context_size"]) - 1) + [_BLANK]
    found = Emissions()
    prediction = decoder(torch.tensor([context]))[0]
    for frame, projected in enumerate(encoder_out):
        token = int(joiner(projected[None], prediction)[0].argmax())
        if token in (_BLANK, unknown_id):
            continue
        found.tokens.append(token)
        found.frames.append(frame)
        context = [*context[1:], token]
        prediction = decoder(torch.tensor([context]))[0]
    return found


def _collapse(log_probs: Tensor) -> Emissions:
    """The best symbol of each frame of (T', V), without repeats and blanks."""
    found, last = Emissions(), _BLANK
    for frame, token in enumerate(log_probs.argmax(dim=-1).tolist()):
        if token not in (_BLANK, last):
            found.tokens.append(token)
            found.frames.append(frame)
        last = token
    return found


def _unknown_id(tokens: Path) -> int:
    rows = (line.split() for line in tokens.read_text(encoding="utf-8").splitlines())
    return next((int(index) for symbol, index in rows if symbol == _UNKNOWN), -1)

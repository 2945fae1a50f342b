"""A new run that starts from the weights of another, as far as they fit."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from asr.checkpoint.format import read_checkpoint
from asr.checkpoint.model import KIND, find_checkpoint
from asr.errors import CheckpointError
from asr.models.transducer import Transducer
from asr.text import Tokenizer, tokenizer_from_state


class WarmStart(NamedTuple):
    """Names of tensors: taken as they are; taken for the symbols that both vocabularies have; left as initialised."""

    path: Path
    taken: list[str]
    by_symbol: list[str]
    left: list[str]
    common_symbols: int

    def sentence(self) -> str:
        """What was taken, in words."""
        said = f"warm start from {self.path}: took {len(self.taken)} tensors as they are"
        if self.by_symbol:
            said += f", the rows of {self.common_symbols} common symbols of {', '.join(self.by_symbol)}"
        return f"{said}; left as initialised: {', '.join(self.left) or 'none'}"


@torch.no_grad()
def warm_start(model: Transducer, tokenizer: Tokenizer, path: Path) -> WarmStart:
    """Copy every tensor that has the same name and shape, and of those with a row per symbol the common symbols'.

    Args:
        model: freshly initialised; changed in place.
        tokenizer: its vocabulary.
        path: a checkpoint, or the folder of a run.
    Raises:
        CheckpointError: there is no model, or not one of its tensors fits.
    """
    path = find_checkpoint(path)
    checkpoint = read_checkpoint(path, parts=("model",))
    if checkpoint.metadata.get("kind") != KIND:
        raise CheckpointError(f"training.warm_start={path} holds no model; give a checkpoint of `asr train`")
    theirs = tokenizer_from_state(checkpoint.metadata["tokenizer"]).symbols
    rows = _common_rows(tokenizer.symbols, theirs)
    found = WarmStart(path, [], [], [], len(rows[0]))
    given = checkpoint.part("model")
    for name, tensor in model.state_dict().items():
        other = given.get(name)
        if other is not None and _has_rows(name, tensor, other, len(tokenizer.symbols), len(theirs)):
            tensor[rows[0]] = other[rows[1]].to(tensor)
            (found.taken if tokenizer.symbols == theirs else found.by_symbol).append(name)
        elif other is not None and other.shape == tensor.shape:
            tensor.copy_(other)
            found.taken.append(name)
        else:
            found.left.append(name)
    if not found.taken:
        raise CheckpointError(f"training.warm_start={path}: not one tensor fits this model; give one of its shape")
    return found


_SYMBOL_ROWS = {
    "predictor.embedding",
    "joiner.output_linear",
    "simple_am_proj",
    "simple_lm_proj",
    "ctc_head.linear",
    "attention_decoder.embedding",
    "attention_decoder.output",
}


def _has_rows(name: str, tensor: Tensor, other: Tensor, ours: int, theirs: int) -> bool:
    """Whether a tensor has a row per symbol, and both are otherwise of one shape."""
    per_symbol = name.rpartition(".")[0] in _SYMBOL_ROWS
    return per_symbol and (len(tensor), len(other)) == (ours, theirs) and tensor.shape[1:] == other.shape[1:]


def _common_rows(ours: list[str], theirs: list[str]) -> tuple[list[int], list[int]]:
    """Rows of the symbols that both have, here and there."""
    there = {symbol: row for row, symbol in enumerate(theirs)}
    pairs = [(row, there[symbol]) for row, symbol in enumerate(ours) if symbol in there]
    return [here for here, _ in pairs], [row for _, row in pairs]

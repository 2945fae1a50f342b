"""torch's recurrent layers as bodies of an encoder: a chunk is whatever has arrived, their state all they remember.

Sources: Hochreiter and Schmidhuber 1997, "Long short-term memory"; Cho et al. 2014, arXiv 1406.1078 (GRU).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from asr.models.recurrent.config import GruConfig, LstmConfig, RecurrentConfig
from asr.nn.biasnorm import BiasNorm
from asr.nn.chunks import ChunkContext


class LstmState(NamedTuple):
    """Both (B, layers, C)."""

    hidden: Tensor
    cell: Tensor


class _Recurrent(nn.Module):
    """Layers of `cell`, batch first; a row's valid frames come before its padding, so nothing need be masked.

    Each layer adds to its normalised input. Bare layers answer hardly louder than noise at first, the more so the
    deeper they are stacked, and do not begin to learn.
    """

    stride, lookahead, supports_step = 1, 0, True

    def __init__(self, config: RecurrentConfig, cell: type[nn.LSTM] | type[nn.GRU]):
        super().__init__()
        self.output_dim = config.dim
        self.norms = nn.ModuleList(BiasNorm(config.dim) for _ in range(config.num_layers))
        layers = nn.ModuleList(cell(config.dim, config.dim, batch_first=True) for _ in range(config.num_layers))
        self.layers: Sequence[nn.LSTM | nn.GRU] = layers  # type: ignore[assignment]
        self.dropout = nn.Dropout(config.dropout)
        self.out_norm = BiasNorm(config.dim)

    def _nothing(self, batch_size: int, device: torch.device | None) -> Tensor:
        return torch.zeros(batch_size, len(self.layers), self.output_dim, device=device)

    def _run(self, x: Tensor, states: Sequence[Any]) -> tuple[Tensor, list[Any]]:
        """x (B, T, C), and a state for each layer as torch wants it, to (B, T, C) and the next states."""
        after = []
        for norm, layer, state in zip(self.norms, self.layers, states):
            out, state = layer(norm(x), state)
            x = x + self.dropout(out)
            after.append(state)
        return self.out_norm(x), after


class Lstm(_Recurrent):
    """LSTM layers."""

    def __init__(self, config: LstmConfig):
        super().__init__(config, nn.LSTM)

    def init_state(self, batch_size: int, context: ChunkContext | None, device: torch.device | None) -> LstmState:
        """An empty past, the same for steps and whole utterances."""
        return LstmState(self._nothing(batch_size, device), self._nothing(batch_size, device))

    def forward(self, x: Tensor, lens: Tensor, state: LstmState) -> tuple[Tensor, LstmState]:
        """x (B, T, C) to (B, T, C) and the next state."""
        out, after = self._run(x, list(zip(per_layer(state.hidden), per_layer(state.cell))))
        return out, LstmState(*(torch.cat(leaves).transpose(0, 1) for leaves in zip(*after)))


class Gru(_Recurrent):
    """GRU layers."""

    def __init__(self, config: GruConfig):
        super().__init__(config, nn.GRU)

    def init_state(self, batch_size: int, context: ChunkContext | None, device: torch.device | None) -> Tensor:
        """An empty past, (B, layers, C)."""
        return self._nothing(batch_size, device)

    def forward(self, x: Tensor, lens: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, T, C) to (B, T, C) and the next state."""
        out, after = self._run(x, per_layer(state))
        return out, torch.cat(after).transpose(0, 1)


def per_layer(state: Tensor) -> list[Tensor]:
    """(B, layers, C) as torch's recurrent layers want it, (1, B, C) for each."""
    return [layer.contiguous() for layer in state.transpose(0, 1).split(1)]

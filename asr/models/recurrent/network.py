"""torch's recurrent layers as bodies of an encoder: a chunk is whatever has arrived, their state all they remember.

Sources: Hochreiter and Schmidhuber 1997, "Long short-term memory"; Cho et al. 2014, arXiv 1406.1078 (GRU).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from asr.models.recurrent.config import GruConfig, LstmConfig, RecurrentConfig
from asr.nn.chunks import ChunkContext


class LstmState(NamedTuple):
    """Both (B, layers, C)."""

    hidden: Tensor
    cell: Tensor


class _Recurrent(nn.Module):
    """Layers of `cell`, batch first; a row's valid frames come before its padding, so nothing need be masked."""

    stride, lookahead, supports_step = 1, 0, True

    def __init__(self, config: RecurrentConfig, cell: type[nn.LSTM] | type[nn.GRU]):
        super().__init__()
        self.shape = config.num_layers, config.hidden_dim
        dropout = config.dropout if config.num_layers > 1 else 0.0  # torch warns where nothing lies between
        self.layers = cell(config.dim, config.hidden_dim, config.num_layers, batch_first=True, dropout=dropout)

    @property
    def output_dim(self) -> int:
        return self.shape[1]

    def _nothing(self, batch_size: int, device: torch.device | None) -> Tensor:
        return torch.zeros(batch_size, *self.shape, device=device)


class Lstm(_Recurrent):
    """LSTM layers."""

    def __init__(self, config: LstmConfig):
        super().__init__(config, nn.LSTM)

    def init_state(self, batch_size: int, context: ChunkContext | None, device: torch.device | None) -> LstmState:
        """An empty past, the same for steps and whole utterances."""
        return LstmState(self._nothing(batch_size, device), self._nothing(batch_size, device))

    def forward(self, x: Tensor, lens: Tensor, state: LstmState) -> tuple[Tensor, LstmState]:
        """x (B, T, C) to (B, T, hidden_dim) and the next state."""
        out, after = self.layers(x, tuple(layers_first(leaf) for leaf in state))
        return out, LstmState(*(leaf.transpose(0, 1) for leaf in after))


class Gru(_Recurrent):
    """GRU layers."""

    def __init__(self, config: GruConfig):
        super().__init__(config, nn.GRU)

    def init_state(self, batch_size: int, context: ChunkContext | None, device: torch.device | None) -> Tensor:
        """An empty past, (B, layers, hidden_dim)."""
        return self._nothing(batch_size, device)

    def forward(self, x: Tensor, lens: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, T, C) to (B, T, hidden_dim) and the next state."""
        out, after = self.layers(x, layers_first(state))
        return out, after.transpose(0, 1)


def layers_first(state: Tensor) -> Tensor:
    """(B, layers, C) as torch's recurrent layers want it, (layers, B, C)."""
    return state.transpose(0, 1).contiguous()

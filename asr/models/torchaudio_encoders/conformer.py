"""torchaudio's Conformer as the body of an encoder.

Source: Gulati et al. 2020, arXiv 2005.08100, as torchaudio.models.Conformer has it (without relative positions).
"""

from __future__ import annotations

from contextvars import ContextVar

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from asr.models.torchaudio_encoders.config import ConformerConfig
from asr.nn.chunks import ChunkContext
from asr.tensors import pad_mask

_PADDING: ContextVar[Tensor] = ContextVar("padding of the batch at hand, (B, 1, T)")


class Conformer(nn.Module):
    """Attention over the whole utterance, and convolutions that look ahead: it cannot stream."""

    stride, lookahead, supports_step = 1, 0, False

    def __init__(self, config: ConformerConfig):
        super().__init__()
        from torchaudio.models import Conformer as Layers  # here, for not every model needs it

        self.output_dim = config.dim
        self.layers = Layers(
            config.dim,
            config.num_heads,
            config.feedforward_dim,
            config.num_layers,
            config.kernel_size,
            dropout=config.dropout,
        )
        for module in self.layers.modules():
            if isinstance(module, nn.Conv1d) and module.groups > 1:
                module.register_forward_pre_hook(_without_padding)

    def init_state(self, batch_size: int, context: ChunkContext | None, device: torch.device | None) -> tuple[()]:
        """Nothing is remembered."""
        return ()

    def forward(self, x: Tensor, lens: Tensor, state: tuple[()]) -> tuple[Tensor, tuple[()]]:
        """x (B, T, C), lens (B,) to (B, T, C)."""
        lens = lens.clamp(min=1)
        frames = int(lens.max())  # torchaudio takes the longest row for the width of the batch
        token = _PADDING.set(pad_mask(lens, frames).unsqueeze(1))
        try:
            out, _ = self.layers(x[:, :frames], lens)
        finally:
            _PADDING.reset(token)
        return pad(out, (0, 0, 0, x.shape[1] - frames)), state


def _without_padding(conv: nn.Module, inputs: tuple[Tensor]) -> Tensor:
    """Before a depthwise convolution, (B, C, T): torchaudio's would mix padding into a row's last frames."""
    return inputs[0].masked_fill(_PADDING.get(), 0.0)

"""A transducer as a search sees it: contexts in, log-probabilities of the next symbol out."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from asr.decoding.config import SearchConfig
from asr.models.transducer.joiner import Joiner
from asr.models.transducer.predictor import Predictor


class TransducerModel(Protocol):
    """The parts of a model that its search uses."""

    predictor: Predictor
    joiner: Joiner


class TransducerScorer:
    """Scores symbols with a model's `predictor` and `joiner`; it holds no state of any stream.

    A frame is projected once, a context whenever it changes; only the sum, tanh and output layer run at every step.
    """

    def __init__(self, model: TransducerModel, cfg: SearchConfig):
        self.predictor = model.predictor
        self.joiner = model.joiner
        self.blank_id: int = model.predictor.blank_id
        self.context_size: int = model.predictor.context_size
        self._cfg = cfg

    def start(self, batch_size: int, device: torch.device | str) -> tuple[Tensor, Tensor]:
        """Contexts before any token, (B, context_size), and their projected predictions, (B, J)."""
        context = self.predictor.start_context(batch_size, device)
        return context, self.predict(context)

    def project_frames(self, encoder_out: Tensor) -> Tensor:
        """Encoder frames (B, T, C) as the joiner adds them, (B, T, J)."""
        return self.joiner.encoder_proj(encoder_out)

    def predict(self, context: Tensor) -> Tensor:
        """Contexts (R, context_size) as the joiner adds them, (R, J)."""
        return self.joiner.predictor_proj(self.predictor(context, pad_left=False).squeeze(1))

    def log_probs(self, frame: Tensor, prediction: Tensor) -> Tensor:
        """Log-probabilities (..., V) in float32 from a projected frame and a projected prediction, (..., J) each."""
        return normalise(self.joiner(frame, prediction, project=False), self.blank_id, self._cfg)

    def advance_context(
        self, context: Tensor, prediction: Tensor, symbol: Tensor, emitted: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Push `symbol` (R,) onto the contexts (R, context_size) of rows that `emitted`, predicting anew only there."""
        rows = emitted.nonzero().squeeze(1)
        if rows.numel() == 0:
            return context, prediction
        renewed = torch.cat([context[rows, 1:], symbol[rows].unsqueeze(1)], dim=1)
        return context.index_copy(0, rows, renewed), prediction.index_copy(0, rows, self.predict(renewed))


def normalise(logits: Tensor, blank_id: int, cfg: SearchConfig) -> Tensor:
    """Log-probabilities (..., V) from logits: first the blank penalty, then the temperature."""
    logits = logits.float()
    if cfg.blank_penalty:
        penalty = torch.zeros(logits.shape[-1], device=logits.device)
        penalty[blank_id] = cfg.blank_penalty
        logits = logits - penalty
    return (logits / cfg.temperature).log_softmax(-1)

"""From a batch to a loss: what training minimises."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn.functional import pad

from asr.losses import (
    LossScales,
    TransducerLossConfig,
    ctc_loss,
    loss_scales,
    prune_ranges,
    pruned_joiner_loss,
    smoothed_transducer_loss,
)
from asr.models.transducer import EncoderOutput, Transducer
from asr.nn.chunks import ChunkContext


class Loss(NamedTuple):
    """total: what is minimised, summed over utterances, (); parts: sums of each loss by name, detached."""

    total: Tensor
    parts: dict[str, Tensor]


class TransducerObjective(nn.Module):
    """Simple, pruned and CTC losses of a batch, weighted for the step; owns the model so that wrappers see one forward.

    Source: pruned RNN-T, arXiv 2206.13236.
    """

    def __init__(self, model: Transducer, config: TransducerLossConfig):
        super().__init__()
        self.model = model
        self.config = config

    def forward(
        self,
        features: Tensor,
        feature_lens: Tensor,
        tokens: Tensor,
        token_lens: Tensor,
        *,
        step: int,
        context: ChunkContext | None = None,
    ) -> Loss:
        """Work out the loss.

        Args:
            features: (B, T, F), 100 Hz, with lengths (B,).
            tokens: (B, S), padded with blank, with lengths (B,).
            step: this step's number, from 1; losses are weighed by it.
            context: what frames may see; drawn from the encoder's choices where None.
        """
        model = self.model
        context = model.encoder.draw_context() if context is None else context
        encoded = _trimmed(model.encode(features, feature_lens, context=context))
        scales = loss_scales(self.config, step)
        total, parts = self._transducer(encoded, tokens, token_lens, scales)
        if model.ctc_head is not None and scales.ctc > 0:
            parts["ctc"] = ctc_loss(model.ctc_head(encoded.out), encoded.lens, tokens, token_lens).sum()
            total = total + scales.ctc * parts["ctc"]
        return Loss(total, {name: value.detach() for name, value in parts.items()})

    def _transducer(
        self, encoded: EncoderOutput, tokens: Tensor, token_lens: Tensor, scales: LossScales
    ) -> tuple[Tensor, dict[str, Tensor]]:
        model, config = self.model, self.config
        predicted = model.predictor(pad(tokens, (1, 0), value=model.predictor.blank_id), pad_left=True)
        simple = smoothed_transducer_loss(
            model.simple_am_proj(encoded.out),
            model.simple_lm_proj(predicted),
            tokens,
            token_lens,
            encoded.lens,
            lm_scale=config.lm_scale,
            am_scale=config.am_scale,
            topology=config.topology,
            delay_penalty=config.delay_penalty,
            backend=config.backend,
        )
        ranges = prune_ranges(
            simple.px_grad, simple.py_grad, token_lens, encoded.lens, config.prune_range, config.topology
        )
        joiner = model.joiner
        pruned = pruned_joiner_loss(
            joiner.encoder_proj(encoded.out),
            joiner.predictor_proj(predicted),
            joiner.output_linear.weight,
            joiner.output_linear.bias,
            tokens,
            ranges,
            token_lens,
            encoded.lens,
            topology=config.topology,
            delay_penalty=config.delay_penalty,
            backend=config.backend,
        )
        parts = {"simple": simple.loss.sum(), "pruned": pruned.sum()}
        return scales.simple * parts["simple"] + scales.pruned * parts["pruned"], parts


def _trimmed(encoded: EncoderOutput) -> EncoderOutput:
    """Without the frames that only fill up the last chunk."""
    frames = int(encoded.lens.max())
    return encoded._replace(out=encoded.out[:, :frames])

"""From a batch to a loss: what training minimises."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from asr.losses import (
    LossScales,
    TransducerLossConfig,
    consistency_loss,
    ctc_loss,
    loss_scales,
    prune_ranges,
    pruned_joiner_loss,
    smoothed_cross_entropy,
    smoothed_transducer_loss,
)
from asr.models.transducer import EncoderOutput, Transducer
from asr.nn.chunks import ChunkContext
from asr.training.consistency import ConsistencyConfig, two_views


class Loss(NamedTuple):
    """total: what is minimised, summed over utterances, (); parts: sums of each loss by name, detached."""

    total: Tensor
    parts: dict[str, Tensor]


class Term(NamedTuple):
    """One loss of a batch, summed over its utterances, and its weight."""

    name: str
    scale: float
    value: Tensor


class Targets(NamedTuple):
    """tokens: (B, S), padded with blank; lens: (B,)."""

    tokens: Tensor
    lens: Tensor


class TransducerObjective(nn.Module):
    """The weighted losses of whatever heads a model has; owns the model so that wrappers see one forward.

    With `consistency` every utterance is heard twice, differently masked, and all losses count half.

    Source: pruned RNN-T, arXiv 2206.13236; CR-CTC, arXiv 2410.05101.
    """

    def __init__(
        self, model: Transducer, config: TransducerLossConfig, consistency: ConsistencyConfig | None = None
    ) -> None:
        super().__init__()
        self.model = model
        self.config = config
        self.consistency = consistency

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
        context = self.model.encoder.draw_context() if context is None else context
        consistency = self.consistency if self.training else None
        delay = 0
        if consistency is not None:
            features, feature_lens, delay = two_views(features, feature_lens, consistency)
            tokens, token_lens = tokens.repeat(2, 1), token_lens.repeat(2)
        encoded = _trimmed(self.model.encode(features, feature_lens, context=context))
        terms = self._terms(encoded, Targets(tokens, token_lens), step, consistency, delay)
        share = 1.0 if consistency is None else 0.5
        total = torch.stack([share * term.scale * term.value for term in terms]).sum()
        return Loss(total, {term.name: (share * term.value).detach() for term in terms})

    def _terms(
        self, encoded: EncoderOutput, targets: Targets, step: int, consistency: ConsistencyConfig | None, delay: int
    ) -> list[Term]:
        """The losses of all heads; `delay` is that of the second copies, where there are two."""
        model, scales, terms = self.model, loss_scales(self.config, step), []
        if model.has_transducer:
            terms += self._transducer(encoded, targets.tokens, targets.lens, scales)
        if model.ctc_head is not None and (scales.ctc > 0 or consistency is not None):
            log_probs = model.ctc_head(encoded.out)
            terms.append(Term("ctc", scales.ctc, ctc_loss(log_probs, encoded.lens, *targets).sum()))
            if consistency is not None:
                disagreement = consistency_loss(log_probs, encoded.lens, delay=delay).sum()
                terms.append(Term("consistency", consistency.scale_at(step), disagreement))
        if model.attention_decoder is not None and scales.attention > 0:
            terms.append(Term("attention", scales.attention, self._attention(encoded, targets)))
        return terms

    def _attention(self, encoded: EncoderOutput, targets: Targets) -> Tensor:
        decoder = self.model.attention_decoder
        assert decoder is not None
        logits = decoder(encoded.out, encoded.lens, *targets)
        wanted = decoder.targets(*targets)
        return smoothed_cross_entropy(logits, wanted, smoothing=self.config.label_smoothing).sum()

    def _transducer(self, encoded: EncoderOutput, tokens: Tensor, token_lens: Tensor, scales: LossScales) -> list[Term]:
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
            fastemit=config.fastemit,
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
            fastemit=config.fastemit,
            backend=config.backend,
        )
        return [Term("simple", scales.simple, simple.loss.sum()), Term("pruned", scales.pruned, pruned.sum())]


def _trimmed(encoded: EncoderOutput) -> EncoderOutput:
    """Without the frames that only fill up the last chunk."""
    frames = int(encoded.lens.max())
    return encoded._replace(out=encoded.out[:, :frames])

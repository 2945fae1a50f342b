"""The transducer: encoder, predictor and joiner, with the small heads that training adds.

Source: Graves 2012, "Sequence transduction with recurrent neural networks"; the simple projections are those of
pruned RNN-T, arXiv 2206.13236, section 3.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from asr.errors import ConfigError
from asr.models.encoder import EncoderConfig
from asr.models.encoders import KINDS, build_encoder, kind_of
from asr.models.transducer.attention_decoder import AttentionDecoder, AttentionDecoderConfig
from asr.models.transducer.joiner import Joiner
from asr.models.transducer.predictor import Predictor
from asr.models.zipformer import ZipformerConfig
from asr.nn.chunks import ChunkContext
from asr.nn.feature_norm import FeatureNorm
from asr.nn.linear import Linear, scaled_linear
from asr.tensors import shared_like


@dataclass(kw_only=True)
class TransducerConfig:
    """Everything that fixes a model's shape; a checkpoint carries it."""

    encoder: EncoderConfig = field(default_factory=ZipformerConfig)
    """The encoder, of any kind."""
    vocab_size: int = 500
    """Output symbols, blank included."""
    context_size: int = 2
    """Tokens that the predictor looks back on."""
    predictor_dim: int = 512
    """Width of the predictor."""
    joiner_dim: int = 512
    """Width of the joiner."""
    transducer: bool = True
    """Whether there are a predictor and a joiner; without them the other heads do the work."""
    ctc_head: bool = False
    """Whether there is a CTC head."""
    attention_decoder: AttentionDecoderConfig | None = None
    """An attention decoder for training and rescoring; null is none."""

    def __post_init__(self) -> None:
        if self.vocab_size < 2:
            raise ConfigError(
                f"model.vocab_size={self.vocab_size} leaves no symbol beside the blank; take the tokenizer's"
            )
        for name in ("context_size", "predictor_dim", "joiner_dim"):
            if getattr(self, name) < 1:
                raise ConfigError(f"model.{name}={getattr(self, name)} must be at least 1")
        if not (self.transducer or self.ctc_head):
            raise ConfigError("model.transducer=false leaves no head to decode with; set model.ctc_head=true")


class EncoderOutput(NamedTuple):
    """out: (B, T, C) at 25 Hz; lens: valid frames, (B,); state: what the next step needs."""

    out: Tensor
    lens: Tensor
    state: Any


class CtcHead(nn.Module):
    """Log-probabilities per encoder frame. Source: Graves et al. 2006, "Connectionist temporal classification"."""

    def __init__(self, encoder_dim: int, vocab_size: int):
        super().__init__()
        self.dropout = nn.Dropout(0.1)
        self.linear = Linear(encoder_dim, vocab_size)

    def forward(self, encoder_out: Tensor) -> Tensor:
        """(B, T, C) to log-probabilities (B, T, V)."""
        return self.linear(self.dropout(encoder_out)).float().log_softmax(dim=-1)


class Transducer(nn.Module):
    """Features in, everything that losses and searches need out.

    A model with `transducer=False` lacks the parts of the transducer; its CTC head does the work.
    """

    predictor: Predictor
    joiner: Joiner

    def __init__(self, config: TransducerConfig):
        super().__init__()
        self.config = config
        dim, vocab = config.encoder.output_dim, config.vocab_size
        self.feature_norm = FeatureNorm(config.encoder.feature_dim)
        self.encoder = build_encoder(config.encoder)
        if config.transducer:
            self.predictor = Predictor(vocab, config.predictor_dim, config.context_size)
            self.joiner = Joiner(dim, config.predictor_dim, config.joiner_dim, vocab)
            self.simple_am_proj = scaled_linear(dim, vocab, scale=0.25)
            self.simple_lm_proj = scaled_linear(config.predictor_dim, vocab, scale=0.25)
        self.ctc_head = CtcHead(dim, vocab) if config.ctc_head else None
        attention = config.attention_decoder
        self.attention_decoder = None if attention is None else AttentionDecoder(attention, dim, vocab)

    @property
    def has_transducer(self) -> bool:
        """Whether there are a predictor and a joiner."""
        return self.config.transducer

    def init_state(self, batch_size: int, context: ChunkContext) -> Any:
        """An empty past for streaming under `context`; every leaf has the batch first."""
        return self.encoder.init_state(batch_size, context, device=self.feature_norm.mean.device)

    def encode(self, x: Tensor, x_lens: Tensor, *, context: ChunkContext, state: Any = None) -> EncoderOutput:
        """Encode features as they come from the front of the house, un-normalised.

        Args:
            x: (B, T, F) at 100 Hz. Without `state` whole utterances, any T; with it one step, T = 2 S + lookahead.
            x_lens: valid frames, (B,).
            context: what each frame may see.
            state: from `init_state` or the last step.
        """
        x = self.feature_norm(x)
        if state is None:
            x = self.encoder.pad_whole(x, context)
            state = self.encoder.init_state(x.shape[0], device=x.device)
        return EncoderOutput(*self.encoder(x, x_lens, state, context))


def model_config_from_dict(values: dict[str, Any]) -> TransducerConfig:
    """Rebuild a configuration from the plain dict that a checkpoint carries.

    Raises ConfigError, naming it, for a key this version does not know.
    """
    try:
        inner, shape = dict(values), dict(values["encoder"])
        del inner["encoder"]
        kind = shape.pop("kind", "zipformer")  # checkpoints from before there was a choice do not say
        if kind not in KINDS:
            raise ConfigError(f"the model's encoder is a {kind}, which this version does not know; upgrade Rill")
        _check_known(inner, TransducerConfig)
        if attention := inner.pop("attention_decoder", None):
            _check_known(attention, AttentionDecoderConfig)
            inner["attention_decoder"] = AttentionDecoderConfig(**attention)
        _check_known(shape, KINDS[kind])
        return TransducerConfig(encoder=KINDS[kind](**shape), **inner)
    except (KeyError, TypeError) as error:
        raise ConfigError(f"the model's configuration does not fit this version: {error}") from error


def _check_known(values: dict[str, Any], schema: type) -> None:
    if unknown := sorted(set(values) - {item.name for item in fields(schema)}):
        raise ConfigError(f"the model has the setting {unknown[0]}, which this version does not know; upgrade Rill")


def model_config_to_dict(config: TransducerConfig) -> dict[str, Any]:
    """Plain, JSON-able values, among them the encoder's kind."""
    values = asdict(config)
    values["encoder"]["kind"] = kind_of(config.encoder)
    return values


def count_parameters(module: nn.Module | None) -> int:
    """Number of trained values."""
    return 0 if module is None else sum(parameter.numel() for parameter in module.parameters())


@torch.no_grad()
def copy_weights(model: Transducer, weights: dict[str, Tensor]) -> None:
    """Load weights by name, strictly, apart from the feature statistics, which imported models do not have.

    Raises ConfigError naming the first missing, unknown or misshapen tensor.
    """
    wanted = model.state_dict()
    optional = {"feature_norm.mean", "feature_norm.deviation"}
    missing = sorted(set(wanted) - set(weights) - optional)
    unknown = sorted(set(weights) - set(wanted))
    if missing or unknown:
        what = f"has no {missing[0]}" if missing else f"holds {unknown[0]}, which the model lacks"
        raise ConfigError(f"the weights do not fit the model: the file {what}; was it made with another config?")
    for name, tensor in weights.items():
        if tensor.shape != wanted[name].shape:
            shapes = f"{tuple(tensor.shape)}, not {tuple(wanted[name].shape)}"
            raise ConfigError(f"the weights do not fit the model: {name} is {shapes}; was it made with another config?")
    model.load_state_dict({name: shared_like(tensor, wanted[name]) for name, tensor in weights.items()}, strict=False)

"""What stands on the exported encoder: the joiner's projection, or the CTC head."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from asr.decoding import SearchMethod
from asr.errors import ExportError
from asr.export.config import ExportConfig, ExportHead
from asr.models.transducer import Transducer


@dataclass(frozen=True, kw_only=True)
class OutputHead:
    """The last layer of an encoder's graph, and what the client calls the outcome."""

    kind: ExportHead
    module: nn.Module
    """Encoder frames (N, T, C) to (N, T, width)."""
    width: int
    output: str
    """Name of its output."""
    lens: str
    """Name of the lengths beside it, offline."""
    method: SearchMethod
    """The library's search that does as the client does."""


def output_head(model: Transducer, config: ExportConfig) -> OutputHead:
    """The head that `config` asks for; raises ExportError where the model has none of this kind."""
    default = ExportHead.TRANSDUCER if model.has_transducer else ExportHead.CTC
    match config.head or default:
        case ExportHead.TRANSDUCER if model.has_transducer:
            return OutputHead(
                kind=ExportHead.TRANSDUCER,
                module=model.joiner.encoder_proj,
                width=model.config.joiner_dim,
                output="encoder_out",
                lens="encoder_out_lens",
                method=SearchMethod.GREEDY,
            )
        case ExportHead.CTC if model.ctc_head is not None:
            return OutputHead(
                kind=ExportHead.CTC,
                module=model.ctc_head,
                width=model.config.vocab_size,
                output="log_probs",
                lens="log_probs_len",
                method=SearchMethod.CTC_GREEDY,
            )
        case wanted:
            raise ExportError(f"export.head={wanted.name}, but the model has only the other head; use {_OTHER[wanted]}")


_OTHER = {ExportHead.TRANSDUCER: ExportHead.CTC.name, ExportHead.CTC: ExportHead.TRANSDUCER.name}

"""The files that a client loads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from asr.export.config import ExportMode


@dataclass(frozen=True, kw_only=True)
class ClientFiles:
    """Paths of one exported model, and how it listens."""

    mode: ExportMode
    encoder: Path
    """With a CTC head in it where there is no decoder."""
    decoder: Path | None
    joiner: Path | None
    tokens: Path

    @property
    def models(self) -> dict[str, Path]:
        """The graphs, by the names that the client has for them."""
        if self.decoder is None or self.joiner is None:
            return {"model": self.encoder}
        return {"encoder": self.encoder, "decoder": self.decoder, "joiner": self.joiner}

    @property
    def constructor(self) -> str:
        """The client's function that loads them."""
        if self.decoder is not None:
            return "from_transducer"
        return "from_zipformer2_ctc" if self.mode is ExportMode.STREAMING else "from_zipformer_ctc"

"""What every tokenizer offers, and the three ids that open every vocabulary."""

from __future__ import annotations

from typing import Any, Protocol

BLANK, SOS_EOS, UNKNOWN = "<blk>", "<sos/eos>", "<unk>"
SPECIAL_SYMBOLS = [BLANK, SOS_EOS, UNKNOWN]
"""The first symbols of every vocabulary, ids 0, 1 and 2."""
UNKNOWN_ID = 2
WORD_START = "▁"
"""U+2581: stands for the space before a word, so that no symbol holds white space."""


class Tokenizer(Protocol):
    """Text to ids and back. The vocabulary is fixed; ids are positions in `symbols`."""

    @property
    def symbols(self) -> list[str]: ...

    @property
    def vocab_size(self) -> int: ...

    def encode(self, text: str, *, strict: bool = False) -> list[int]:
        """Ids of `text`; unknown characters become `<unk>`, or with `strict` raise TokenizerError."""
        ...

    def decode(self, ids: list[int]) -> str:
        """Text of `ids`; blank and sos/eos are left out."""
        ...

    def to_state(self) -> dict[str, Any]:
        """Everything `tokenizer_from_state` needs, as JSON-able plain data."""
        ...

"""Characters as units, with a symbol for the start of a word."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from asr.text.tokenizer import SPECIAL_SYMBOLS, WORD_START, check_symbols, join_pieces, lookup


class CharTokenizer:
    """One symbol per character and one, `▁`, before each word.

    `word_boundary=False` leaves the boundary out and drops all white space: for scripts written without spaces.
    """

    kind = "char"

    def __init__(self, symbols: Sequence[str], *, word_boundary: bool = True) -> None:
        self.symbols = check_symbols(symbols)
        self.vocab_size = len(self.symbols)
        self.word_boundary = word_boundary
        self._ids = {symbol: index for index, symbol in enumerate(self.symbols)}

    @classmethod
    def train(cls, texts: Iterable[str], *, word_boundary: bool = True) -> CharTokenizer:
        """Every character of `texts`, sorted, so that the same text in another order gives the same ids."""
        characters = {character for text in texts for word in text.split() for character in word} - {WORD_START}
        boundary = [WORD_START] if word_boundary else []
        return cls([*SPECIAL_SYMBOLS, *boundary, *sorted(characters)], word_boundary=word_boundary)

    def encode(self, text: str, *, strict: bool = False) -> list[int]:
        """Ids of the characters, each word opened by the boundary."""
        return lookup(self._pieces(text), self._ids, text=text, strict=strict)

    def _pieces(self, text: str) -> list[str]:
        boundary = [WORD_START] if self.word_boundary else []
        # A boundary symbol that the text itself spells is no boundary: as "" it is found in no vocabulary.
        return [p for word in text.split() for p in (*boundary, *("" if c == WORD_START else c for c in word))]

    def decode(self, ids: Sequence[int]) -> str:
        """Text, with a space at each boundary but the first."""
        return join_pieces(ids, self.symbols)

    def to_state(self) -> dict[str, Any]:
        """Kind, symbols and whether words have boundaries."""
        return {"kind": self.kind, "symbols": self.symbols, "word_boundary": self.word_boundary}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> CharTokenizer:
        """The inverse of `to_state`."""
        return cls(state["symbols"], word_boundary=state["word_boundary"])

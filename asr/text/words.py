"""Whole words as units, for small closed vocabularies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from asr.text.tokenizer import SPECIAL_SYMBOLS, UNKNOWN_ID, check_symbols, lookup


class WordTokenizer:
    """One symbol per word; words are what white space separates."""

    kind = "word"

    def __init__(self, symbols: Sequence[str]) -> None:
        self.symbols = check_symbols(symbols)
        self.vocab_size = len(self.symbols)
        self._ids = {symbol: index for index, symbol in enumerate(self.symbols)}

    @classmethod
    def train(cls, texts: Iterable[str]) -> WordTokenizer:
        """Every word of `texts`, sorted, so that the same words give the same ids in whatever order they come."""
        words = {word for text in texts for word in text.split()}
        return cls([*SPECIAL_SYMBOLS, *sorted(words.difference(SPECIAL_SYMBOLS))])

    def encode(self, text: str, *, strict: bool = False) -> list[int]:
        """One id per word."""
        return lookup(text.split(), self._ids, text=text, strict=strict)

    def decode(self, ids: Sequence[int]) -> str:
        """Words joined by single spaces."""
        return " ".join(self.symbols[index] for index in ids if index >= UNKNOWN_ID)

    def to_state(self) -> dict[str, Any]:
        """Kind and symbols."""
        return {"kind": self.kind, "symbols": self.symbols}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> WordTokenizer:
        """The inverse of `to_state`."""
        return cls(state["symbols"])

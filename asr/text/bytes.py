"""Sub-words over the bytes of UTF-8: a few hundred units for a script of thousands of characters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from asr.text.normalise import collapse_spaces, join_cjk
from asr.text.subwords import BpeTokenizer
from asr.text.tokenizer import UNKNOWN, UNKNOWN_ID

# (first byte, last byte, first code point): printable letters that Unicode normalisation leaves alone, as published.
_RANGES = (
    (0, 31, 256),
    (32, 126, 32),
    (127, 144, 288),
    (145, 155, 308),
    (156, 163, 321),
    (164, 216, 330),
    (217, 255, 384),
)
_TO_CHARACTER = {byte: chr(byte - first + start) for first, last, start in _RANGES for byte in range(first, last + 1)}
_TO_BYTE = {character: byte for byte, character in _TO_CHARACTER.items()} | {"⁇": 32}
_CJK = re.compile(r"([ᄀ-ᇿ⺀-꓏ꡀ-힯豈-﫿︰-﹏･-ￜ\U00020000-\U0002FFFF])")


def to_byte_text(text: str) -> str:
    """One printable character per byte of UTF-8; spaces stay."""
    return "".join(_TO_CHARACTER[byte] for byte in collapse_spaces(text).encode("utf-8"))


def from_byte_text(text: str) -> str:
    """The inverse; bytes that form no character, as in a token sequence that breaks off, are left out."""
    return bytes(_TO_BYTE.get(character, 32) for character in text).decode("utf-8", errors="ignore")


class ByteBpeTokenizer:
    """A sentencepiece model over bytes. Text is upper case, and no unit spans two Chinese characters.

    Source: Wang, Cho and Gu 2020, "Neural machine translation with byte-level subwords"; the letters that stand for
    bytes are those of the published Mandarin models.
    """

    kind = "bbpe"

    def __init__(self, subwords: BpeTokenizer) -> None:
        self._subwords = subwords
        self.vocab_size = subwords.vocab_size
        self.symbols = subwords.symbols

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int) -> ByteBpeTokenizer:
        """Train a unigram model of exactly `vocab_size` pieces."""
        return cls(BpeTokenizer.train([_spread(text) for text in texts], vocab_size))

    def encode(self, text: str, *, strict: bool = False) -> list[int]:
        """Ids of the best segmentation."""
        return self._subwords.encode(_spread(text), strict=strict)

    def decode(self, ids: Sequence[int]) -> str:
        """Text, without the spaces between Chinese characters."""
        runs: list[list[int]] = [[]]
        for index in ids:
            runs[-1].append(index) if index != UNKNOWN_ID else runs.append([])
        pieces = (from_byte_text(self._subwords.decode(run)) for run in runs)
        return join_cjk(collapse_spaces(UNKNOWN.join(pieces)))

    def to_state(self) -> dict[str, Any]:
        """Kind, and the sub-word model's state."""
        return {**self._subwords.to_state(), "kind": self.kind}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> ByteBpeTokenizer:
        """The inverse of `to_state`."""
        return cls(BpeTokenizer.from_state(state))


def _spread(text: str) -> str:
    """Upper case, Chinese characters apart, as bytes."""
    return to_byte_text(_CJK.sub(r" \1 ", text.upper()))

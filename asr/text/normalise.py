"""Small transcript normalisers; a corpus composes what it needs."""

from __future__ import annotations

import re
import unicodedata

_DASHES_AND_SLASHES = re.compile(r"[-‐-―/]+")
_NOT_SPOKEN = re.compile(r"[^\w\s']|_")
_LONE_QUOTE = re.compile(r"(?<!\w)'|'(?!\w)")
_BETWEEN_CJK = re.compile(r"(?<=[぀-ヿ㐀-鿿豈-﫿])\s+(?=[぀-ヿ㐀-鿿豈-﫿])")


def collapse_spaces(text: str) -> str:
    """One space for every run of white space; none at the ends."""
    return " ".join(text.split())


def fold_width(text: str) -> str:
    """Full-width letters and digits become ordinary ones, composed characters one code point (Unicode NFKC)."""
    return unicodedata.normalize("NFKC", text)


def strip_punctuation(text: str) -> str:
    """Drop what is not spoken; apostrophes within words stay, dashes and slashes part words."""
    text = _DASHES_AND_SLASHES.sub(" ", text.replace("’", "'"))
    return collapse_spaces(_LONE_QUOTE.sub(" ", _NOT_SPOKEN.sub("", text)))


def join_cjk(text: str) -> str:
    """Remove spaces between two Chinese or Japanese characters; others stay."""
    return _BETWEEN_CJK.sub("", text)


def normalise_english(text: str) -> str:
    """Lower case, no punctuation, single spaces."""
    return strip_punctuation(fold_width(text)).lower()


def normalise_mandarin(text: str) -> str:
    """Ordinary width, upper-case letters, no punctuation, no spaces between Chinese characters."""
    return join_cjk(strip_punctuation(fold_width(text)).upper())

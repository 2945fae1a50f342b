"""What every tokenizer offers, and what all of them share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, Protocol

from asr.errors import TokenizerError

BLANK, SOS_EOS, UNKNOWN = "<blk>", "<sos/eos>", "<unk>"
SPECIAL_SYMBOLS = (BLANK, SOS_EOS, UNKNOWN)
"""The first symbols of every vocabulary: ids 0, 1 and 2."""
UNKNOWN_ID = 2
WORD_START = "▁"
"""U+2581: stands for the space before a word, so that no symbol holds white space."""


class Tokenizer(Protocol):
    """Text to ids and back. The vocabulary is fixed; ids are positions in `symbols`."""

    @property
    def symbols(self) -> list[str]:
        """All symbols, in the order of their ids."""
        ...

    @property
    def vocab_size(self) -> int:
        """Number of symbols, the three special ones included."""
        ...

    def encode(self, text: str, *, strict: bool = False) -> list[int]:
        """Ids of `text`; what the vocabulary lacks becomes `<unk>`, or with `strict` raises TokenizerError."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`; blank and sos/eos are left out, `<unk>` is shown as such."""
        ...

    def to_state(self) -> dict[str, Any]:
        """Everything `tokenizer_from_state` needs, as plain data that JSON can hold."""
        ...


def check_symbols(symbols: Sequence[str]) -> list[str]:
    """Return `symbols` as a list, or raise TokenizerError where they cannot be a vocabulary."""
    if tuple(symbols[:3]) != SPECIAL_SYMBOLS:
        raise TokenizerError(f"a vocabulary must open with {' '.join(SPECIAL_SYMBOLS)}, this one with {symbols[:3]}")
    if len(set(symbols)) != len(symbols):
        twice = next(s for i, s in enumerate(symbols) if s in symbols[:i])
        raise TokenizerError(f"the vocabulary holds {twice!r} twice; every symbol must be unique")
    for symbol in symbols:
        if len(symbol.split()) != 1 or symbol != symbol.strip():
            raise TokenizerError(f"the symbol {symbol!r} is empty or holds white space; use {WORD_START} for a space")
    return list(symbols)


def lookup(pieces: Sequence[str], ids: dict[str, int], *, text: str, strict: bool) -> list[int]:
    """Ids of `pieces`. No text can spell a special symbol: `<blk>` in a transcript is unknown like any other oddity."""
    found = [ids.get(piece, UNKNOWN_ID) for piece in pieces]
    found = [index if index > UNKNOWN_ID else UNKNOWN_ID for index in found]
    if strict and UNKNOWN_ID in found:
        refuse_unknown(text, pieces[found.index(UNKNOWN_ID)])
    return found


def refuse_unknown(text: str, piece: str) -> NoReturn:
    """Raise the TokenizerError for a piece that the vocabulary lacks."""
    raise TokenizerError(
        f"{piece!r} in {text!r} is not in the vocabulary; normalise the transcript or train the tokenizer on it"
    )


def join_pieces(ids: Sequence[int], symbols: Sequence[str]) -> str:
    """Text of pieces in which the word-start symbol stands for a space."""
    kept = [symbols[index] for index in ids if index >= UNKNOWN_ID]
    return "".join(kept).replace(WORD_START, " ").strip()


def write_tokens_txt(tokenizer: Tokenizer, path: Path) -> None:
    """Write one `symbol id` line per symbol, UTF-8, as recognisers such as sherpa-onnx read it."""
    lines = [f"{symbol} {index}\n" for index, symbol in enumerate(check_symbols(tokenizer.symbols))]
    Path(path).write_text("".join(lines), encoding="utf-8")

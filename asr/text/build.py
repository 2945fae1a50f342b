"""Train a tokenizer, or bring one back from its state or file."""

from __future__ import annotations

import json
from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import Any

from asr.errors import TokenizerError
from asr.text.bytes import ByteBpeTokenizer
from asr.text.characters import CharTokenizer
from asr.text.subwords import BpeTokenizer
from asr.text.tokenizer import SPECIAL_SYMBOLS, Tokenizer
from asr.text.words import WordTokenizer


class TokenizerKind(Enum):
    """Units a model can emit."""

    BPE = "bpe"
    BYTE_BPE = "bbpe"
    CHAR = "char"
    WORD = "word"


def train_tokenizer(
    kind: TokenizerKind | str, texts: Iterable[str], vocab_size: int | None = None, *, word_boundary: bool = True
) -> Tokenizer:
    """Make a tokenizer for `texts` (the training transcripts, and no others).

    Args:
        kind: sub-words, sub-words over bytes, characters or words.
        texts: normalised transcripts.
        vocab_size: number of sub-words, special symbols included; the other kinds take what the texts hold.
        word_boundary: characters only: a boundary symbol before each word; False for scripts without spaces.
    Raises:
        TokenizerError: no text, or a vocabulary size that the texts cannot fill.
    """
    texts = [text for text in texts if text.strip()]
    if not texts:
        raise TokenizerError("there is no transcript to train a tokenizer on; give it the training texts")
    match _kind(kind):
        case TokenizerKind.BPE | TokenizerKind.BYTE_BPE as subwords:
            if vocab_size is None or vocab_size <= len(SPECIAL_SYMBOLS):
                raise TokenizerError(f"tokenizer.vocab_size={vocab_size} must be set for sub-words; 500 is usual")
            kind_of = BpeTokenizer if subwords is TokenizerKind.BPE else ByteBpeTokenizer
            return kind_of.train(texts, vocab_size)
        case TokenizerKind.CHAR:
            return CharTokenizer.train(texts, word_boundary=word_boundary)
        case TokenizerKind.WORD:
            return WordTokenizer.train(texts)


def tokenizer_from_state(state: dict[str, Any]) -> Tokenizer:
    """Bring back the tokenizer that `to_state` described."""
    try:
        match _kind(state["kind"]):
            case TokenizerKind.BPE:
                return BpeTokenizer.from_state(state)
            case TokenizerKind.BYTE_BPE:
                return ByteBpeTokenizer.from_state(state)
            case TokenizerKind.CHAR:
                return CharTokenizer.from_state(state)
            case TokenizerKind.WORD:
                return WordTokenizer.from_state(state)
    except (KeyError, TypeError) as error:
        raise TokenizerError(f"this is no tokenizer state: {error} is missing or of another type") from error


def save_tokenizer(tokenizer: Tokenizer, path: Path) -> None:
    """Write the tokenizer's state as a JSON file."""
    Path(path).write_text(json.dumps(tokenizer.to_state(), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def load_tokenizer(path: Path) -> Tokenizer:
    """Read what `save_tokenizer` wrote."""
    try:
        return tokenizer_from_state(json.loads(Path(path).read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise TokenizerError(f"there is no tokenizer at {path}; run the recipe's preparation first") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise TokenizerError(f"{path} is no tokenizer file ({error})") from error


def _kind(kind: TokenizerKind | str) -> TokenizerKind:
    try:
        return TokenizerKind(kind)
    except ValueError as error:
        raise TokenizerError(f"no tokenizer of kind {kind!r}; use bpe, bbpe, char or word") from error

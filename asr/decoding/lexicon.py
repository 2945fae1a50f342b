"""The words a search may say, and how each is written in tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from asr.errors import ConfigError
from asr.text import Tokenizer


@dataclass(frozen=True)
class Lexicon:
    """Pronunciations: (word, token ids), of which a word may have several."""

    pronunciations: tuple[tuple[str, tuple[int, ...]], ...]

    @cached_property
    def words(self) -> list[str]:
        """Each word once, in the order of their first pronunciations; word ids are places here, counted from 1."""
        return list(dict.fromkeys(word for word, _ in self.pronunciations))

    @cached_property
    def tokens_of(self) -> dict[str, list[tuple[int, ...]]]:
        """All pronunciations of each word."""
        found: dict[str, list[tuple[int, ...]]] = {}
        for word, tokens in self.pronunciations:
            found.setdefault(word, []).append(tokens)
        return found

    def whole_words(self, words: Sequence[str], tokens: Sequence[int]) -> tuple[int, int]:
        """How many of `words` are spelled out in full at the start of `tokens`, and how many tokens these take."""
        best = (0, 0)
        open_ends = {0}
        for count, word in enumerate(words, start=1):
            open_ends = {
                end + len(spelled)
                for end in open_ends
                for spelled in self.tokens_of[word]
                if tuple(tokens[end : end + len(spelled)]) == spelled
            }
            if not open_ends:
                break
            best = (count, max(open_ends))
        return best


def read_lexicon(path: Path | str, tokenizer: Tokenizer) -> Lexicon:
    """Read lines of `word`, spelled by the tokenizer, or `word token token …`, in the tokenizer's own symbols.

    Raises:
        ConfigError: the file cannot be read, holds no word, or a word cannot be written with the model's tokens.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"search.graph.lexicon={path} cannot be read: {error}; name a UTF-8 file, a word on each line"
        ) from error
    ids = {symbol: index for index, symbol in enumerate(tokenizer.symbols)}
    found = dict.fromkeys(_entry(line.split(), ids, tokenizer, path) for line in lines if line.strip())
    if not found:
        raise ConfigError(f"search.graph.lexicon={path} holds no word; put one on each line")
    return Lexicon(tuple(found))


def _entry(
    fields: list[str], ids: dict[str, int], tokenizer: Tokenizer, path: Path | str
) -> tuple[str, tuple[int, ...]]:
    word, *symbols = fields
    try:
        tokens = [ids[symbol] for symbol in symbols] or tokenizer.encode(word, strict=True)
    except KeyError as error:
        raise ConfigError(f"{path}: {word} is spelled with {error}, which is no symbol of the model") from None
    except ValueError as error:
        raise ConfigError(f"{path}: {word} cannot be spelled: {error}") from error
    return word, tuple(tokens)

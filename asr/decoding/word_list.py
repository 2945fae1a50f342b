"""The words that may be said, as an automaton over tokens: which token may follow, and where a word is over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from asr.decoding.config import GraphConfig
from asr.decoding.lexicon import read_lexicon
from asr.errors import ConfigError
from asr.tensors import PerDevice
from asr.text import Tokenizer

START = 0
"""The state before the first word, and after each word that no other begins with."""
NOWHERE = -1
"""Where a token leads that may not follow."""


def build_word_list(cfg: GraphConfig, tokenizer: Tokenizer | None) -> WordList | None:
    """The automaton `cfg` asks for; None where it names no lexicon.

    Raises:
        ConfigError: the file cannot be read, or a word is not written as the tokenizer writes it.
    """
    if cfg.lexicon is None:
        return None
    if tokenizer is None:
        raise ConfigError("search.graph.lexicon needs the model's tokenizer; pass it to build_search")
    changed = Path(cfg.lexicon).stat().st_mtime_ns if Path(cfg.lexicon).exists() else 0
    return _read(cfg.lexicon, changed, tokenizer)  # type: ignore[arg-type]  # which is hashed by its identity


class _Tables(NamedTuple):
    """M states over V tokens. How words begin is kept but once, for all states in which a word may be over."""

    keys: Tensor
    """(K,) int64, sorted: state * V + token of each step that goes on within a word"""
    onward: Tensor
    """(K,) int64: the state it leads to"""
    first: Tensor
    """(V,) int64: where a token leads that begins a word, or NOWHERE"""
    is_end: Tensor
    """(M,) bool: whether a word may be over"""


class WordList:
    """Sequences of words of a lexicon, each as good as any other; states are integers."""

    def __init__(self, spellings: Iterable[Sequence[int]], vocab_size: int):
        """`spellings` are the token ids of each word, below `vocab_size`."""
        self._vocab_size = vocab_size
        self._tables = PerDevice(_tabulate(*_trie(spellings), vocab_size))

    def step(self, state: Tensor, token: Tensor) -> Tensor:
        """Where `token` leads from `state`, NOWHERE if it may not follow; both int64 of any one shape."""
        tables = self._tables.on(state.device)
        key = state * self._vocab_size + token
        row = torch.searchsorted(tables.keys, key).clamp_max(len(tables.keys) - 1)
        begins = torch.where(tables.is_end[state], tables.first[token], torch.full_like(key, NOWHERE))
        return torch.where(tables.keys[row] == key, tables.onward[row], begins)

    def is_end(self, state: Tensor) -> Tensor:
        """Whether a sequence may end in `state`."""
        return self._tables.on(state.device).is_end[state]


@lru_cache(maxsize=8)  # each live stream asks for its own
def _read(file: str, changed: int, tokenizer: Tokenizer) -> WordList:
    """`changed` tells versions of the file apart."""
    pronunciations = read_lexicon(file, tokenizer).pronunciations
    for word, tokens in pronunciations:
        if list(tokens) != tokenizer.encode(word):
            raise ConfigError(
                f"{file}: the tokens of {word} are not its spelling by the tokenizer, and ctc_beam answers with what "
                "tokens spell; leave the tokens out, or use k2_ctc"
            )
    return WordList((tokens for _, tokens in pronunciations), tokenizer.vocab_size)


def _trie(spellings: Iterable[Sequence[int]]) -> tuple[list[dict[int, int]], set[int]]:
    """For each prefix of a word what a token makes of it, the empty one first; and which prefixes are words."""
    children: list[dict[int, int]] = [{}]
    words = set()
    for tokens in spellings:
        node = 0
        for token in tokens:
            if token not in children[node]:
                children[node][token] = len(children)
                children.append({})
            node = children[node][token]
        words.add(node)
    return children, words


def _tabulate(children: list[dict[int, int]], words: set[int], vocab_size: int) -> _Tables:
    """Follow all places that a sequence may stand in: where a word ends, another may begin or a longer one go on."""

    def after(places: frozenset[int], token: int) -> int:
        reached = {children[place][token] for place in places if token in children[place]}
        reached |= {0} if reached & words else set()
        open_ends = frozenset(place for place in reached if children[place])
        if open_ends not in numbers:
            numbers[open_ends] = len(numbers)
            states.append(open_ends)
        return numbers[open_ends]

    states = [frozenset({0})]
    numbers = {states[0]: START}
    first = torch.full((vocab_size,), NOWHERE)
    for token in children[0]:
        first[token] = after(states[0], token)
    rows = [(-1, NOWHERE)]  # matches nothing; where words are of one token each there is no other
    for number, places in enumerate(states):  # grows meanwhile
        inside = {token for place in places - {0} for token in children[place]}
        rows += [(number * vocab_size + token, after(places, token)) for token in inside]
    keys, onward = (torch.tensor(column) for column in zip(*sorted(rows)))
    return _Tables(keys, onward, first, torch.tensor([0 in places for places in states]))

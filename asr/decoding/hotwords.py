"""Phrases that a search should prefer: an automaton over tokens that pays for each step into a phrase.

Source: Aho and Corasick 1975, "Efficient string matching"; scores as in published Zipformer transducers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from asr.decoding.config import HotwordConfig
from asr.errors import ConfigError
from asr.tensors import PerDevice
from asr.text import Tokenizer

ROOT = 0


def build_hotwords(cfg: HotwordConfig, tokenizer: Tokenizer | None) -> HotwordGraph | None:
    """The automaton `cfg` asks for; None where it names no phrase.

    Raises:
        ConfigError: the file cannot be read, or a phrase cannot be written with the model's tokens.
    """
    lines = [*cfg.phrases, *_lines(cfg.file)]
    if not lines:
        return None
    if tokenizer is None:
        raise ConfigError("search.hotwords needs the model's tokenizer; pass it to build_search")
    phrases, scores = zip(*(_phrase(line, tokenizer) for line in lines))
    return _built(phrases, scores, cfg.score)


def _lines(file: str | None) -> list[str]:
    try:
        text = Path(file).read_text(encoding="utf-8") if file else ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"search.hotwords.file={file} cannot be read: {error}; name a UTF-8 text file") from error
    return [line for line in text.splitlines() if line.strip()]


@lru_cache(maxsize=8)  # each live stream asks for its own
def _built(phrases: tuple[tuple[int, ...], ...], scores: tuple[float, ...], score: float) -> HotwordGraph:
    return HotwordGraph(phrases, score, phrase_scores=scores)


def _phrase(line: str, tokenizer: Tokenizer) -> tuple[tuple[int, ...], float]:
    """Token ids and the bonus of its own, or 0, of `phrase` or `phrase :bonus`."""
    words, colon, bonus = line.rpartition(" :")
    try:
        own = float(bonus) if colon else 0.0
        ids = tokenizer.encode(words if colon else line, strict=True)
    except ValueError as error:
        raise ConfigError(f"the hot word {line!r} cannot be used: {error}") from error
    if not ids:
        raise ConfigError(f"the hot word {line!r} is empty; leave it out")
    return tuple(ids), own


@dataclass(eq=False)
class _Node:
    """One prefix of a phrase."""

    index: int
    depth: int = 0
    token_score: float = 0.0
    """Pay for the last token."""
    node_score: float = 0.0
    """Pay for the whole prefix."""
    is_end: bool = False
    output_score: float = 0.0
    """Pay for all phrases that end here, this prefix or a suffix of it."""
    children: dict[int, _Node] = field(default_factory=dict)
    fail: _Node | None = None
    """The longest proper suffix that is a prefix of a phrase too; None at the root."""
    output: _Node | None = None
    """The longest proper suffix that is a phrase."""


class _Tables(NamedTuple):
    """The automaton as tensors, M states over V tokens."""

    keys: Tensor
    """(K,) int64, sorted: state * V + token of each step that stays inside a phrase without starting at the root"""
    onward: Tensor
    """(K,) int64: the state it leads to"""
    bonus: Tensor
    """(K,): what it pays"""
    root_onward: Tensor
    """(V,) int64: where a token leads from the root"""
    root_bonus: Tensor
    """(V,): what it pays there"""
    pending: Tensor
    """(M,): what was paid for the beginning that a state stands for"""
    depth: Tensor
    """(M,) int64: tokens of that beginning"""


class HotwordGraph:
    """Bonuses for tokens, by where in which phrase a sequence stands; states are integers and 0 is the start.

    Each step into a phrase pays the phrase's score per token, and leaving one in the middle takes it back. In searches
    over alternatives (not `strict`) a finished phrase keeps its pay and matching starts afresh. In `strict` matching,
    for spotting phrases, it pays once more, and matching goes on, so that overlapping phrases are all seen.
    """

    def __init__(
        self,
        phrases: Sequence[Sequence[int]],
        score: float,
        *,
        phrase_scores: Sequence[float] | None = None,
        strict: bool = False,
    ):
        """Args:
        phrases: token ids, none of them empty.
        score: bonus per token, in nats.
        phrase_scores: per phrase its own bonus per token; 0 stands for `score`. Where phrases share a beginning the
            higher bonus counts, but tokens that earlier phrases go on with keep what was reached before.
        """
        scores = phrase_scores or [0.0] * len(phrases)
        self._nodes = _trie(phrases, [own or score for own in scores])
        _link(self._nodes)
        self._strict = strict
        self.num_states = len(self._nodes)
        self.num_tokens = 1 + max(token for phrase in phrases for token in phrase)
        """Tokens from here on belong to no phrase."""
        self._tables = PerDevice(self._tabulate())

    def step(self, state: Tensor, token: Tensor) -> tuple[Tensor, Tensor]:
        """Where tokens lead, and what they pay: both arguments int64 of one shape, and so are the results."""
        tables = self._tables.on(state.device)
        known, token = token < self.num_tokens, token.clamp(max=self.num_tokens - 1)
        key = state * self.num_tokens + token
        at = torch.searchsorted(tables.keys, key).clamp(max=len(tables.keys) - 1)
        found = known & (tables.keys[at] == key)
        onward = torch.where(found, tables.onward[at], tables.root_onward[token] * known)
        reached = tables.root_bonus[token] * known
        return onward, torch.where(found, tables.bonus[at], reached - tables.pending[state])

    def pending(self, state: Tensor) -> Tensor:
        """What a sequence that stops in these states has to give back."""
        return self._tables.on(state.device).pending[state]

    def depth(self, state: Tensor) -> Tensor:
        """How many tokens of a phrase were matched to come to these states."""
        return self._tables.on(state.device).depth[state]

    def _tabulate(self) -> _Tables:
        rows: dict[tuple[int, int], tuple[int, float]] = {}
        for node in self._nodes:
            if node.fail is not None and node.fail.index != ROOT:
                for token, child in self._inside(node.fail).items():
                    rows[node.index, token] = self._arrive(child, child.node_score - node.node_score)
            for token, child in node.children.items():
                rows[node.index, token] = self._arrive(child, child.token_score)
        ordered = sorted(rows)
        root_onward, root_bonus = torch.zeros(self.num_tokens, dtype=torch.int64), torch.zeros(self.num_tokens)
        for token, child in self._nodes[ROOT].children.items():
            root_onward[token], root_bonus[token] = self._arrive(child, child.node_score)
        return _Tables(
            torch.tensor([state * self.num_tokens + token for state, token in ordered]),
            torch.tensor([rows[pair][0] for pair in ordered]),
            torch.tensor([rows[pair][1] for pair in ordered]),
            root_onward,
            root_bonus,
            torch.tensor([node.node_score for node in self._nodes]),
            torch.tensor([node.depth for node in self._nodes]),
        )

    def _inside(self, node: _Node) -> dict[int, _Node]:
        """Where each token leads from a node or its suffixes, the root apart."""
        suffixes = [node]
        while (suffix := suffixes[-1].fail) is not None and suffix.index != ROOT:
            suffixes.append(suffix)
        return {token: child for suffix in reversed(suffixes) for token, child in suffix.children.items()}

    def _arrive(self, node: _Node, score: float) -> tuple[int, float]:
        """The state to go on in, and the bonus, where a step paying `score` leads to `node`."""
        if self._strict:
            return node.index, score + node.output_score
        if node.output_score == 0.0:
            return node.index, score
        kept = node if node.is_end or node.output is None else node.output
        return ROOT, score + kept.node_score - node.node_score


def _trie(phrases: Sequence[Sequence[int]], scores: Sequence[float]) -> list[_Node]:
    """All prefixes, the shorter ones first."""
    root, nodes = _Node(ROOT), []
    for phrase, score in zip(phrases, scores, strict=True):
        node = root
        for depth, token in enumerate(phrase, start=1):
            parent, node = node, node.children.setdefault(token, _Node(-1, depth))
            node.token_score = max(node.token_score, score) if node.token_score else score
            node.node_score = parent.node_score + node.token_score
            node.is_end |= depth == len(phrase)
            node.output_score = node.node_score if node.is_end else 0.0
    waiting = [root]
    while waiting:
        nodes += waiting
        waiting = [child for node in waiting for child in node.children.values()]
    for index, node in enumerate(nodes):
        node.index = index
    return nodes


def _link(nodes: list[_Node]) -> None:
    """Set `fail`, `output` and the final `output_score` of every node; `nodes` are in order of depth."""
    for node in nodes:
        for token, child in node.children.items():
            suffix = node.fail
            while suffix is not None and token not in suffix.children:
                suffix = suffix.fail
            child.fail = nodes[ROOT] if suffix is None else suffix.children[token]
            child.output = child.fail if child.fail.is_end else child.fail.output
            if child.output is not None:
                child.output_score += child.output.output_score

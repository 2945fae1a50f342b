"""What may be said, as automata for k2: anything, anything with hot words preferred, or words of a lexicon."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from asr.decoding.config import GraphConfig
from asr.decoding.hotwords import HotwordGraph
from asr.decoding.lexicon import Lexicon, read_lexicon
from asr.errors import ConfigError
from asr.kernels.k2 import load_k2
from asr.text import Tokenizer


class Grammar(NamedTuple):
    """An automaton over tokens, and the lexicon of the words it says."""

    graph: Any
    """`k2.Fsa` with `tokens` and `graph_scores`; where there is a lexicon its `aux_labels` are word ids"""
    lexicon: Lexicon | None


def trivial_graph(vocab_size: int) -> Any:
    """Any sequence of tokens 1..vocab_size - 1, at no cost."""
    return _labelled(load_k2().trivial_graph(vocab_size - 1))


def hotword_graph(hotwords: HotwordGraph, vocab_size: int) -> Any:
    """Any sequence of tokens 1..vocab_size - 1, with the bonuses of hot words.

    A sequence that ends within a phrase gives back what it earned for the beginning.
    """
    k2 = load_k2()
    state = torch.arange(hotwords.num_states).unsqueeze(1)
    token = torch.arange(1, vocab_size).unsqueeze(0)
    state, token = state.expand(-1, vocab_size - 1), token.expand(len(state), -1)
    onward, bonus = hotwords.step(state, token)
    final, every = hotwords.num_states, torch.arange(hotwords.num_states).unsqueeze(1)
    arcs = [
        torch.cat([state, every], dim=1),
        torch.cat([onward, torch.full_like(every, final)], dim=1),
        torch.cat([token, torch.full_like(every, -1)], dim=1),
        torch.zeros(len(state), vocab_size),
    ]
    graph = k2.Fsa(torch.stack([column.flatten() for column in arcs], dim=1).int())
    graph.scores = torch.cat([bonus, -hotwords.pending(every)], dim=1).flatten().float()
    return _labelled(k2.arc_sort(graph))


def lexicon_graph(lexicon: Lexicon, lm: str | None, *, lm_scale: float, vocab_size: int) -> Any:
    """Sequences of words, as tokens: lexicon and grammar composed, as few states as can be, without epsilons.

    Args:
        lm: an n-gram model (ARPA); None: every sequence of words is as good as any other.
        lm_scale: what the model's log-probabilities are multiplied by.
    Source: Mohri, Pereira and Riley 2002, "Weighted finite-state transducers in speech recognition".
    """
    k2 = load_k2()
    first_word_mark = len(lexicon.words) + 1
    spelling = k2.arc_sort(k2.Fsa.from_str(_spelling(lexicon, vocab_size), acceptor=False))
    grammar = _loop(len(lexicon.words)) if lm is None else ngram_graph(lm, lexicon)
    graph = k2.connect(k2.compose(spelling, k2.arc_sort(grammar)))
    graph = k2.connect(k2.determinize(graph, k2.DeterminizeWeightPushingType.kTropicalWeightPushing))
    # The marks that kept it deterministic have done their work.
    graph.labels = graph.labels.masked_fill(graph.labels >= vocab_size, 0)
    words = graph.aux_labels
    if isinstance(words, Tensor):
        graph.aux_labels = words.masked_fill(words >= first_word_mark, 0)
    else:
        values = words.values
        graph.aux_labels = k2.RaggedTensor(words.shape, values.masked_fill(values >= first_word_mark, 0))
    graph = k2.connect(k2.remove_epsilon(graph))
    if not isinstance(graph.aux_labels, Tensor):
        graph.aux_labels = graph.aux_labels.remove_values_eq(0)
    graph = k2.arc_sort(graph)
    graph.scores = graph.scores * lm_scale
    return _labelled(graph)


def ngram_graph(lm: str, lexicon: Lexicon) -> Any:
    """The acceptor of an n-gram model (ARPA) over the lexicon's words, unscaled; backing off is the label `#0`.

    Raises:
        ConfigError: the file is no ARPA model, or the package that reads it is missing.
    """
    text = _openfst_text(lm, tuple(lexicon.words))
    graph = load_k2().Fsa.from_openfst(text, acceptor=False)
    del graph.aux_labels
    return graph


@lru_cache(maxsize=4)  # reading takes long
def _openfst_text(lm: str, words: tuple[str, ...]) -> str:
    if find_spec("kaldilm") is None:
        raise ConfigError('reading an n-gram model needs kaldilm; run: pip install "rill-asr[k2]"')
    if not Path(lm).is_file():
        raise ConfigError(f"there is no n-gram model at {lm}; name an ARPA file")
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "words.txt"
        symbols = ["<eps>", *words, "#0", "<s>", "</s>"]
        table.write_text("".join(f"{symbol} {i}\n" for i, symbol in enumerate(symbols)), encoding="utf-8")
        # A process of its own, for kaldilm writes its progress where no redirection inside Python reaches.
        command = [sys.executable, "-c", _READ_ARPA, str(lm), str(table)]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode or not done.stdout.strip():
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ConfigError(f"{lm} cannot be read as an n-gram model over the lexicon's words: {reason}")
    return done.stdout


_READ_ARPA = """
import sys, kaldilm
_, lm, table = sys.argv
print(kaldilm.arpa2fst(lm, disambig_symbol="#0", read_symbol_table=table, max_order=99))
"""


def ctc_graph(grammar: Grammar | None, vocab_size: int) -> Any:
    """CTC's own topology, repeats and blanks, before a grammar; alone any sequence. Its `tokens` are those said."""
    k2 = load_k2()
    topology = k2.ctc_topo(vocab_size - 1)
    if grammar is None:
        topology.tokens = topology.aux_labels.clamp(min=0)
        del topology.aux_labels
        return _labelled(topology)
    words = grammar.graph.clone()
    del words.tokens
    graph = k2.compose(topology, words, inner_labels="tokens")
    return _labelled(k2.arc_sort(k2.connect(graph)))


def build_grammar(cfg: GraphConfig, tokenizer: Tokenizer, *, lm_scale: float, vocab_size: int) -> Grammar:
    """The lexicon and the n-gram model that `cfg` names.

    Args:
        lm_scale: weight of the n-gram model where `cfg` names none.
    Raises:
        ConfigError: a file cannot be used.
    """
    lexicon = read_lexicon(str(cfg.lexicon), tokenizer)
    scale = lm_scale if cfg.lm_scale is None else cfg.lm_scale
    return Grammar(_built(lexicon, cfg.lm, scale, vocab_size), lexicon)


@lru_cache(maxsize=4)  # each live stream asks for its own
def _built(lexicon: Lexicon, lm: str | None, lm_scale: float, vocab_size: int) -> Any:
    return lexicon_graph(lexicon, lm, lm_scale=lm_scale, vocab_size=vocab_size)


def _labelled(graph: Any) -> Any:
    """Note on each arc what a lattice shall hand on: its score, for rescoring to take it out again, and its token."""
    graph.graph_scores = graph.scores.clone()
    if not hasattr(graph, "tokens"):
        graph.tokens = graph.labels.clamp(min=0)
    return graph


def _loop(num_words: int) -> Any:
    arcs = [f"0 0 {word} 0" for word in range(1, num_words + 1)]
    return load_k2().Fsa.from_str("\n".join([*arcs, "0 1 -1 0", "1"]))


def _spelling(lexicon: Lexicon, vocab_size: int) -> str:
    """The lexicon as text for k2, `from to token word score`: from state 0 through a word's tokens and back.

    Words that sound alike, or like the beginning of others, end in a mark of their own (tokens above the vocabulary),
    without which the grammar could not be made deterministic. The first such mark belongs to the grammar's backing off.
    """
    word_ids = {word: index for index, word in enumerate(lexicon.words, start=1)}
    marks = _marks([tokens for _, tokens in lexicon.pronunciations])
    lines, free = [f"0 0 {vocab_size} {len(word_ids) + 1} 0"], 1
    for (word, tokens), mark in zip(lexicon.pronunciations, marks, strict=True):
        labels = [*tokens, *([vocab_size + mark] if mark else [])]
        states = [0, *range(free, free + len(labels) - 1), 0]
        free += len(labels) - 1
        for place, label in enumerate(labels):
            said = word_ids[word] if place == 0 else 0
            lines.append(f"{states[place]} {states[place + 1]} {label} {said} 0")
    lines += [f"0 {free} -1 -1 0", str(free)]
    return "\n".join(sorted(lines[:-1], key=lambda line: int(line.split()[0])) + lines[-1:])


def _marks(spellings: list[tuple[int, ...]]) -> list[int]:
    """For each spelling 0, or from 1 up where it needs a mark: homophones count up, beginnings of others take 1."""
    beginnings = {spelling[:end] for spelling in spellings for end in range(1, len(spelling))}
    total = {spelling: spellings.count(spelling) for spelling in set(spellings)}
    used: dict[tuple[int, ...], int] = {}
    marks = []
    for spelling in spellings:
        needed = total[spelling] > 1 or spelling in beginnings
        used[spelling] = used.get(spelling, 0) + 1
        marks.append(used[spelling] if needed else 0)
    return marks

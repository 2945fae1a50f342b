"""From a lattice, all that survived a search, to answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from asr.decoding.config import LatticeConfig
from asr.decoding.hypothesis import Hypothesis
from asr.decoding.k2.graphs import ngram_graph
from asr.decoding.lexicon import Lexicon
from asr.kernels.k2 import load_k2

NOTHING = Hypothesis(log_prob=float("-inf"))


class Arcs(NamedTuple):
    """Arcs of a lattice, or some of them in order."""

    unit: list[int]
    """What they say: a word with a lexicon, else a token; 0 for nothing, -1 at the end."""
    token: list[int]
    """The token they say; 0 for none."""
    place: list[int]
    """How many frames come before."""
    score: list[float]

    def select(self, index: Sequence[int]) -> Arcs:
        unit, token, place, score = self
        return Arcs(
            [unit[i] for i in index], [token[i] for i in index], [place[i] for i in index], [score[i] for i in index]
        )

    def said(self) -> tuple[int, ...]:
        return tuple(unit for unit in self.unit if unit > 0)

    def total(self) -> float:
        return sum(self.score)


class LatticeReader:
    """Reads lattices of k2, vectors of one automaton each, whose arcs stand for frames and say tokens or words."""

    def __init__(self, cfg: LatticeConfig, lexicon: Lexicon | None):
        self._cfg = cfg
        self._lexicon = lexicon
        self._lm = _rescoring_graph(cfg, lexicon) if cfg.rescore_lm and lexicon else None

    def answer(self, lattice: Any, frames: Tensor) -> Hypothesis:
        """The sequence of the best path, or with `nbest` the most probable sequence; nothing where nothing survived.

        Args:
            frames: the encoder frame (25 Hz) of each arc of a path, (T,).
        """
        if self._cfg.nbest:
            return next(iter(self.nbest(lattice, frames)), NOTHING)
        best = _best_path(self._spoken(lattice))
        return NOTHING if best is None else self._hypothesis(best, best.total(), frames)

    def nbest(self, lattice: Any, frames: Tensor) -> list[Hypothesis]:
        """Different sequences, the most probable first; `log_prob` sums over all paths that say the same.

        Paths are drawn from the lattice; the best one is always among them. An n-gram model says one thing in several
        ways, with and without backing off, and all of them count.
        """
        spoken = self._spoken(lattice)
        best = _best_path(spoken)
        if best is None:
            return []
        flat = spoken.clone()
        flat.scores = flat.scores * self._cfg.nbest_scale
        drawn = load_k2().random_paths(flat, True, self._cfg.num_paths).tolist()[0]
        everything = _arcs(spoken)
        unique: dict[tuple[int, ...], Arcs] = {}
        for path in sorted([best, *map(everything.select, drawn)], key=lambda path: -path.total()):
            unique.setdefault(path.said(), path)
        totals = _total_scores(spoken, list(unique))
        ranked = sorted(zip(totals, unique.values(), strict=True), key=lambda pair: -pair[0])
        return [self._hypothesis(path, total, frames) for total, path in ranked]

    def _hypothesis(self, path: Arcs, total: float, frames: Tensor) -> Hypothesis:
        """Tokens and words; of a path that stops within a word the whole words alone."""
        emitting = [arc for arc in zip(path.token, path.place, path.score, strict=True) if arc[0] > 0]
        words = None
        if self._lexicon is not None:
            spoken = [self._lexicon.words[word - 1] for word in path.said()]
            num_words, num_tokens = self._lexicon.whole_words(spoken, [token for token, *_ in emitting])
            words, emitting = spoken[:num_words], emitting[:num_tokens]
        return Hypothesis(
            tokens=[token for token, *_ in emitting],
            timestamps=[int(frames[place]) for _, place, _ in emitting],
            token_log_probs=[score for *_, score in emitting],
            log_prob=total,
            words=words,
        )

    def _spoken(self, lattice: Any) -> Any:
        """The lattice with words, or tokens where there is no lexicon, for labels, and the scores to choose by."""
        k2 = load_k2()
        if not lattice.num_arcs:
            return lattice
        spoken = lattice.clone()
        spoken.token = lattice.tokens.clamp(min=0)
        spoken.place = _places(lattice)
        if self._lexicon is not None:
            spoken = k2.invert(spoken)
            del spoken.aux_labels
            return self._rescored(spoken)
        spoken.labels = torch.where(lattice.labels < 0, lattice.labels, spoken.token)
        return spoken

    def _rescored(self, spoken: Any) -> Any:
        """The scores of the other n-gram model, where there is one, in place of the graph's."""
        if self._lm is None:
            return spoken
        k2 = load_k2()
        spoken.scores = spoken.scores - spoken.graph_scores
        # The model may back off at any time: an arc of its own for that, at every state.
        spoken.own = torch.ones_like(spoken.labels)
        looped = k2.add_epsilon_self_loops(spoken)
        looped.labels = looped.labels.masked_fill(looped.own == 0, self._lm.backing_off)
        match = torch.zeros(1, dtype=torch.int32, device=looped.device)
        composed = k2.intersect_device(self._lm.to(looped.device), looped, match, sorted_match_a=True)
        composed = k2.top_sort(k2.connect(composed))
        composed.labels = composed.labels.masked_fill(composed.labels == self._lm.backing_off, 0)
        return composed


def _rescoring_graph(cfg: LatticeConfig, lexicon: Lexicon) -> Any:
    k2 = load_k2()
    graph = ngram_graph(str(cfg.rescore_lm), lexicon)
    graph.scores = graph.scores * cfg.rescore_scale
    graph = k2.create_fsa_vec([k2.arc_sort(k2.add_epsilon_self_loops(graph))])
    graph.backing_off = len(lexicon.words) + 1
    return graph


def _best_path(spoken: Any) -> Arcs | None:
    """The arcs of the best path; None where none is complete."""
    if not spoken.num_arcs:
        return None
    best = load_k2().shortest_path(spoken, True)
    return _arcs(best) if best.num_arcs else None


def _arcs(fsa: Any) -> Arcs:
    return Arcs(fsa.labels.tolist(), fsa.token.tolist(), fsa.place.tolist(), fsa.scores.tolist())


def _places(lattice: Any) -> Tensor:
    """(arcs,) int32: how many arcs come before each, on whatever path, for each arc is a frame."""
    arcs = lattice.arcs.values()[:, :2].tolist()
    depth, places = {0: 0}, []
    for source, target in arcs:  # in the order of their sources, which come before their targets
        places.append(depth[source])
        depth[target] = depth[source] + 1
    return torch.tensor(places, dtype=torch.int32, device=lattice.device)


def _total_scores(spoken: Any, sequences: Sequence[tuple[int, ...]]) -> list[float]:
    """Log of the summed probability of all paths that say each sequence."""
    if spoken.num_arcs == 1:  # k2 1.23.4 cannot intersect that
        return spoken.scores.tolist()
    k2 = load_k2()
    chains = k2.add_epsilon_self_loops(k2.linear_fsa([list(sequence) for sequence in sequences], spoken.device))
    first = torch.zeros(len(sequences), dtype=torch.int32, device=spoken.device)
    both = k2.intersect_device(k2.arc_sort(spoken), chains, first, sorted_match_a=True)
    return k2.top_sort(k2.connect(both)).get_tot_scores(use_double_scores=True, log_semiring=True).tolist()

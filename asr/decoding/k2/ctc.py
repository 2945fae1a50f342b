"""Search with the CTC head over a graph, with k2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from asr.decoding.config import SearchConfig
from asr.decoding.hypothesis import Hypothesis
from asr.decoding.k2.graphs import Grammar, ctc_graph
from asr.decoding.k2.lattice import LatticeReader
from asr.decoding.k2.state import Heard, LatticeState, start
from asr.decoding.scorer import normalise
from asr.kernels.k2 import load_k2


class _Record(NamedTuple):
    """k2's state of the search, and the lattice up to here; neither changes."""

    search: Any
    lattice: Any


class K2CtcSearch:
    """The CTC topology, over words of a lexicon where there is one, searched frame by frame.

    Source: Miao et al. 2015, "EESEN", for CTC composed with a lexicon and a grammar.
    """

    def __init__(
        self,
        ctc_head: Callable[[Tensor], Tensor],
        blank_id: int,
        cfg: SearchConfig,
        grammar: Grammar | None,
        vocab_size: int,
    ):
        """`ctc_head` maps encoder frames (B, T, C) to log-probabilities (B, T, V)."""
        self._ctc_head = ctc_head
        self._blank_id = blank_id
        self._cfg = cfg
        self._graph = load_k2().create_fsa_vec([ctc_graph(grammar, vocab_size)])
        self._reader = LatticeReader(cfg.lattice, grammar.lexicon if grammar else None)

    def init(self, batch_size: int, device: torch.device | str = "cpu") -> LatticeState:
        """Streams that have heard nothing."""
        self._graph = self._graph.to(device)
        return start(torch.zeros(batch_size, dtype=torch.int64, device=device), [Heard()] * batch_size)

    @torch.no_grad()
    def advance(self, encoder_out: Tensor, lens: Tensor, state: LatticeState) -> LatticeState:
        """Decode the next frames of every stream: `encoder_out` is (B, T, C), `lens` (B,) in 0..T."""
        log_probs = normalise(self._ctc_head(encoder_out), self._blank_id, self._cfg)
        heard = list(state.heard)
        for row, (length, first) in enumerate(zip(lens.tolist(), state.frames.tolist(), strict=True)):
            if length:
                frames = log_probs[row, :length]
                heard[row] = heard[row].more(frames, first, self._search(frames, heard[row].record))
        return start(state.frames + lens, heard)

    def partial(self, state: LatticeState) -> list[Hypothesis]:
        """What each stream would answer now; it may yet change."""
        return [
            self._reader.answer(heard.record.lattice, heard.all_frames()) if heard.num_frames else Hypothesis()
            for heard in state.heard
        ]

    def finish(self, state: LatticeState) -> list[Hypothesis]:
        """What each stream has said, now that it is over."""
        return self.partial(state)

    def nbest(self, state: LatticeState) -> list[list[Hypothesis]]:
        """Different sequences for each stream, the most probable first."""
        return [
            self._reader.nbest(heard.record.lattice, heard.all_frames()) if heard.num_frames else [Hypothesis()]
            for heard in state.heard
        ]

    def _search(self, log_probs: Tensor, record: _Record | None) -> _Record:
        """Go on from a record by some frames, (t, V)."""
        k2, cfg = load_k2(), self._cfg.lattice
        searcher = k2.OnlineDenseIntersecter(
            self._graph, 1, cfg.search_beam, cfg.output_beam, cfg.min_active_states, cfg.max_active_states
        )
        segment = torch.tensor([[0, 0, len(log_probs)]], dtype=torch.int32)
        scores = k2.DenseFsaVec(log_probs.unsqueeze(0), segment)
        lattice, states = searcher.decode(scores, [record.search if record else None])
        return _Record(states[0], lattice)

"""Search with the CTC head over a graph, with k2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from asr.decoding.config import SearchConfig
from asr.decoding.hypothesis import Hypothesis
from asr.decoding.k2.graphs import Grammar, ctc_graph
from asr.decoding.k2.lattice import LatticeReader
from asr.decoding.k2.state import Heard, LatticeState, start
from asr.decoding.scorer import normalise
from asr.kernels.k2 import load_k2


class K2CtcSearch:
    """The CTC topology, over words of a lexicon where there is one.

    An answer is searched for from the stream's beginning each time it is asked for: at the end of a piece k2's own
    search by pieces (1.23.4) drops all that is in the middle of a word if anything is not.

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
                heard[row] = heard[row].more(log_probs[row, :length], first)
        return start(state.frames + lens, heard)

    def partial(self, state: LatticeState) -> list[Hypothesis]:
        """What each stream would answer now; it may yet change."""
        return [
            self._reader.answer(self._lattice(heard), heard.all_frames()) if heard.num_frames else Hypothesis()
            for heard in state.heard
        ]

    def finish(self, state: LatticeState) -> list[Hypothesis]:
        """What each stream has said, now that it is over."""
        return self.partial(state)

    def nbest(self, state: LatticeState) -> list[list[Hypothesis]]:
        """Different sequences for each stream, the most probable first."""
        return [
            self._reader.nbest(self._lattice(heard), heard.all_frames()) if heard.num_frames else [Hypothesis()]
            for heard in state.heard
        ]

    def _lattice(self, heard: Heard) -> Any:
        """All that survives of a stream and ends with a word."""
        k2, cfg, log_probs = load_k2(), self._cfg.lattice, torch.cat(heard.inputs)
        beams = cfg.search_beam, cfg.output_beam, cfg.min_active_states, cfg.max_active_states
        frames = torch.tensor([[0, 0, len(log_probs)]], dtype=torch.int32)
        return k2.intersect_dense_pruned(self._graph, k2.DenseFsaVec(log_probs.unsqueeze(0), frames), *beams)

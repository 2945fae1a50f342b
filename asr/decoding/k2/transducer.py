"""Fast beam search for a transducer over a graph, with k2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from asr.decoding.config import SearchConfig
from asr.decoding.hypothesis import Hypothesis
from asr.decoding.k2.graphs import Grammar
from asr.decoding.k2.lattice import LatticeReader
from asr.decoding.k2.state import Heard, LatticeState, start
from asr.decoding.scorer import TransducerModel, TransducerScorer
from asr.kernels.k2 import load_k2


@dataclass(eq=False)
class _Record:
    """A stream of k2's, which changes as it is advanced."""

    stream: Any
    num_frames: int = 0
    batch: _Batch | None = None
    """With which it was last advanced: k2 tells lattices of these together."""


class _Batch(NamedTuple):
    streams: Any
    """`k2.RnntDecodingStreams`, which is done"""
    members: list[_Record]


class K2FastBeamSearch:
    """Keep the best few states, a context of the predictor and a place in the graph each; their paths form a lattice.

    Over the graph that allows anything, the answers are those of `FastBeamSearch`, and as in the published search the
    last frame only ends paths. Over words of a lexicon, where a missing letter costs a word, it counts like any other,
    and nothing else can be said: an answer that would stop within a word gives the whole words before it.

    Source: Kang et al. 2022, "Fast and parallel decoding for transducer".
    """

    def __init__(self, model: TransducerModel, cfg: SearchConfig, grammar: Grammar):
        self._scorer = TransducerScorer(model, cfg)
        self._graph = grammar.graph
        self._reader = LatticeReader(cfg.lattice, grammar.lexicon)
        self._has_lexicon = grammar.lexicon is not None
        self._allow_partial = cfg.fast.allow_partial
        self._config = load_k2().RnntDecodingConfig(
            vocab_size=model.predictor.vocab_size,
            decoder_history_len=self._scorer.context_size,
            beam=cfg.fast.beam,
            max_states=cfg.fast.max_states,
            max_contexts=cfg.fast.max_contexts,
        )

    def init(self, batch_size: int, device: torch.device | str = "cpu") -> LatticeState:
        """Streams that have heard nothing."""
        self._graph = self._graph.to(device)
        return start(torch.zeros(batch_size, dtype=torch.int64, device=device), [Heard()] * batch_size)

    @torch.no_grad()
    def advance(self, encoder_out: Tensor, lens: Tensor, state: LatticeState) -> LatticeState:
        """Decode the next frames of every stream: `encoder_out` is (B, T, C), `lens` (B,) in 0..T."""
        projected = self._scorer.project_frames(encoder_out)
        records = [self._current(heard) for heard in state.heard]
        self._search(records, projected, lens.tolist())
        rows = zip(state.heard, projected, lens.tolist(), state.frames.tolist(), records, strict=True)
        heard = [one.more(x[:length].clone(), first, record) for one, x, length, first, record in rows]
        return start(state.frames + lens, heard)

    def partial(self, state: LatticeState) -> list[Hypothesis]:
        """What each stream would answer now; it may yet change altogether."""
        return self._answers(state.heard)

    def finish(self, state: LatticeState) -> list[Hypothesis]:
        """What each stream has said, now that it is over."""
        return self._answers(self._ended(state.heard))

    def nbest(self, state: LatticeState) -> list[list[Hypothesis]]:
        """Different sequences for each stream, the most probable first."""
        streams = self._ended(state.heard)
        return [
            [Hypothesis()] if lattice is None else self._reader.nbest(lattice, heard.all_frames())
            for lattice, heard in zip(self._lattices(streams), streams, strict=True)
        ]

    def _answers(self, streams: Sequence[Heard]) -> list[Hypothesis]:
        return [
            Hypothesis() if lattice is None else self._reader.answer(lattice, heard.all_frames())
            for lattice, heard in zip(self._lattices(streams), streams, strict=True)
        ]

    def _ended(self, streams: Sequence[Heard]) -> Sequence[Heard]:
        """With a lexicon, the streams with their last frame twice: k2 lets the last one say nothing."""
        if not self._has_lexicon:
            return streams
        return [self._again(heard) if heard.num_frames else heard for heard in streams]

    def _again(self, heard: Heard) -> Heard:
        record, last = self._current(heard), torch.cat(heard.inputs)[-1:]
        self._search([record], last.unsqueeze(0), [1])
        return heard.more(last, int(heard.all_frames()[-1]), record)

    def _lattices(self, streams: Sequence[Heard]) -> list[Any]:
        """All that survived in each stream; None for one that has heard nothing.

        k2 remembers every frame, so the lattice of a stream that has moved on since can still be had.
        """
        found: list[Any] = [None] * len(streams)
        rows: dict[int, list[int]] = {}
        for row, heard in enumerate(streams):
            if heard.num_frames:
                rows.setdefault(id(heard.record.batch), []).append(row)
        for group in rows.values():
            while group:  # a record may serve two streams, which were one before
                wanted = {streams[row].record: row for row in group}
                group = [row for row in group if row not in wanted.values()]
                for row, lattice in self._told(wanted, streams).items():
                    found[row] = lattice
        return found

    def _told(self, wanted: dict[_Record, int], streams: Sequence[Heard]) -> dict[int, Any]:
        """The lattices of one batch's records, by the row of the stream for which each is wanted."""
        batch = next(iter(wanted)).batch
        assert batch is not None
        num_frames = [
            streams[wanted[member]].num_frames if member in wanted else member.num_frames for member in batch.members
        ]
        lattices = batch.streams.format_output(num_frames, allow_partial=self._allow_partial)
        # k2 leaves out what the graph asks for ending; here it is put back.
        lattices.scores = torch.where(lattices.labels < 0, lattices.graph_scores, lattices.scores)
        if len(batch.members) == 1:
            return dict.fromkeys(wanted.values(), lattices)
        pick = load_k2().create_fsa_vec
        return {wanted[one]: pick([lattices[i]]) for i, one in enumerate(batch.members) if one in wanted}

    def _current(self, heard: Heard) -> _Record:
        """k2's record of exactly what was heard; made anew where another continuation has already moved it on."""
        record = heard.record or self._new()
        if record.num_frames == heard.num_frames:
            return record
        record, inputs = self._new(), torch.cat(heard.inputs)
        self._search([record], inputs.unsqueeze(0), [len(inputs)])
        return record

    def _new(self) -> _Record:
        return _Record(load_k2().RnntDecodingStream(self._graph))

    def _search(self, records: list[_Record], projected: Tensor, lens: list[int]) -> None:
        """Move streams on by their frames, (B, T, J): those that have frames left together, until some have not."""
        for begin, end in zip([0, *sorted(set(lens))], sorted({*lens}), strict=False):
            rows = [row for row, length in enumerate(lens) if length >= end > begin]
            if not rows:
                continue
            members = [records[row] for row in rows]
            streams = load_k2().RnntDecodingStreams([record.stream for record in members], self._config)
            active = projected[rows]
            for t in range(begin, end):
                self._step(streams, active[:, t])
            streams.terminate_and_flush_to_streams()
            for record in members:
                record.num_frames += end - begin
                record.batch = _Batch(streams, members)

    def _step(self, streams: Any, frame: Tensor) -> None:
        """One frame, (B, J), of all streams."""
        shape, contexts = streams.get_contexts()
        row = shape.row_ids(1).long()
        streams.advance(self._scorer.log_probs(frame[row], self._scorer.predict(contexts.long())))

"""The memory of a search: tokens emitted so far, and how streams are put together into batches and taken apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from asr.decoding.hypothesis import Hypothesis
from asr.tensors import tree_cat, tree_map, tree_select


class History(NamedTuple):
    """Tokens of N sequences per stream, valid up to `num_tokens`.

    No other part of a state ever grows, and `settle` keeps this one short.
    """

    tokens: Tensor  # (B, N, L) int64
    frames: Tensor  # (B, N, L) int64, encoder frame of each emission, 25 Hz
    log_probs: Tensor  # (B, N, L) float32, of each token when it was emitted
    num_tokens: Tensor  # (B, N) int64
    num_settled: Tensor  # (B, N) int64, tokens before these that were taken out


class SearchState(Protocol):
    """What every search's state, a NamedTuple of batch-first tensors, has in common."""

    @property
    def history(self) -> History: ...

    @property
    def frames(self) -> Tensor:
        """(B,) int64: encoder frames (25 Hz) each stream has consumed."""

    def _replace(self, *, history: History = ..., frames: Tensor = ...) -> Any: ...


S = TypeVar("S", bound=SearchState)


def select(state: S, rows: Tensor) -> S:
    """Pick, drop or reorder streams: `rows` is (R,) int64 into the batch."""
    if hasattr(state, "select_rows"):  # one that holds more than tensors
        return state.select_rows(rows)
    picked = tree_select(state, rows.to(state.frames.device))
    # A long neighbour's capacity must not stay behind with the streams that leave it.
    return picked._replace(history=_with_capacity(picked.history, _longest(picked.history.num_tokens)))


def concat(states: Sequence[S]) -> S:
    """Make one batch of several, in order; the streams may be at different positions."""
    if hasattr(states[0], "join"):
        return states[0].join(states)
    capacity = max(state.history.tokens.shape[-1] for state in states)
    return tree_cat([state._replace(history=_with_capacity(state.history, capacity)) for state in states])


def empty_history(batch_size: int, num_sequences: int, device: torch.device | str) -> History:
    """No tokens yet, for (B, N) sequences."""
    shape = (batch_size, num_sequences)
    ids = torch.zeros(*shape, 0, dtype=torch.int64, device=device)
    counts = torch.zeros(shape, dtype=torch.int64, device=device)
    return History(ids, ids.clone(), ids.float(), counts, counts.clone())


def append(history: History, emitted: Tensor, tokens: Tensor, frames: Tensor, log_probs: Tensor) -> History:
    """Add what was emitted at K steps, all arguments (B, N, K); steps where `emitted` is False leave no trace."""
    num_tokens = history.num_tokens + emitted.sum(-1)
    capacity = _longest(num_tokens)
    # Steps without a token are written to one extra column, which is then cut off.
    slot = history.num_tokens.unsqueeze(-1) + emitted.cumsum(-1) - 1
    slot = slot.masked_fill(~emitted, capacity)
    grown = _with_capacity(history, capacity + 1)
    written = History(
        grown.tokens.scatter(-1, slot, tokens),
        grown.frames.scatter(-1, slot, frames),
        grown.log_probs.scatter(-1, slot, log_probs),
        num_tokens,
        history.num_settled,
    )
    return _with_capacity(written, capacity)


def settle(state: S) -> tuple[S, list[Hypothesis]]:
    """Take out of a state what its sequences agree on, all but the last token of it, and hand it over for good.

    However long a stream lasts, what its search carries along then is no longer than its sequences' disagreement.

    Returns:
        the state without that, and for each stream what was taken, to be put before all that its search says later.
    """
    history = state.history
    tokens, frames = history.tokens, history.frames
    same = (tokens == tokens[:, :1]) & (frames == frames[:, :1])
    valid = torch.arange(tokens.shape[-1], device=tokens.device) < history.num_tokens.unsqueeze(-1)
    agreed = (same & valid).all(1).long().cumprod(-1).sum(-1)
    count = (agreed - 1).clamp_min(0)
    taken = history._replace(num_tokens=count.unsqueeze(1).expand_as(history.num_tokens))
    settled = [sequences[0] for sequences in to_hypotheses(taken, torch.zeros_like(taken.num_tokens).float())]
    return state._replace(history=_without_first(history, count)), settled


def gather_sequences(history: History, index: Tensor) -> History:
    """Reorder the sequences within each stream; `index` is (B, N') int64."""

    def gather(leaf: Tensor) -> Tensor:
        at = index.reshape(index.shape + (1,) * (leaf.dim() - 2))
        return leaf.gather(1, at.expand(index.shape + leaf.shape[2:]))

    return tree_map(gather, history)


def to_hypotheses(history: History, log_prob: Tensor) -> list[list[Hypothesis]]:
    """All sequences of all streams, [stream][sequence]; `log_prob` is (B, N)."""
    columns = [part.tolist() for part in (*history[:4], log_prob)]
    return [[_hypothesis(*sequence) for sequence in zip(*stream, strict=True)] for stream in zip(*columns, strict=True)]


def _hypothesis(
    tokens: list[int], frames: list[int], token_log_probs: list[float], count: int, log_prob: float
) -> Hypothesis:
    return Hypothesis(
        tokens=tokens[:count],
        timestamps=frames[:count],
        token_log_probs=token_log_probs[:count],
        log_prob=log_prob,
    )


def _longest(num_tokens: Tensor) -> int:
    return int(num_tokens.max()) if num_tokens.numel() else 0


def _with_capacity(history: History, capacity: int) -> History:
    """Pad or cut the token axis to `capacity`."""
    extra = capacity - history.tokens.shape[-1]
    tokens, frames, log_probs = (F.pad(part, (0, extra)) for part in history[:3])
    return History(tokens, frames, log_probs, history.num_tokens, history.num_settled)


def _without_first(history: History, count: Tensor) -> History:
    """Drop each stream's first `count` (B,) tokens."""
    num_tokens = history.num_tokens - count.unsqueeze(1)
    capacity = _longest(num_tokens)
    at = count.reshape(-1, 1, 1) + torch.arange(capacity, device=count.device)
    at = at.clamp_max(max(history.tokens.shape[-1] - 1, 0)).expand(*num_tokens.shape, capacity)
    tokens, frames, log_probs = (part.gather(-1, at) for part in history[:3])
    return History(tokens, frames, log_probs, num_tokens, history.num_settled + count.unsqueeze(1))

"""Features to hypotheses: whole utterances at once, or chunk by chunk with cached state."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from asr.decoding.hypothesis import Hypothesis
from asr.decoding.search import NbestSearch, Search
from asr.models.encoder import features_ahead
from asr.models.transducer import Transducer
from asr.nn.chunks import ChunkContext

FEATURES_PER_FRAME = 2
"""Feature frames (100 Hz) per encoder-internal frame (50 Hz), in which chunks are counted."""


class Step(NamedTuple):
    """A step of a batch that was just made."""

    num_features: int
    """Feature frames (100 Hz), from the utterances' beginning, that had to be in."""
    compute_s: float
    """Time it took, in seconds."""
    state: Any
    """The search's, for `search.partial`."""


@torch.no_grad()
def decode_whole(
    model: Transducer, search: Search, features: Tensor, lens: Tensor, context: ChunkContext
) -> list[Hypothesis]:
    """Decode whole utterances in one pass, each frame seeing what `context` allows.

    Args:
        features: (B, T, F) at 100 Hz.
        lens: (B,).
    """
    return search.finish(_search_whole(model, search, features, lens, context))


@torch.no_grad()
def nbest_whole(
    model: Transducer, search: NbestSearch, features: Tensor, lens: Tensor, context: ChunkContext
) -> list[list[Hypothesis]]:
    """As `decode_whole`, but all sequences that the search tells apart, the most probable first."""
    return search.nbest(_search_whole(model, search, features, lens, context))


def _search_whole(model: Transducer, search: Search, features: Tensor, lens: Tensor, context: ChunkContext) -> Any:
    """The search's state, once it has heard everything."""
    encoded = model.encode(features, lens, context=context)
    return search.advance(encoded.out, encoded.lens, search.init(features.shape[0], features.device))


@torch.no_grad()
def decode_by_steps(
    model: Transducer,
    search: Search,
    features: Tensor,
    lens: Tensor,
    context: ChunkContext,
    *,
    observe: Callable[[Step], None] | None = None,
) -> list[Hypothesis]:
    """Decode as a stream would: one chunk at a time, remembering nothing but the state. Equals `decode_whole`.

    Args:
        features: (B, T, F) at 100 Hz.
        lens: (B,).
        context: with a chunk size and a left context.
        observe: is shown every step, where given.
    """
    encoder_state = model.init_state(features.shape[0], context)
    search_state = search.init(features.shape[0], features.device)
    chunk_size, lookahead = context.chunk_size or 1, features_ahead(model.encoder, context)
    steps = chunks(features, lens, chunk_size=chunk_size, lookahead=lookahead)
    for index, (x, x_lens) in enumerate(steps, start=1):
        started = time.perf_counter()
        encoded = model.encode(x, x_lens, context=context, state=encoder_state)
        search_state = search.advance(encoded.out, encoded.lens, search_state)
        encoder_state = encoded.state
        if observe is not None:
            needed = FEATURES_PER_FRAME * chunk_size * index + lookahead
            observe(Step(needed, time.perf_counter() - started, search_state))
    return search.finish(search_state)


def chunks(features: Tensor, lens: Tensor, *, chunk_size: int, lookahead: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Cut utterances into steps of a chunk and its lookahead, (B, 2 S + lookahead, F), with what is valid, (B,)."""
    shift = FEATURES_PER_FRAME * chunk_size
    frames = max((int(lens.max()) - 7) // FEATURES_PER_FRAME, 1)
    num_chunks = -(-frames // chunk_size)
    features = pad(features, (0, 0, 0, max(num_chunks * shift + lookahead - features.shape[1], 0)))
    for start in range(0, num_chunks * shift, shift):
        yield features[:, start : start + shift + lookahead], (lens - start).clamp(0, shift + lookahead)

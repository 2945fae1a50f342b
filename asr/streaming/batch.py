"""One step of many streams at once."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from asr.decoding import concat, select
from asr.models.transducer import Transducer
from asr.streaming.stream import Stream, StreamState
from asr.tensors import tree_cat, tree_select


def alike(streams: Iterable[Stream]) -> list[list[Stream]]:
    """Sort streams into groups that one step can serve: same chunks, same search."""
    groups: dict[Hashable, list[Stream]] = {}
    for stream in streams:
        key = (stream.context, repr(stream.config.search))
        groups.setdefault(key, []).append(stream)
    return list(groups.values())


@torch.no_grad()
def step(model: Transducer, streams: Sequence[Stream]) -> None:
    """Advance streams of one group by a chunk each; where each of them stands in its audio does not matter."""
    context, search = streams[0].context, streams[0].search
    x, x_lens = _stack([stream.next_step() for stream in streams], streams[0].step_frames)
    state = tree_cat([stream.state.encoder for stream in streams])
    device = state.processed.device
    encoded = model.encode(x.to(device), x_lens.to(device), context=context, state=state)
    searched = search.advance(encoded.out, encoded.lens, concat([stream.state.search for stream in streams]))
    for row, stream in enumerate(streams):
        rows = torch.tensor([row], device=device)
        stream.advance(StreamState(tree_select(encoded.state, rows), select(searched, rows)))


def _stack(steps: list[Tensor], num_frames: int) -> tuple[Tensor, Tensor]:
    """Frames (T_b, F) of each stream to (B, num_frames, F) with their true lengths, (B,)."""
    full = steps[0].new_zeros(num_frames, steps[0].shape[1])
    x = pad_sequence([*steps, full], batch_first=True)[:-1]
    return x, torch.tensor([len(frames) for frames in steps])

"""Which r label positions the pruned loss looks at in each frame.

Source: "Pruned RNN-T for fast, memory-efficient ASR training", arXiv 2206.13236, section on pruning bounds. The paper
lets a window move by up to r positions per frame; published models, and we, allow r - 1.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from asr.errors import ConfigError
from asr.losses.lattice import Topology


def prune_ranges(
    px_grad: Tensor,
    py_grad: Tensor,
    symbol_lens: Tensor,
    frame_lens: Tensor,
    s_range: int,
    topology: Topology = Topology.REGULAR,
) -> Tensor:
    """Choose the windows of label positions that hold most of the occupation.

    Windows start at 0 on the first frame, end at S_b on the last, never move back, and never so far that two
    neighbouring ones do not overlap (or by more than one, where a frame takes at most one symbol).

    Args:
        px_grad, py_grad: occupations from the simple loss, (B, S, T) and (B, S + 1, T). A column of px_grad beyond T
            is ignored.
        s_range: r, window length in label positions, >= 2. Raised, with a warning, where regular utterances have too
            few frames for it; never more than S + 1.
    Returns:
        (B, T, r) int64, consecutive label positions; no gradient.
    """
    if s_range < 2:
        raise ConfigError(f"prune_range={s_range} leaves no room for a symbol; use 2 or more")
    symbol_lens, frame_lens = symbol_lens.to(px_grad.device), frame_lens.to(px_grad.device)
    if topology is Topology.REGULAR:
        s_range = _wide_enough(s_range, symbol_lens, frame_lens)
    s_range = min(s_range, py_grad.shape[1])
    starts = _best_starts(px_grad[:, :, : py_grad.shape[2]], py_grad, s_range)
    frames = torch.arange(starts.shape[1], device=starts.device)
    last_start = (symbol_lens - s_range + 1).clamp(min=0).unsqueeze(1)
    starts = torch.where(frames >= frame_lens.unsqueeze(1) - 1, last_start, starts)
    starts = _limit_movement(starts, s_range - 1 if topology is Topology.REGULAR else 1)
    return starts.unsqueeze(2) + torch.arange(s_range, device=starts.device)


def _wide_enough(s_range: int, symbol_lens: Tensor, frame_lens: Tensor) -> int:
    """The least r >= s_range with which windows can travel from 0 to S_b within T_b frames."""
    per_frame = torch.div(symbol_lens - 1, frame_lens.clamp(min=1), rounding_mode="trunc")
    needed = int(per_frame.max()) + 2
    if needed > s_range:
        warnings.warn(
            f"prune_range={s_range} is too small for an utterance of this batch with more symbols than frames; "
            f"using {needed} here. Raise prune_range, or drop utterances with too many symbols.",
            stacklevel=3,
        )
    return max(s_range, needed)


def _best_starts(px_grad: Tensor, py_grad: Tensor, s_range: int) -> Tensor:
    """The window start with most blank occupation inside, less the symbol that enters from below, (B, T)."""
    inside = py_grad.unfold(1, s_range, 1).transpose(2, 3).sum(dim=2)
    inside[:, 1:] -= px_grad[:, : inside.shape[1] - 1]
    return inside.argmax(dim=1)


def _limit_movement(starts: Tensor, max_step: int) -> Tensor:
    """Make (B, T) starts begin at 0, never fall, and rise by at most max_step per frame."""
    starts = _min_from_here_on(starts)
    # A rise too steep begins earlier instead; one that would have to begin before the first frame is cut off.
    ramp = max_step * torch.arange(starts.shape[1], device=starts.device)
    return ramp - _min_from_here_on(ramp - starts).clamp(min=0)


def _min_from_here_on(x: Tensor) -> Tensor:
    return x.flip(1).cummin(dim=1).values.flip(1)

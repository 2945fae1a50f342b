"""Streamed against direct: the encoder's frames from cached steps, from one masked pass, and what lies between."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from asr.decoding.run import chunks
from asr.models.encoder import features_ahead
from asr.models.transducer import Transducer
from asr.nn.chunks import ChunkContext


class Both(NamedTuple):
    """Encoder frames of one utterance, (T, C) at 25 Hz each."""

    streamed: Tensor
    direct: Tensor

    @property
    def difference(self) -> Tensor:
        """(T, C), not negative."""
        return (self.streamed - self.direct).abs()


@torch.no_grad()
def both_ways(model: Transducer, features: Tensor, context: ChunkContext) -> Both:
    """Encode features (T, F) at 100 Hz chunk by chunk with cached state, and in one masked pass."""
    x, lens = features[None], torch.tensor([len(features)])
    direct = model.encode(x, lens, context=context)
    state, outs = model.init_state(1, context), []
    ahead = features_ahead(model.encoder, context)
    for piece, piece_lens in chunks(x, lens, chunk_size=context.chunk_size or 1, lookahead=ahead):
        step = model.encode(piece, piece_lens, context=context, state=state)
        state = step.state
        outs.append(step.out[0, : int(step.lens)])
    return Both(torch.cat(outs), direct.out[0, : int(direct.lens)])


def draw_equality(both: Both, path: Path, *, title: str) -> None:
    """Write a PNG: both outputs as images over time, and their largest difference in each frame."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 5.4), layout="constrained")
    axes = figure.subplots(3, 1, sharex=True)
    seconds = len(both.direct) / 25
    bound = float(both.direct.abs().quantile(0.99)) if both.direct.numel() < 1e7 else float(both.direct.abs().max())
    for axis, name, frames in zip(axes, ("streamed", "direct"), both):
        axis.imshow(
            frames.T.numpy(),
            aspect="auto",
            origin="lower",
            cmap="RdBu",
            vmin=-bound,
            vmax=bound,
            extent=(0, seconds, 0, 1),
        )
        axis.set(ylabel=name, yticks=[])
    floor = torch.finfo(torch.float32).eps
    at_s = (torch.arange(len(both.direct)) + 0.5) / 25
    axes[2].semilogy(at_s.numpy(), both.difference.amax(dim=1).clamp(min=floor).numpy(), drawstyle="steps-mid")
    axes[2].axhline(1e-4, linestyle=":", color="grey")
    axes[2].set(ylabel="largest difference", xlabel="s", ylim=(floor, 1e-2))
    figure.suptitle(f"{title}: largest difference {float(both.difference.max()):.1e}", fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png", dpi=100, metadata={"Software": None})

"""Rooms around speech: convolution with recorded or simulated impulse responses."""

from __future__ import annotations

from collections.abc import Iterable

from lhotse.cut import Cut
from torch import Tensor

from asr.data.config import ReverbConfig
from asr.data.draw import Draw
from asr.data.loading import load_samples
from asr.errors import DataError


class ReverbPool:
    """Impulse responses to draw from; they act on waveforms, so features must be computed on the fly."""

    def __init__(self, cuts: Iterable[Cut], cfg: ReverbConfig) -> None:
        self._cuts = list(cuts)
        self._cfg = cfg
        if not self._cuts:
            raise DataError(
                "the list of augment.reverb.cuts is empty; prepare it again, or train with augment.reverb=null"
            )

    def into_samples(self, samples: Tensor, draw: Draw) -> Tensor:
        """(N,) samples as heard in a random room, or as they were."""
        if not draw.chance(self._cfg.prob):
            return samples
        return in_room(samples, load_samples(self._cuts[draw.integer(0, len(self._cuts) - 1)]))


def in_room(samples: Tensor, response: Tensor) -> Tensor:
    """Convolve (N,) samples with a room's (M,) response: as long, as loud and as early as before."""
    from torchaudio.functional import fftconvolve

    direct = int(response.abs().argmax())  # the direct sound; what comes before is the way to the microphone
    heard = fftconvolve(samples, response)[direct : direct + len(samples)]
    loudness = samples.square().mean() / heard.square().mean().clamp_min(1e-12)
    return heard * loudness.sqrt()

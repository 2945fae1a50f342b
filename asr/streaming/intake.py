"""Audio as callers have it, in pieces, to the feature frames of a stream."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from asr.errors import StreamError
from asr.features import FbankConfig, OnlineFbank, Resampler, ResamplerStream
from asr.features.audio import LOUDEST

Samples = Tensor | np.ndarray | Sequence[float]


class Intake:
    """Checks, resamples and transforms one recording; remembers less than a window of it.

    A piece that is refused leaves everything as it was.
    """

    def __init__(self, config: FbankConfig):
        self._fbank = OnlineFbank(config)
        self._resampler: ResamplerStream | None = None
        self._sample_rate = 0
        self._num_samples = 0

    @property
    def duration_s(self) -> float:
        """Seconds of audio accepted."""
        return self._num_samples / self._sample_rate if self._sample_rate else 0.0

    def accept(self, samples: Samples, sample_rate: int) -> list[Tensor]:
        """Take (N,) samples in [-1, 1], N from 0 up; return blocks of the frames that are complete now, (T, F) each.

        Raises:
            StreamError: the piece is no audio of one channel, or its rate is another than before.
            AudioError: no resampling is possible from this rate.
        """
        checked = self._check(samples)
        resampler = self._resampler
        if resampler is None:
            resampler = _resampler(_whole(sample_rate), self._fbank.cfg.sample_rate).stream()
            self._resampler, self._sample_rate = resampler, _whole(sample_rate)
        elif sample_rate != self._sample_rate:
            raise StreamError(
                f"this stream began at {self._sample_rate} Hz and cannot go on at {sample_rate} Hz; "
                "resample the piece, or open a new stream"
            )
        self._num_samples += len(checked)
        # A second at a time: windows overlap, so long pieces as a whole would take many times their own memory.
        return [self._fbank.accept(resampler.accept(part)) for part in checked.split(self._sample_rate)]

    def finish(self) -> list[Tensor]:
        """The frames that were waiting for the end."""
        rest = [] if self._resampler is None else [self._fbank.accept(self._resampler.finish())]
        return [*rest, self._fbank.finish()]

    def _check(self, samples: Samples) -> Tensor:
        x = samples if isinstance(samples, Tensor) else _tensor(samples)
        if x.dim() != 1:
            raise StreamError(
                f"samples of shape {tuple(x.shape)} are not one channel, (N,); pick a channel or mix them first"
            )
        if len(x) and not x.is_floating_point():
            raise StreamError(f"samples are {x.dtype}, not floats in [-1, 1]; divide 16-bit integers by 32768")
        x = x.detach().to("cpu", torch.float32)
        bad = (~x.isfinite()).nonzero()
        if len(bad):
            at_s = self.duration_s + int(bad[0]) / self._sample_rate if self._sample_rate else 0.0
            raise StreamError(
                f"sample {int(bad[0])} of this piece, at {at_s:.2f} s of the stream, is NaN or infinite; "
                "leave the piece out or repair it"
            )
        if len(x) and x.abs().max() > LOUDEST:
            raise StreamError(f"samples reach {x.abs().max():.0f}, not [-1, 1]; divide 16-bit integers by 32768")
        return x


@lru_cache(maxsize=8)
def _resampler(in_rate: int, out_rate: int) -> Resampler:
    return Resampler(in_rate, out_rate)


def _tensor(samples: np.ndarray | Sequence[float]) -> Tensor:
    try:
        # `torch.tensor` copies: the caller may use the buffer again, and it may be read-only.
        return torch.tensor(np.asarray(samples))
    except (TypeError, ValueError) as error:
        raise StreamError(f"samples are no numbers ({error}); give floats in [-1, 1]") from error


def _whole(sample_rate: int) -> int:
    try:
        whole = int(sample_rate)
    except (TypeError, ValueError, OverflowError):
        whole = 0
    if not whole or whole != sample_rate:
        raise StreamError(f"sample_rate={sample_rate!r} is not a positive whole number of Hz; round it")
    return whole

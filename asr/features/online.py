"""Log-mel features of a live stream: the offline frames, as soon as their samples are there."""

from __future__ import annotations

import torch
from torch import Tensor

from asr.features.config import FbankConfig
from asr.features.fbank import Fbank, left_mirror


class OnlineFbank:
    """Turns pieces of one recording, of any length, into exactly the frames that `Fbank` makes of the whole.

    Remembers less than one window of samples. A frame comes out once its window is complete; the last ones, whose
    windows reach past the end, come out of `finish`, because only then is it known where the signal is mirrored.
    """

    def __init__(self, cfg: FbankConfig | None = None, *, device: torch.device | str = "cpu") -> None:
        self._fbank = Fbank(cfg).to(device)
        self.cfg = self._fbank.cfg
        self._pending = torch.zeros(0, device=device)
        self._num_samples = 0
        self._num_frames = 0

    @property
    def num_samples(self) -> int:
        """Samples accepted so far."""
        return self._num_samples

    def accept(self, samples: Tensor) -> Tensor:
        """Take (N,) samples in [-1, 1], N from 0 up; return the frames that are complete now, (T, F), T from 0 up."""
        self._pending = torch.cat([self._pending, samples.to(self._pending)])
        self._num_samples += len(samples)
        if not self._mirrored:
            # Wait for the whole first window: until then the recording may still turn out shorter than its mirror.
            if len(self._pending) < self.cfg.window - left_mirror(self.cfg):
                return self._filter(self._pending[:0])
            self._pending = torch.cat([self._pending[: left_mirror(self.cfg)].flip(0), self._pending])
        return self._filter(self._pending)

    def finish(self) -> Tensor:
        """Return the frames that were waiting for the end, (T, F), and start anew."""
        if self._mirrored:
            reach = self.cfg.window // 2
            frames = self._filter(torch.cat([self._pending, self._pending[-reach:].flip(0)]))
            frames = frames[: self.cfg.num_frames(self._num_samples) - (self._num_frames - len(frames))]
        else:
            frames = self._fbank(self._pending[None], torch.tensor([len(self._pending)])).features[0]
        self._pending, self._num_samples, self._num_frames = self._pending[:0].clone(), 0, 0
        return frames

    @property
    def _mirrored(self) -> bool:
        return self._num_frames > 0

    def _filter(self, samples: Tensor) -> Tensor:
        """Frames of every complete window; keeps what the next ones will need."""
        window, shift = self.cfg.window, self.cfg.shift
        count = max(0, (len(samples) - window) // shift + 1)
        if count == 0:
            return samples.new_zeros(0, self.cfg.num_bins)
        self._num_frames += count
        # A copy, or the slice would keep the storage of everything it was cut from alive.
        self._pending = samples[count * shift :].clone()
        return self._fbank.frame_filter(samples.unfold(0, window, shift))

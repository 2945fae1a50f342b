"""Samples to log-mel energies, for batches of whole recordings."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from asr.features.config import FbankConfig
from asr.tensors import pad_mask

LOG_FLOOR = -15.942385
"""Natural log of the float32 epsilon: what digital silence gives in every bin."""
PADDING_VALUE = -23.025851
"""Natural log of 1e-10, below every real frame: fills a batch beyond each row's length, as published models expect."""


class Features(NamedTuple):
    """Log-mel energies (natural log, raw) of a batch."""

    features: Tensor
    """(B, T, F) float32; frames at or beyond a row's length hold `PADDING_VALUE`."""
    feature_lens: Tensor
    """(B,) int64, frames at 100 Hz."""


class FrameFilter(nn.Module):
    """Windows of samples to log-mel energies: the numbers both `Fbank` and `OnlineFbank` give.

    Kaldi's recipe on samples in [-1, 1]: mean removed, pre-emphasis with the first sample repeated, Povey window
    (a symmetric Hann window to the power 0.85), power spectrum, triangular mel filters, natural log with a floor.
    """

    window_shape: Tensor
    mel_weights: Tensor

    def __init__(self, cfg: FbankConfig) -> None:
        super().__init__()
        self.cfg = cfg
        # Constants, not weights: they follow from the config, so checkpoints need not carry them. The window is made
        # in single precision, as Kaldi's users do: far below a loud tone the energies are its rounding error.
        self.register_buffer("window_shape", torch.hann_window(cfg.window, periodic=False).pow(0.85), persistent=False)
        self.register_buffer("mel_weights", mel_filters(cfg), persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """(..., window) samples to (..., F) log-mel energies."""
        frames = frames - frames.mean(-1, keepdim=True)
        previous = torch.cat([frames[..., :1], frames[..., :-1]], dim=-1)
        shaped = (frames - self.cfg.preemphasis * previous) * self.window_shape
        spectrum = torch.fft.rfft(shaped, n=self.cfg.fft_size)
        power = spectrum.real.square() + spectrum.imag.square()
        energies = power @ self.mel_weights
        return energies.clamp_min(torch.finfo(torch.float32).eps).log()


def mel_filters(cfg: FbankConfig) -> Tensor:
    """(fft_size / 2 + 1, F) weights of triangles equally spaced in mel = 1127 ln(1 + f / 700); the last row is zero."""
    first, last = _mel(torch.tensor([cfg.low_hz, cfg.upper_hz])).tolist()
    edges = torch.linspace(first, last, cfg.num_bins + 2, dtype=torch.float64)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    num_used = cfg.fft_size // 2
    bins = _mel(torch.arange(num_used) * cfg.sample_rate / cfg.fft_size).unsqueeze(1)
    weights = torch.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)).clamp_min(0)
    return torch.cat([weights, weights.new_zeros(1, cfg.num_bins)]).float()


def _mel(hz: Tensor) -> Tensor:
    return 1127.0 * (1.0 + hz.double() / 700.0).log()


class Fbank(nn.Module):
    """Log-mel features of a batch. A row's frames depend on its own samples alone, never on how far it is padded.

    Frames are centred on multiples of the shift (10 ms), so the window reaches past both ends of a recording; there
    the signal is mirrored, each row at its own end (Kaldi's `snip_edges=false`).
    """

    def __init__(self, cfg: FbankConfig | None = None) -> None:
        super().__init__()
        self.cfg = cfg or FbankConfig()
        self.frame_filter = FrameFilter(self.cfg)

    def forward(self, samples: Tensor, sample_lens: Tensor) -> Features:
        """(B, N) samples in [-1, 1] with their lengths (B,) to features; (n + 80) // 160 frames at 16 kHz."""
        cfg = self.cfg
        feature_lens = torch.div(sample_lens + cfg.shift // 2, cfg.shift, rounding_mode="floor")
        num_frames = cfg.num_frames(samples.shape[1])
        if num_frames == 0:
            return Features(samples.new_zeros(samples.shape[0], 0, cfg.num_bins), feature_lens)
        frames = mirror_ends(samples, sample_lens, cfg).unfold(1, cfg.window, cfg.shift)[:, :num_frames]
        features = self.frame_filter(frames)
        return Features(
            features.masked_fill(pad_mask(feature_lens, num_frames).unsqueeze(-1), PADDING_VALUE), feature_lens
        )


def mirror_ends(samples: Tensor, sample_lens: Tensor, cfg: FbankConfig) -> Tensor:
    """Continue rows by reflection, as often as needed: (B, N) to (B, N + window), of which `left_mirror` in front."""
    start = -left_mirror(cfg)
    positions = torch.arange(start, start + samples.shape[1] + cfg.window, device=samples.device)
    lens = sample_lens.clamp_min(1).unsqueeze(1)
    folded = positions.remainder(2 * lens)
    source = torch.where(folded < lens, folded, 2 * lens - 1 - folded)
    return samples.gather(1, source)


def left_mirror(cfg: FbankConfig) -> int:
    """Samples by which the first window reaches in front of the recording: 120 (7.5 ms) at 16 kHz."""
    return cfg.window // 2 - cfg.shift // 2

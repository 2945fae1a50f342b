"""Change of sample rate, for whole recordings and for streams, from one definition."""

from __future__ import annotations

from math import gcd

import torch
from torch import Tensor, nn
from torchaudio.transforms import Resample

from asr.errors import AudioError

MAX_KERNEL_WEIGHTS = 1 << 24
"""Above this the two rates have so little in common that the filter bank would not fit a small machine's memory."""
_HOPS_AT_ONCE = 1 << 14
"""Windows overlap, so all those of a long recording would take many times its own memory."""


class Resampler(nn.Module):
    """Band-limited, zero-delay change of sample rate (torchaudio's windowed-sinc kernel).

    A recording of n samples becomes ceil(n * out_rate / in_rate). For a live stream, `stream()` gives an object that
    takes pieces and returns the same samples; a whole recording is simply one long piece.

    Raises:
        AudioError: a rate is not positive, or the two have too small a common divisor.
    """

    filters: Tensor

    def __init__(self, in_rate: int, out_rate: int) -> None:
        super().__init__()
        if in_rate <= 0 or out_rate <= 0:
            raise AudioError(f"cannot resample from {in_rate} to {out_rate} Hz; rates must be positive")
        self.in_rate, self.out_rate = in_rate, out_rate
        common = gcd(in_rate, out_rate)
        self.hop_in, self.hop_out = in_rate // common, out_rate // common
        if self.hop_out * self.hop_in > MAX_KERNEL_WEIGHTS:
            raise AudioError(f"cannot resample from {in_rate} to {out_rate} Hz: no common divisor; use a standard rate")
        filters = torch.zeros(1, 1)
        self.reach = 0
        if in_rate != out_rate:
            inner = Resample(in_rate, out_rate)
            filters, self.reach = inner.kernel[:, 0].t().contiguous(), int(inner.width)
        self.register_buffer("filters", filters, persistent=False)  # (samples they see, hop_out)

    def forward(self, samples: Tensor) -> Tensor:
        """(N,) samples at the old rate to (ceil(N * out / in),) at the new."""
        stream = self.stream()
        return torch.cat([stream.accept(samples), stream.finish()])

    def stream(self) -> ResamplerStream:
        """A fresh stream of pieces."""
        return ResamplerStream(self)


class ResamplerStream:
    """State of one stream: the last samples that future output still needs, under a hundred at common rates."""

    def __init__(self, resampler: Resampler) -> None:
        self._resampler = resampler
        self._reset()

    def _reset(self) -> None:
        # In front of a recording there is silence, as far as the kernel reaches.
        self._pending = self._resampler.filters.new_zeros(self._resampler.reach)
        self._num_in = 0
        self._num_out = 0

    def accept(self, samples: Tensor) -> Tensor:
        """Take (N,) samples, N from 0 up; return the output that is complete, (M,), M from 0 up."""
        self._num_in += len(samples)
        return self._advance(samples.to(self._pending))

    def finish(self) -> Tensor:
        """Return the output that was waiting for the end."""
        r = self._resampler
        total = -(-self._num_in * r.hop_out // r.hop_in)
        missing = total - self._num_out
        out = self._advance(self._pending.new_zeros(r.reach + r.hop_in))[:missing]
        self._reset()
        return out

    def _advance(self, samples: Tensor) -> Tensor:
        r = self._resampler
        if r.in_rate == r.out_rate:
            self._num_out += len(samples)
            return samples
        pending = torch.cat([self._pending, samples])
        num_hops = max(0, (len(pending) - len(r.filters)) // r.hop_in + 1)
        if num_hops == 0:
            self._pending = pending
            return pending[:0]
        # One hop turns hop_in samples into hop_out, each by a filter of its own. A product and no convolution, of which
        # the library behind torch keeps a plan for every length it meets: pieces have any.
        windows = pending.unfold(0, len(r.filters), r.hop_in)
        phases = torch.cat([some @ r.filters for some in windows.split(_HOPS_AT_ONCE)])
        self._pending = pending[num_hops * r.hop_in :].clone()
        self._num_out += num_hops * r.hop_out
        return phases.reshape(-1)

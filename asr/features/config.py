"""The one definition of the acoustic features' numbers."""

from __future__ import annotations

from dataclasses import dataclass

from asr.errors import ConfigError


@dataclass(kw_only=True)
class FbankConfig:
    """Kaldi-compatible log-mel filterbank; the defaults are those of published Zipformer models."""

    sample_rate: int = 16000
    """Samples per second of the audio that comes in."""
    num_bins: int = 80
    """Mel bins F, 1 or more."""
    window_ms: float = 25.0
    """Length of one analysis window, milliseconds."""
    shift_ms: float = 10.0
    """Distance between windows, milliseconds; 10 gives 100 frames per second."""
    preemphasis: float = 0.97
    """Share of the previous sample that is subtracted, 0 to 1."""
    low_hz: float = 20.0
    """Lower edge of the lowest bin, Hz."""
    high_hz: float = -400.0
    """Upper edge of the highest bin, Hz; 0 or less counts down from half the sample rate."""

    def __post_init__(self) -> None:
        nyquist = self.sample_rate / 2
        if not 0 <= self.low_hz < self.upper_hz <= nyquist:
            raise ConfigError(
                f"features.low_hz={self.low_hz} and features.high_hz={self.high_hz} leave no band below "
                f"{nyquist:g} Hz; use 20 and -400"
            )
        if self.num_bins < 1:
            raise ConfigError(f"features.num_bins={self.num_bins} must be 1 or more; use 80")
        if not 0 < self.shift_ms <= self.window_ms:
            raise ConfigError(f"features.shift_ms={self.shift_ms} must lie in (0, window_ms={self.window_ms}]; use 10")

    @property
    def upper_hz(self) -> float:
        """Upper edge in Hz, resolved."""
        return self.high_hz if self.high_hz > 0 else self.sample_rate / 2 + self.high_hz

    @property
    def window(self) -> int:
        """Window length in samples."""
        return int(self.sample_rate * self.window_ms / 1000)

    @property
    def shift(self) -> int:
        """Window shift in samples."""
        return int(self.sample_rate * self.shift_ms / 1000)

    @property
    def fft_size(self) -> int:
        """Window length rounded up to a power of two."""
        return 1 << (self.window - 1).bit_length()

    def num_frames(self, num_samples: int) -> int:
        """Frames made of so many samples: the nearest multiple of the shift, (n + 80) // 160 at 16 kHz."""
        return (num_samples + self.shift // 2) // self.shift

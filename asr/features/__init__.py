"""Log-mel features, offline and online from one definition; reading and resampling of audio."""

from asr.features.config import FbankConfig

__all__ = ["FbankConfig"]

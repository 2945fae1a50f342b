"""Log-mel features, offline and online from one definition; reading and resampling of audio."""

from asr.features.audio import Audio, AudioInfo, audio_info, load_16k, read_audio
from asr.features.background import Background
from asr.features.config import FbankConfig
from asr.features.fbank import LOG_FLOOR, PADDING_VALUE, Fbank, Features
from asr.features.online import OnlineFbank
from asr.features.resample import Resampler, ResamplerStream

__all__ = [
    "LOG_FLOOR",
    "PADDING_VALUE",
    "Audio",
    "AudioInfo",
    "Background",
    "Fbank",
    "FbankConfig",
    "Features",
    "OnlineFbank",
    "Resampler",
    "ResamplerStream",
    "audio_info",
    "load_16k",
    "read_audio",
]

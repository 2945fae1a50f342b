"""Audio and features of a cut, as tensors."""

from __future__ import annotations

from functools import lru_cache

import torch
from lhotse.audio.backend import LibsndfileBackend, get_current_audio_backend, set_current_audio_backend
from lhotse.cut import Cut
from torch import Tensor

from asr.errors import AudioError
from asr.features import Fbank


def load_samples(cut: Cut) -> Tensor:
    """(N,) float32 samples of a cut at its rate, channels mixed to one, speed and rate changes applied.

    Raises:
        AudioError: the audio cannot be read, although it could when the list was made.
    """
    previous = get_current_audio_backend()
    # libsndfile alone: lhotse's default goes on to try libraries that this toolkit does not use.
    set_current_audio_backend(_libsndfile())
    try:
        samples = cut.load_audio()
    except Exception as error:  # lhotse raises whatever its backends raise
        reason = str(error).strip().splitlines()[-1]
        raise AudioError(f"the audio of {cut.id} cannot be read any more ({reason}); prepare the data again") from error
    finally:
        set_current_audio_backend(previous)
    return torch.from_numpy(samples).mean(0) if len(samples) > 1 else torch.from_numpy(samples[0])


def load_features(cut: Cut, fbank: Fbank) -> Tensor:
    """(T, F) log-mel features of a cut: the stored ones where there are some, else computed from its audio."""
    if cut.has_features:
        return torch.from_numpy(cut.load_features())
    return compute_features(load_samples(cut), fbank)


def compute_features(samples: Tensor, fbank: Fbank) -> Tensor:
    """(T, F) log-mel features of (N,) samples."""
    with torch.no_grad():
        return fbank(samples[None], torch.tensor([len(samples)])).features[0]


@lru_cache(maxsize=1)
def _libsndfile() -> LibsndfileBackend:
    return LibsndfileBackend()

"""Features computed once and kept on disk, without loss."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lhotse import CutSet
from torch import Tensor

from asr.features import FbankConfig


def store_features(
    cuts: CutSet,
    folder: Path,
    split: str,
    *,
    fbank: FbankConfig | None = None,
    speeds: Sequence[float] = (1.0,),
    num_workers: int = 2,
) -> Path:
    """Compute features of `cuts` at every speed; returns `folder/feats-<split>.jsonl.gz`. Resumable."""
    raise NotImplementedError


def feature_stats(cuts: CutSet) -> tuple[Tensor, float]:
    """Mean per mel bin, (F,), and one standard deviation over everything, of stored features."""
    raise NotImplementedError

"""Utterances of different lengths to one padded batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence

from asr.features import PADDING_VALUE

TENSORS = ("features", "feature_lens", "tokens", "token_lens")


class Batch(NamedTuple):
    """What a training or evaluation step works on."""

    features: Tensor
    """(B, T, F) float32 log-mel, raw, 100 Hz; padded with ln(1e-10)."""
    feature_lens: Tensor
    """(B,) int64 frames."""
    tokens: Tensor
    """(B, S) int64, padded with 0."""
    token_lens: Tensor
    """(B,) int64."""
    texts: list[str]
    """Transcripts."""
    ids: list[str]
    """Cut ids."""
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    """Position of the batch in its epoch on this process, from 0."""
    counts: bool = True
    """False for a batch that only keeps this process in step with the others: nothing is learnt from it."""

    def to(self, device: torch.device) -> Batch:
        """The same with its tensors on `device`."""
        moved = {name: getattr(self, name).to(device, non_blocking=True) for name in TENSORS}
        return self._replace(**moved)


def collate(
    features: Sequence[Tensor],
    tokens: Sequence[Sequence[int]],
    *,
    texts: list[str],
    ids: list[str],
    index: int,
    counts: bool = True,
    multiple: int = 1,
) -> Batch:
    """Pad B utterances, (T_b, F) features and token lists, to one batch whose T is a multiple of `multiple`."""
    padded = pad_sequence(list(features), batch_first=True, padding_value=PADDING_VALUE)
    return Batch(
        features=pad(padded, (0, 0, 0, -padded.shape[1] % multiple), value=PADDING_VALUE),
        feature_lens=torch.tensor([len(x) for x in features]),
        tokens=pad_sequence([torch.tensor(row, dtype=torch.int64) for row in tokens], batch_first=True),
        token_lens=torch.tensor([len(row) for row in tokens]),
        texts=texts,
        ids=ids,
        index=index,
        counts=counts,
    )

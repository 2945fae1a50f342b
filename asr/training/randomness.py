"""Randomness that follows from the step alone: a resumed run draws what an uninterrupted one would have drawn."""

from __future__ import annotations

import hashlib
import random

import numpy as np
import torch


def derive_seed(*parts: int) -> int:
    """A 63-bit seed from whole numbers; nearby numbers give unrelated seeds."""
    digest = hashlib.blake2b(" ".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def seed_everything(*parts: int) -> None:
    """Seed python, numpy and torch from whole numbers such as (seed, rank, step)."""
    seed = derive_seed(*parts)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)

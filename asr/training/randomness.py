"""Randomness that follows from the step alone: a resumed run draws what an uninterrupted one would have drawn."""

from __future__ import annotations

import hashlib
import random

import numpy as np
import torch


def seed_everything(*parts: int) -> None:
    """Seed python, numpy and torch from whole numbers such as (seed, slot, step); nearby ones are unrelated."""
    digest = hashlib.blake2b(" ".join(map(str, parts)).encode(), digest_size=8).digest()
    seed = int.from_bytes(digest, "little") >> 1
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)

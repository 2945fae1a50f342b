"""Writes a model with its weights in half precision, for tests: python -m tests.models.make exp/digits"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from asr.checkpoint.model import load_model, save_model

DIGITS = Path(__file__).with_name("digits.safetensors")


def main(run: str) -> None:
    loaded = load_model(run)
    weights = {name: w.half() if w.dtype == torch.float32 else w for name, w in loaded.model.state_dict().items()}
    save_model(DIGITS, loaded.model, loaded.tokenizer, weights=weights)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Predictor and joiner against published reference outputs."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from torch import Tensor

from asr.models.transducer.joiner import Joiner
from asr.models.transducer.predictor import Predictor

TOLERANCE = 1e-5


def groups(arrays: dict[str, np.ndarray], pattern: str) -> dict[str, dict[str, Tensor]]:
    """Arrays by the group that leads their path, for the groups whose name matches."""
    found: dict[str, dict[str, Tensor]] = {}
    for name, array in arrays.items():
        head, _, rest = name.partition("/")
        if re.fullmatch(pattern, head):
            found.setdefault(head, {})[rest] = torch.from_numpy(array)
    if not found:
        pytest.skip(f"no group {pattern} among the reference numbers")
    return found


def parameters(group: dict[str, Tensor]) -> dict[str, Tensor]:
    """A group's parameters under our names: what was called decoder is the predictor."""
    prefix = "param/"
    return {k[len(prefix) :].replace("decoder_", "predictor_"): v for k, v in group.items() if k.startswith(prefix)}


def test_predictor(golden):
    for name, case in groups(golden("modules.npz"), r"decoder_ctx\d+").items():
        weights = parameters(case)
        vocab_size, dim = weights["embedding.weight"].shape
        context_size = int(case["context_size"])
        predictor = Predictor(vocab_size, dim, context_size).eval()
        predictor.load_state_dict(weights)
        padded = predictor(case["tokens_padded_mode"], pad_left=True)
        torch.testing.assert_close(padded, case["out_need_pad_true"], atol=TOLERANCE, rtol=0, msg=f"{name} padded")
        stepped = predictor(case["tokens_context"], pad_left=False)
        torch.testing.assert_close(stepped, case["out_need_pad_false"], atol=TOLERANCE, rtol=0, msg=f"{name} step")


def test_joiner(golden):
    for name, case in groups(golden("modules.npz"), r"joiner_\d+").items():
        weights = parameters(case)
        joiner_dim, encoder_dim = weights["encoder_proj.weight"].shape
        vocab_size = weights["output_linear.weight"].shape[0]
        predictor_dim = weights["predictor_proj.weight"].shape[1]
        joiner = Joiner(encoder_dim, predictor_dim, joiner_dim, vocab_size).eval()
        joiner.load_state_dict(weights)
        logits = joiner(case["encoder_out"], case["decoder_out"])
        torch.testing.assert_close(logits, case["logits"], atol=TOLERANCE, rtol=0, msg=name)
        unprojected = joiner(case["encoder_projected"], case["decoder_projected"], project=False)
        expected = case["logits_project_input_false"]
        torch.testing.assert_close(unprojected, expected, atol=TOLERANCE, rtol=0, msg=f"{name} without projections")

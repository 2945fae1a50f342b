"""Losses beside the transducer's, against numbers worked out by hand."""

from __future__ import annotations

from math import log

import pytest
import torch

from asr.losses import consistency_loss, smoothed_cross_entropy


def test_consistency_by_hand():
    """Two copies of one utterance, two frames, two symbols: (1/2, 1/2) against (1/4, 3/4); then padding."""
    first, second = torch.tensor([[0.5, 0.5], [0.9, 0.1]]), torch.tensor([[0.25, 0.75], [0.9, 0.1]])
    log_probs = torch.stack([first, second]).log()
    towards_second = 0.25 * log(0.25 / 0.5) + 0.75 * log(0.75 / 0.5)  # what the first copy is charged
    towards_first = 0.5 * log(0.5 / 0.25) + 0.5 * log(0.5 / 0.75)
    found = consistency_loss(log_probs, torch.tensor([2, 2]))
    assert found.tolist() == pytest.approx([towards_second, towards_first], rel=1e-5)
    log_probs[:, 1] = torch.tensor([[0.2, 0.8], [0.7, 0.3]]).log()  # beyond the length: not counted
    assert consistency_loss(log_probs, torch.tensor([1, 1])).tolist() == pytest.approx(found.tolist(), rel=1e-5)


def test_consistency_pulls_each_copy_and_pushes_none():
    """d/dq of -p log q is -p/q at the copy that is charged; the target is a constant."""
    probs = torch.tensor([[[0.5, 0.5]], [[0.25, 0.75]]])
    log_probs = probs.log().requires_grad_()
    consistency_loss(log_probs, torch.tensor([1, 1])).sum().backward()
    assert log_probs.grad.flatten().tolist() == pytest.approx([-0.25, -0.75, -0.5, -0.5])


def test_copies_are_paired_across_the_batch():
    """Rows 0 and 2, 1 and 3 are the same utterance."""
    torch.manual_seed(1)
    log_probs = torch.randn(4, 3, 5).log_softmax(-1)
    lens = torch.tensor([3, 2, 3, 2])
    whole = consistency_loss(log_probs, lens)
    for row in (0, 1):
        pair = consistency_loss(log_probs[[row, row + 2]], lens[[row, row + 2]])
        assert whole[[row, row + 2]].tolist() == pytest.approx(pair.tolist(), rel=1e-5)
    equal = torch.cat([log_probs[:2], log_probs[:2]])
    assert consistency_loss(equal, lens).abs().max() < 1e-6


def test_smoothed_cross_entropy_by_hand():
    """Three symbols at probabilities 1/2, 1/4, 1/4: the target has .9 + .1/3, each other .1/3."""
    logits = torch.tensor([[[0.5, 0.25, 0.25], [0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]]).log()
    targets = torch.tensor([[0, 2, -1]])
    spread = 0.1 / 3
    first = -(0.9 + spread) * log(0.5) - 2 * spread * log(0.25)
    second = -spread * log(0.5) - (0.9 + 2 * spread) * log(0.25)
    assert smoothed_cross_entropy(logits, targets).item() == pytest.approx(first + second, rel=1e-5)
    assert smoothed_cross_entropy(logits, targets, smoothing=0.0).item() == pytest.approx(log(2) + log(4), rel=1e-5)

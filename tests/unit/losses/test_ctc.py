"""CTC per utterance."""

import math

import torch

from asr.losses import ctc_loss


def test_sums_over_alignments_and_does_not_normalise():
    log_probs = torch.randn(1, 2, 3).log_softmax(2)
    p = log_probs[0].exp()
    loss = ctc_loss(log_probs, torch.tensor([2]), torch.tensor([[2]]), torch.tensor([1]))
    expected = -torch.log(p[0, 2] * p[1, 2] + p[0, 2] * p[1, 0] + p[0, 0] * p[1, 2])
    torch.testing.assert_close(loss, expected.unsqueeze(0))


def test_ragged_batch_with_empty_and_impossible_transcripts():
    log_probs = torch.randn(3, 4, 5).log_softmax(2)
    symbols = torch.tensor([[1, 2, 9], [7, 7, 7], [3, 3, 3]])
    loss = ctc_loss(log_probs, torch.tensor([4, 3, 4]), symbols, torch.tensor([2, 0, 3]))
    alone = ctc_loss(log_probs[:1], torch.tensor([4]), symbols[:1, :2], torch.tensor([2]))
    torch.testing.assert_close(loss[:1], alone)
    torch.testing.assert_close(loss[1], -log_probs[1, :3, 0].sum())
    assert loss[2] == math.inf, "three equal symbols need two blanks between them, five frames in all"


def test_a_batch_of_nothing_but_empty_transcripts():
    log_probs = torch.randn(2, 3, 5).log_softmax(2)
    loss = ctc_loss(log_probs, torch.tensor([3, 2]), torch.zeros(2, 0, dtype=torch.long), torch.tensor([0, 0]))
    torch.testing.assert_close(loss, -torch.stack([log_probs[0, :, 0].sum(), log_probs[1, :2, 0].sum()]))

"""Transducer losses where something special happens."""

import math

import pytest
import torch

from asr.errors import ConfigError
from asr.losses import (
    Topology,
    full_transducer_loss,
    prune_ranges,
    pruned_joiner_loss,
    pruned_transducer_loss,
    smoothed_transducer_loss,
    transducer_score,
)


@pytest.fixture
def batch():
    torch.manual_seed(1)
    return torch.randint(1, 7, (3, 5)), torch.tensor([5, 3, 0]), torch.tensor([8, 6, 7])


def test_full_loss_and_gradient_agree_with_torchaudio(batch):
    torchaudio = pytest.importorskip("torchaudio")
    symbols, symbol_lens, frame_lens = batch
    logits = torch.randn(3, 8, 6, 7, requires_grad=True)
    ours = full_transducer_loss(logits, *batch)
    (our_grad,) = torch.autograd.grad(ours.sum(), logits)
    int_args = symbols.int(), frame_lens.int(), symbol_lens.int()
    theirs = torchaudio.functional.rnnt_loss(logits, *int_args, blank=0, reduction="none")
    torch.testing.assert_close(ours, theirs)
    (their_grad,) = torch.autograd.grad(theirs.sum(), logits)
    torch.testing.assert_close(our_grad, their_grad, atol=1e-5, rtol=1e-4)


def test_another_blank(batch):
    """Exchanging the names of classes 0 and 4 changes nothing."""
    symbols, *lens = batch
    symbols = symbols.where(symbols != 4, torch.tensor(1))
    logits, order = torch.randn(3, 8, 6, 7), torch.tensor([4, 1, 2, 3, 0, 5, 6])
    expected = full_transducer_loss(logits, symbols, *lens)
    torch.testing.assert_close(full_transducer_loss(logits[..., order], symbols, *lens, blank_id=4), expected)


@pytest.mark.parametrize("topology", [Topology.MODIFIED, Topology.CONSTRAINED])
def test_more_symbols_than_frames_is_impossible_but_harmless(topology):
    px, py = torch.randn(2, 4, 5, requires_grad=True), torch.randn(2, 5, 5, requires_grad=True)
    result = transducer_score(px, py, torch.tensor([4, 2]), torch.tensor([3, 5]), topology=topology)
    assert result.score[0] == -math.inf and result.score[1].isfinite()
    assert not result.px_grad[0].any() and not result.py_grad[0].any()
    result.score.sum().backward()
    assert px.grad.isfinite().all() and not px.grad[0].any() and not py.grad[0].any()


def test_regular_takes_any_number_of_symbols_on_one_frame():
    px, py = torch.randn(1, 4, 1), torch.randn(1, 5, 1)
    score = transducer_score(px, py, torch.tensor([4]), torch.tensor([1])).score
    torch.testing.assert_close(score, (px.sum() + py[0, 4, 0]).unsqueeze(0))


def test_nothing_but_empty_transcripts():
    lens = torch.zeros(2, dtype=torch.long), torch.tensor([4, 2])
    symbols = torch.zeros(2, 0, dtype=torch.long)
    am, lm = torch.randn(2, 4, 5), torch.randn(2, 1, 5)
    simple = smoothed_transducer_loss(am, lm, symbols, *lens, lm_scale=0.25)
    ranges = prune_ranges(simple.px_grad, simple.py_grad, *lens, 5)
    assert ranges.shape == (2, 4, 1) and not ranges.any()
    encoder, predictor = torch.randn(2, 4, 3), torch.randn(2, 1, 3)
    weight, bias = torch.randn(5, 3), torch.randn(5)
    loss = pruned_joiner_loss(encoder, predictor, weight, bias, symbols, ranges, *lens)
    blanks = ((encoder + predictor).tanh() @ weight.t() + bias).log_softmax(2)[:, :, 0]
    torch.testing.assert_close(loss, -torch.stack([blanks[0].sum(), blanks[1, :2].sum()]))


def test_delay_penalty_favours_early_symbols():
    px, py, lens = torch.zeros(1, 2, 9), torch.zeros(1, 3, 9), (torch.tensor([2]), torch.tensor([9]))
    frames = torch.arange(9.0)
    delays = [(transducer_score(px, py, *lens, delay_penalty=p).px_grad * frames).sum() for p in (0.0, 0.2)]
    assert delays[1] < delays[0]


def test_occupations_stay_exact_on_long_utterances():
    """Scores of thousands of nats leave float32 no digits for the occupations."""
    px, py = torch.randn(1, 200, 1000) - 6, torch.randn(1, 201, 1000) - 6
    result = transducer_score(px, py, torch.tensor([200]), torch.tensor([1000]))
    torch.testing.assert_close(result.py_grad.sum(1), torch.ones(1, 1000), atol=1e-5, rtol=0)


def test_first_of_equally_good_windows():
    occupation = torch.zeros(1, 5, 4)
    occupation[0, :2, 1] = 0.5  # windows 0 and, but for the entering symbol, 1 tie on frame 1
    occupation[0, 2, 2] = 1.0  # windows 0, 1 and 2 of three positions hold position 2
    no_symbols = torch.zeros(1, 4, 4)
    ranges = prune_ranges(no_symbols, occupation, torch.tensor([4]), torch.tensor([4]), 3)
    assert ranges[0, :, 0].tolist() == [0, 0, 0, 2]


def test_windows_hurry_where_the_future_needs_it():
    """Two positions wide and one step per frame: the last window forces all before it."""
    nothing = torch.zeros(1, 4, 5), torch.zeros(1, 5, 5)
    lens = torch.tensor([4]), torch.tensor([5])
    assert prune_ranges(*nothing, *lens, 2)[0, :, 0].tolist() == [0, 0, 1, 2, 3]


def test_windows_widen_for_many_symbols_on_few_frames():
    nothing = torch.zeros(1, 9, 2), torch.zeros(1, 10, 2)
    lens = torch.tensor([9]), torch.tensor([2])
    with pytest.warns(UserWarning, match="prune_range=3"):
        assert prune_ranges(*nothing, *lens, 3).shape == (1, 2, 6)
    assert prune_ranges(*nothing, *lens, 3, Topology.MODIFIED).shape == (1, 2, 3)
    with pytest.raises(ConfigError, match="prune_range=1"):
        prune_ranges(*nothing, *lens, 1)


def test_autocast_and_half_inputs_leave_single_precision(batch):
    symbols, *lens = batch
    am, lm, encoder, predictor = (torch.randn(3, n, 7) for n in (8, 6, 8, 6))
    weight, bias = torch.randn(7, 7), torch.randn(7)
    ranges = prune_ranges(torch.zeros(3, 5, 8), torch.zeros(3, 6, 8), *lens, 3)

    def losses():
        leaf = encoder.clone().requires_grad_()
        loss = pruned_joiner_loss(leaf, predictor, weight, bias, symbols, ranges, *lens)
        loss.sum().backward()
        return smoothed_transducer_loss(am, lm, symbols, *lens).loss, loss, leaf.grad

    plain = losses()
    with torch.autocast("cpu", torch.bfloat16):
        mixed = losses()
    for ours, expected in zip(mixed, plain, strict=True):
        assert torch.equal(ours, expected)
    assert smoothed_transducer_loss(am.bfloat16(), lm.bfloat16(), symbols, *lens).loss.dtype == torch.float32


def count_denormals(x: torch.Tensor) -> int:
    return int(((x != 0) & (x.abs() < torch.finfo(x.dtype).tiny)).sum())


def test_gradients_hold_no_denormals(batch):
    symbols, *lens = batch
    steep = 45.0 * torch.randn(3, 8, 6, 7)
    assert count_denormals(steep.softmax(3)), "these logits do produce denormal probabilities"
    am, lm, logits = (x.clone().requires_grad_() for x in (steep[:, :, 0], steep[:, 0], steep[:, :, :3]))
    encoder, predictor = (torch.randn(3, n, 7, requires_grad=True) for n in (8, 6))
    weight, bias = (60 * torch.randn(7, 7)).requires_grad_(), torch.zeros(7, requires_grad=True)
    ranges = prune_ranges(torch.zeros(3, 5, 8), torch.zeros(3, 6, 8), *lens, 3)
    loss = smoothed_transducer_loss(am, lm, symbols, *lens, lm_scale=0.25).loss
    loss = loss + pruned_transducer_loss(logits, symbols, ranges, *lens)
    loss = loss + pruned_joiner_loss(encoder, predictor, weight, bias, symbols, ranges, *lens)
    loss.sum().backward()
    for leaf in (am, lm, logits, encoder, predictor, weight, bias):
        assert leaf.grad.any() and not count_denormals(leaf.grad)


@pytest.mark.parametrize("topology", Topology)
def test_fastemit_raises_the_gradient_of_symbols_alone(batch, topology):
    """FastEmit, equation 10: the loss is the same, a symbol's gradient (1 + share) times what it was."""
    _, symbol_lens, frame_lens = batch
    px, py = (-torch.rand(3, rows, 8).requires_grad_() for rows in (5, 6))
    plain, raised = (
        transducer_score(px, py, symbol_lens, frame_lens, topology=topology, fastemit=share).score
        for share in (0.0, 0.1)
    )
    assert torch.equal(plain, raised)
    before, after = (torch.autograd.grad(score.sum(), (px, py)) for score in (plain, raised))
    torch.testing.assert_close(after[0], 1.1 * before[0])
    torch.testing.assert_close(after[1], before[1])
    assert before[0].abs().max() > 0


def test_fastemit_reaches_both_losses(batch):
    symbols, symbol_lens, frame_lens = batch
    am, lm = torch.randn(3, 8, 7, requires_grad=True), torch.randn(3, 6, 7, requires_grad=True)
    grads = []
    for share in (0.0, 0.5):
        simple = smoothed_transducer_loss(am, lm, symbols, symbol_lens, frame_lens, fastemit=share)
        ranges = prune_ranges(simple.px_grad, simple.py_grad, symbol_lens, frame_lens, 3)
        weight, bias = torch.eye(7), torch.zeros(7)
        args = (weight, bias, symbols, ranges, symbol_lens, frame_lens)
        pruned = pruned_joiner_loss(am, lm, *args, fastemit=share)
        grads.append([torch.autograd.grad(loss.sum(), am)[0] for loss in (simple.loss, pruned)])
    for plain, raised in zip(*grads):
        # Symbols are pushed up more, the blank is not pulled up more.
        assert (plain - raised).abs().max() > 1e-3

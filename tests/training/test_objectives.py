"""Totals are the weighted sums that the published recipes minimise, whatever heads a model has."""

from __future__ import annotations

import pytest
import torch

from asr.config.compose import compose
from asr.errors import ConfigError
from asr.losses import consistency_loss, ctc_loss, smoothed_cross_entropy
from asr.models.transducer import Transducer
from asr.nn.chunks import ChunkContext
from asr.training.memory import _at_once
from asr.training.objective import TransducerObjective
from tests.training.tiny import MODEL

OBJECTIVES = {
    "transducer": {"simple": 0.5, "pruned": 1.0},
    "transducer_ctc": {"simple": 0.5, "pruned": 1.0, "ctc": 0.2},
    "cr_ctc": {"ctc": 1.0, "consistency": 0.2},
    "ctc_attention": {"ctc": 0.1, "attention": 0.9},
    "cr_ctc_attention": {"ctc": 0.1, "attention": 0.9, "consistency": 0.02},
    "transducer_cr_ctc": {"simple": 0.5, "pruned": 1.0, "ctc": 0.1, "consistency": 0.02},
}
SMALL = "model.attention_decoder={num_layers:1,dim:16,num_heads:2,feedforward_dim:16}"


def build(name: str) -> TransducerObjective:
    more = [SMALL] if "attention" in name else []
    config = compose("train", ["recipe=digits", f"objective={name}", *MODEL, *more])
    torch.manual_seed(5)
    return TransducerObjective(Transducer(config.model), config.loss, config.consistency)


def batch() -> tuple[torch.Tensor, ...]:
    torch.manual_seed(6)
    tokens = torch.tensor([[3, 4, 5], [6, 7, 0]])
    return torch.randn(2, 61, 80), torch.tensor([61, 45]), tokens, torch.tensor([3, 2])


@pytest.mark.parametrize("name", OBJECTIVES)
def test_total_is_the_weighted_sum(name):
    objective = build(name).train()
    loss = objective(*batch(), step=10_000, context=ChunkContext())
    assert loss.parts.keys() == OBJECTIVES[name].keys()
    expected = sum(scale * float(loss.parts[part]) for part, scale in OBJECTIVES[name].items())
    assert loss.total.item() == pytest.approx(expected, rel=1e-5)
    loss.total.backward()
    assert any(p.grad is not None for p in objective.model.encoder.parameters())


def test_parts_are_the_losses_of_the_heads():
    """In evaluation: nothing random, one view."""
    objective = build("cr_ctc_attention").eval()
    model, (features, lens, tokens, token_lens) = objective.model, batch()
    loss = objective(features, lens, tokens, token_lens, step=10_000, context=ChunkContext())
    encoded = model.encode(features, lens, context=ChunkContext())
    out = encoded.out[:, : int(encoded.lens.max())]
    logits = model.attention_decoder(out, encoded.lens, tokens, token_lens)
    attention = smoothed_cross_entropy(logits, torch.tensor([[3, 4, 5, 1], [6, 7, 1, -1]])).sum()
    ctc = ctc_loss(model.ctc_head(out), encoded.lens, tokens, token_lens).sum()
    assert loss.parts["attention"].item() == pytest.approx(attention.item(), rel=1e-5)
    assert loss.parts["ctc"].item() == pytest.approx(ctc.item(), rel=1e-5)
    assert "consistency" not in loss.parts


def test_two_views_count_half(monkeypatch):
    """Without masks and dropout both views are the utterance itself, and so is the loss."""
    objective = build("cr_ctc")
    objective.model.eval()  # nothing random, while the objective itself trains
    objective.training = True
    objective.consistency.masks.prob = 0.0
    features, lens, tokens, token_lens = batch()
    loss = objective(features, lens, tokens, token_lens, step=1, context=ChunkContext())
    encoded = objective.model.encode(features, lens, context=ChunkContext())
    log_probs = objective.model.ctc_head(encoded.out[:, : int(encoded.lens.max())])
    expected = ctc_loss(log_probs, encoded.lens, tokens, token_lens).sum()
    assert loss.parts["ctc"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert loss.parts["consistency"].item() == pytest.approx(0.0, abs=1e-4)


def test_views_are_masked_differently_and_repeatably():
    from asr.training.consistency import ConsistencyConfig, two_views

    features, lens = torch.randn(3, 200, 80), torch.tensor([200, 150, 90])
    config = ConsistencyConfig()
    torch.manual_seed(1)
    views, view_lens, delay = two_views(features, lens, config)
    torch.manual_seed(1)
    assert torch.equal(two_views(features, lens, config).features, views)
    assert view_lens.tolist() == [200, 150, 90] * 2 and delay == 0
    assert views.shape == (6, 200, 80) and not torch.equal(views[:3], views[3:])
    assert torch.equal(views[2, 90:], features[2, 90:])  # padding is left alone
    config = ConsistencyConfig(scale=0.2, warm_steps=100)
    assert [config.scale_at(step) for step in (50, 100, 900)] == pytest.approx([0.1, 0.2, 0.2])


def test_a_view_that_begins_later_says_the_same_later():
    """Compared frame by frame, a delayed copy is the utterance itself, whatever its background."""
    from asr.training.consistency import ConsistencyConfig, two_views

    features, lens = torch.randn(2, 80, 8), torch.tensor([80, 52])
    features[0, 30:40] -= 9.0
    config = ConsistencyConfig(max_delay=7)
    config.masks.prob = 0.0
    delays = set()
    for seed in range(20):
        torch.manual_seed(seed)
        views, view_lens, delay = two_views(features, lens, config)
        delays.add(delay)
        assert view_lens.tolist() == [80, 52, 80 + 4 * delay, 52 + 4 * delay]
        assert torch.equal(views[:2, :80], features) and torch.equal(views[2, 4 * delay : 4 * delay + 80], features[0])
        lead = views[2, : 4 * delay]
        assert torch.equal(lead[:10], features[0, 30:40][: len(lead)])
        says = views[:, ::4].log_softmax(-1)
        assert consistency_loss(says, view_lens // 4, delay=delay).tolist() == pytest.approx([0.0] * 4, abs=1e-4)
        assert delay == 0 or consistency_loss(says, view_lens // 4).sum() > 1.0
    assert delays == set(range(8))


def test_memory_is_measured_with_the_delay():
    at_once, delayed = (
        compose("train", ["recipe=digits_cr_ctc", f"consistency.max_delay={delay}"]).longest_s(3.0) for delay in (0, 15)
    )
    assert delayed - at_once == pytest.approx(0.64)  # in steps of 0.16 s
    objective = build("cr_ctc")
    objective.consistency.max_delay = 15
    with _at_once(objective):  # whose made-up batches have that length already
        assert objective.consistency.max_delay == 0
    assert objective.consistency.max_delay == 15


@pytest.mark.parametrize("delay", [0, 3])
def test_consistency_is_that_of_the_two_halves(delay):
    from asr.training.consistency import two_views

    objective = build("cr_ctc").train()
    objective.consistency.max_delay = delay
    features, lens, *tokens = batch()

    def drawn(seed: int) -> int:
        torch.manual_seed(seed)
        return two_views(features, lens, objective.consistency).delay

    torch.manual_seed(next(seed for seed in range(100) if drawn(seed) == delay))
    seen = {}
    head = objective.model.ctc_head
    head.register_forward_hook(lambda module, args, out: seen.update(log_probs=out.detach()))
    loss = objective(features, lens, *tokens, step=1, context=ChunkContext())
    expected = 0.0
    for row, frames in enumerate((14, 10)):
        one, other = seen["log_probs"][row, :frames], seen["log_probs"][2 + row, delay : delay + frames]
        expected += float(((one.exp() - other.exp()) * (one - other)).sum())  # both directions
    assert loss.parts["consistency"].item() == pytest.approx(0.5 * expected, rel=1e-5)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["loss.ctc_scale=0.2", "model.ctc_head=false"], "loss.ctc_scale=0.2 needs a head"),
        (["loss.attention_scale=0.9"], "loss.attention_scale=0.9 needs a head"),
        (["model.transducer=false", "loss.ctc_scale=0"], "model.transducer=false leaves nothing to minimise"),
        (
            ["model.transducer=false", "model.ctc_head=false", "loss.ctc_scale=0"],
            "model.transducer=false leaves no head",
        ),
        (["objective=cr_ctc", "augment.masks.prob=0.9"], "consistency masks each copy"),
        (["objective=cr_ctc", "consistency.scale=0"], "consistency.scale=0.0 must be above 0"),
    ],
)
def test_what_cannot_be_is_refused(overrides, sentence):
    with pytest.raises(ConfigError, match=sentence):
        compose("train", ["recipe=digits", *overrides])

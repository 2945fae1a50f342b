"""Changes of low rank: nothing at the start, and plain weights on the way out."""

from __future__ import annotations

import torch
from torch import nn

from asr.nn.linear import Linear
from asr.nn.lora import add_low_rank, changes, load_changed, plain_state


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.ModuleDict({"a": nn.Sequential(Linear(6, 5), nn.Tanh(), Linear(5, 4)), "b": Linear(4, 3, bias=False)})


def run(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return module["b"](module["a"](x))


def test_changes_train_alone_from_where_the_model_was():
    plain, changed, x = model(), model(), torch.randn(7, 6)
    assert add_low_rank(changed, ["a.*"], rank=2) == ["a.0", "a.2"]
    torch.testing.assert_close(run(changed, x), run(plain, x))
    run(changed, x).square().sum().backward()
    with_grad = {name for name, parameter in changed.named_parameters() if parameter.grad is not None}
    assert with_grad == {f"a.{i}.parametrizations.weight.0.{part}" for i in (0, 2) for part in ("up", "down")}


def test_plain_state_is_what_the_changed_model_computes():
    changed, x = model(), torch.randn(7, 6)
    add_low_rank(changed, ["*"], rank=2)
    with torch.no_grad():
        for parameter in changed.parameters():
            parameter.add_(torch.randn_like(parameter))
    plain = model()
    plain.load_state_dict(plain_state(changed))
    torch.testing.assert_close(run(plain, x), run(changed, x))
    again = model()
    add_low_rank(again, ["*"], rank=2)
    load_changed(again, plain_state(changed), changes(changed))
    assert torch.equal(run(again, x), run(changed, x))

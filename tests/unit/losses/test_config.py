"""Loss settings and their warm-up."""

import pytest

from asr.errors import ConfigError
from asr.losses import TransducerLossConfig, loss_scales


def test_scales_move_linearly_and_then_stay():
    cfg = TransducerLossConfig(warm_steps=100, simple_scale=0.5, ctc_scale=0.2)
    assert loss_scales(cfg, 1) == pytest.approx((0.995, 0.109, 0.2, 0.0))
    assert loss_scales(cfg, 50) == pytest.approx((0.75, 0.55, 0.2, 0.0))
    assert loss_scales(cfg, 100) == loss_scales(cfg, 10**6) == (0.5, 1.0, 0.2, 0.0)


def test_no_warm_up_starts_at_the_final_scales():
    assert loss_scales(TransducerLossConfig(warm_steps=0), 1) == (0.5, 1.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("key", "value"),
    [("prune_range", 1), ("lm_scale", -0.1), ("am_scale", 0.9), ("simple_scale", -1), ("warm_steps", -1)],
)
def test_meaningless_settings_are_named(key, value):
    with pytest.raises(ConfigError, match=f"{key}={value}"):
        TransducerLossConfig(**{key: value})

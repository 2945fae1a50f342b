"""The background of a recording, heard in pieces."""

from __future__ import annotations

import pytest
import torch

from asr.features.background import QUIET_FRAMES, Background


@pytest.mark.parametrize("cut", [1, 7, 50])
def test_background_is_the_quietest_heard(cut):
    frames = torch.randn(50, 3)
    frames[20:40] -= 10
    background = Background(3)
    for piece in frames.split(cut):
        background.accept(piece)
    quietest = frames.mean(1).argsort()[:QUIET_FRAMES].sort().values
    assert torch.equal(background.tail(25), frames[quietest].repeat(3, 1)[:25])
    assert Background(3).tail(5).shape == (0, 3)


def test_background_stays_on_the_device_of_its_frames():
    background = Background(3)
    for _ in range(2):
        background.accept(torch.empty(50, 3, device="meta"))
    assert background.tail(25).device.type == "meta"

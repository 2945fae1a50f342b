"""Rooms: the direct sound stays where it was, the rest is added behind it."""

from __future__ import annotations

import pytest
import soundfile
import torch

from asr.data import ReverbConfig, Utterance, build_cuts
from asr.data.draw import Draw
from asr.data.reverb import ReverbPool, in_room
from asr.errors import DataError


def test_an_echo_by_hand():
    """Direct sound after 3 samples, half as much again 2 samples later; loudness is kept."""
    samples = torch.tensor([1.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    heard = in_room(samples, torch.tensor([0.0, 0.0, 0.0, 1.0, 0.0, 0.5]))
    expected = torch.tensor([1.0, 0.0, 0.5, 0.0, 0.0, 0.0]) / 1.25**0.5
    torch.testing.assert_close(heard, expected, rtol=1e-4, atol=1e-6)


def test_rooms_are_drawn(tmp_path):
    soundfile.write(tmp_path / "room.wav", [1.0, 0.0, 0.5] + 200 * [0.0], 16_000)
    cuts = build_cuts([Utterance(id="room", audio=tmp_path / "room.wav", text="")], need_text=False).cuts
    samples = torch.randn(1000)
    always, never = (ReverbPool(cuts, ReverbConfig(prob=prob)) for prob in (1.0, 0.0))
    heard = always.into_samples(samples, Draw(1))
    assert heard.shape == samples.shape and not torch.allclose(heard, samples)
    assert heard.square().mean().item() == pytest.approx(samples.square().mean().item(), rel=1e-4)
    assert torch.equal(never.into_samples(samples, Draw(1)), samples)
    with pytest.raises(DataError, match="augment.reverb.cuts is empty"):
        ReverbPool([], ReverbConfig())

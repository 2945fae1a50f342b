"""Which utterances are trained on, and what is said of the others."""

from __future__ import annotations

import pytest

from asr.data import DataConfig, Utterance, build_cuts, left_out, usable
from asr.text import train_tokenizer

TOKENIZER = train_tokenizer("char", ["zero one two three four five"])


@pytest.fixture(scope="module")
def cuts(corpus):
    """Of half a second, of more, with too much text for their length, and of a speaker of their own."""
    told = [
        *(Utterance(id=f"short{i}", audio=corpus[0].audio, text="one", duration_s=0.5) for i in range(3)),
        *(Utterance(id=f"hasty{i}", audio=corpus[0].audio, text=" ".join(["three"] * 9)) for i in range(2)),
        Utterance(id="whole", audio=corpus[1].audio, text="one two"),
        Utterance(id="other", audio=corpus[0].audio, text="one", duration_s=0.5, speaker="other"),
    ]
    return build_cuts(told).cuts


def test_it_is_said_how_many_are_left_out_and_why(cuts):
    data = DataConfig(min_utterance_s=0.6, spare_frames=1, exclude_speakers=["other"])
    assert left_out(cuts, TOKENIZER, data) == (
        "5 of 6 training utterances, counting every speed, are left out: 3 shorter than data.min_utterance_s=0.6, "
        "2 too short for their tokens (data.spare_frames=1)"
    )
    assert [cut.id for cut in usable(cuts, TOKENIZER, data)] == ["whole"]
    limits = DataConfig(max_utterance_s=0.4, min_utterance_s=0.0)
    assert left_out(cuts, TOKENIZER, limits).endswith(": 7 longer than data.max_utterance_s=0.4")


def test_nothing_is_said_where_none_is_left_out(cuts):
    heard = cuts.filter(lambda cut: not cut.id.startswith("hasty"))
    assert left_out(heard, TOKENIZER, DataConfig()) is None
    assert left_out(heard, TOKENIZER, DataConfig(exclude_speakers=["other"])) is None, "which was asked for"

"""The best sequence of an n-best list."""

from __future__ import annotations

import pytest

from asr.config.decode_config import DecodeConfig
from asr.decoding import SearchConfig, SearchMethod
from asr.errors import ConfigError
from asr.evaluation.oracle import fewest_errors
from asr.evaluation.wer import Unit


@pytest.mark.parametrize(
    ("texts", "chosen"),
    [
        (["one two", "one three two", "one three"], "one three"),
        (["one", "three"], "one"),
        ([], ""),
    ],
    ids=["the right one", "the first of equals", "nothing survived"],
)
def test_the_nearest_sequence_is_chosen(texts, chosen):
    assert fewest_errors("x", "one three", texts, unit=Unit.WORD).hypothesis == chosen


def test_only_searches_with_lists_have_an_oracle():
    with pytest.raises(
        ConfigError, match="search.method=greedy keeps no n-best list for oracle=true; use k2_fast_beam"
    ):
        DecodeConfig(checkpoint="x", oracle=True)
    assert DecodeConfig(checkpoint="x", oracle=True, search=SearchConfig(method=SearchMethod.K2_CTC)).oracle


def test_only_searches_with_lists_can_be_rescored():
    with pytest.raises(ConfigError, match="attention_scale=1.0 has no n-best list of search.method=greedy"):
        DecodeConfig(checkpoint="x", attention_scale=1.0)
    assert DecodeConfig(checkpoint="x", attention_scale=1.0, search=SearchConfig(method=SearchMethod.BEAM))

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
    assert fewest_errors("one three", texts, unit=Unit.WORD) == chosen


@pytest.mark.parametrize("choice", [{"oracle": True}, {"attention_scale": 1.0}], ids=["oracle", "attention"])
def test_only_searches_with_lists_have_something_to_choose_from(choice):
    with pytest.raises(ConfigError, match="search.method=greedy keeps no n-best list to choose from"):
        DecodeConfig(checkpoint="x", **choice)
    for method in (SearchMethod.BEAM, SearchMethod.CTC_BEAM, SearchMethod.K2_CTC):
        DecodeConfig(checkpoint="x", search=SearchConfig(method=method), **choice)

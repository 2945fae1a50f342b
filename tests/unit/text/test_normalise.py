"""Transcript normalisers."""

from __future__ import annotations

import pytest

from asr.text import normalise_english, normalise_mandarin, strip_punctuation


@pytest.mark.parametrize(
    ("raw", "spoken"),
    [
        ("  Hello,   World! ", "hello world"),
        ("Don’t -- stop; 'quoted' it’s", "don't stop quoted it's"),
        ("twenty-five and/or ten", "twenty five and or ten"),
        ("ＡＢＣ", "abc"),
        ("naïve café", "naïve café"),
        ("...", ""),
    ],
)
def test_english(raw, spoken):
    assert normalise_english(raw) == spoken


def test_quotes_around_a_word_go_but_the_word_stays():
    assert strip_punctuation("'tis the 'end'") == "tis the end"


@pytest.mark.parametrize(("raw", "spoken"), [("你 好，世界。", "你好世界"), ("ｋ 歌 app 店", "K 歌 APP 店")])
def test_mandarin(raw, spoken):
    assert normalise_mandarin(raw) == spoken

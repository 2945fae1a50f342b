"""The listing of errors."""

from __future__ import annotations

from collections import Counter

from asr.evaluation.listing import count_confusions, display_width, format_utterance, write_listing
from asr.evaluation.wer import Transcript, Unit, score, score_utterance


def test_words_stand_above_each_other():
    scored = score_utterance(Transcript("utt-7", "one seven three", "one eleven two three"))
    lines = format_utterance(scored, "word").splitlines()
    assert lines[0] == "utt-7: 2 errors in 3 words: 1 substituted, 0 deleted, 1 inserted"
    reference, hypothesis, marks = lines[1:]
    for word in ("one", "three"):
        assert reference.index(word) == hypothesis.index(word)
    assert sorted(marks.split()) == ["I", "S"]
    assert marks.index("S") == reference.index("seven")
    assert "***" in reference


def test_wide_characters_take_two_columns():
    assert display_width("天a") == 3
    assert display_width("e\u0301") == 1
    lines = format_utterance(score_utterance(Transcript("u", "天 a b", "x a b")), "word").splitlines()
    assert lines[1] == "ref 天 a b"
    assert lines[2] == "hyp x  a b"


def test_a_faultless_utterance_has_no_third_line():
    text = format_utterance(score_utterance(Transcript("u", "a b", "a b")), "word")
    assert text == "u: 0 errors in 2 words: 0 substituted, 0 deleted, 0 inserted\nref a b\nhyp a b\n"


def test_the_file_is_sorted_and_ranks_confusions(tmp_path):
    result = score(
        [Transcript("b", "x y", "x z"), Transcript("a", "p y", "p z q"), Transcript("c", "q y", "q")], unit=Unit.WORD
    )
    confusions = count_confusions(result)
    assert confusions.substitutions == Counter({("y", "z"): 2})
    assert confusions.deletions == Counter("y") and confusions.insertions == Counter("q")
    path = tmp_path / "new" / "errors.txt"
    write_listing(path, result)
    text = path.read_text(encoding="utf-8")
    assert "     2  y -> z" in text
    assert text.startswith("word error rate 66.67%, 95 % interval ")
    assert "100.00% of 3 utterances have an error" in text
    assert text.index("\na: ") < text.index("\nb: ") < text.index("\nc: ")

"""Error counts, rates and intervals."""

from __future__ import annotations

import random

import numpy as np
import pytest

from asr.errors import DataError
from asr.evaluation.wer import (
    NOTHING,
    ErrorCounts,
    Transcript,
    Unit,
    bootstrap_interval,
    score,
    score_utterance,
)


def edit_distance(reference: list[str], hypothesis: list[str]) -> int:
    """Levenshtein distance, straight from its definition."""
    row = list(range(len(hypothesis) + 1))
    for i, word in enumerate(reference, 1):
        previous, row[0] = row[0], i
        for j, other in enumerate(hypothesis, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (word != other))
    return row[-1]


@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected"),
    [
        ("a b c", "a b c", ErrorCounts(reference_words=3)),
        ("a b c", "a x c", ErrorCounts(substitutions=1, reference_words=3)),
        ("a b c", "a c", ErrorCounts(deletions=1, reference_words=3)),
        ("a c", "a b c", ErrorCounts(insertions=1, reference_words=2)),
        ("", "a b", ErrorCounts(insertions=2)),
        ("a  b ", "", ErrorCounts(deletions=2, reference_words=2)),
        ("* a", "a", ErrorCounts(deletions=1, reference_words=2)),
    ],
)
def test_counts(reference, hypothesis, expected):
    assert score_utterance(Transcript("u", reference, hypothesis)).counts == expected


def test_errors_are_the_edit_distance_and_alignments_spell_both_sides():
    draw = random.Random(1)
    for _ in range(200):
        reference, hypothesis = ([draw.choice("abcd") for _ in range(draw.randrange(9))] for _ in range(2))
        scored = score_utterance(Transcript("u", " ".join(reference), " ".join(hypothesis)))
        assert scored.counts.errors == edit_distance(reference, hypothesis)
        assert [ref for ref, _ in scored.alignment if ref != NOTHING] == reference
        assert [hyp for _, hyp in scored.alignment if hyp != NOTHING] == hypothesis


def test_characters_ignore_spaces_and_an_unknown_token_is_five_of_them():
    scored = score_utterance(Transcript("u", "今天 天气", "今天<unk>气"), unit=Unit.CHARACTER)
    assert scored.counts == ErrorCounts(substitutions=1, insertions=4, reference_words=4)


def test_a_corpus_is_summed_before_dividing():
    result = score([Transcript("b", "a b c d", "a b c x"), Transcript("a", "a", "x"), Transcript("c", "", "y")])
    assert result.counts == ErrorCounts(substitutions=2, insertions=1, reference_words=5)
    assert result.rate == pytest.approx(3 / 5)
    assert result.string_error_rate == 1.0
    assert [utterance.id for utterance in result.utterances] == ["a", "b", "c"]


def test_words_where_none_were_spoken_are_an_infinite_rate():
    assert ErrorCounts(insertions=1).rate == float("inf")
    assert ErrorCounts().rate == 0.0


def test_nothing_to_score_is_an_error_of_the_data():
    with pytest.raises(DataError, match="no word in any of 1 references"):
        score([Transcript("a", " ", "x")])
    with pytest.raises(DataError, match="no character"):
        score([], unit=Unit.CHARACTER)
    with pytest.raises(DataError, match="utterance a occurs twice"):
        score([Transcript("a", "x", "x"), Transcript("a", "y", "y")])


def test_interval_is_reproducible_and_near_the_normal_one():
    generator = np.random.default_rng(5)
    counts = [ErrorCounts(deletions=int(generator.binomial(10, 0.1)), reference_words=10) for _ in range(400)]
    interval = bootstrap_interval(counts, seed=3)
    assert interval == bootstrap_interval(counts, seed=3) != bootstrap_interval(counts, seed=4)
    errors = np.array([count.errors / 10 for count in counts])
    half_width = 1.96 * errors.std() / 20
    assert interval.low == pytest.approx(errors.mean() - half_width, rel=0.05)
    assert interval.high == pytest.approx(errors.mean() + half_width, rel=0.05)


def test_interval_of_a_faultless_set_is_a_point():
    interval = bootstrap_interval([ErrorCounts(reference_words=3)] * 5)
    assert (interval.low, interval.high) == (0.0, 0.0)

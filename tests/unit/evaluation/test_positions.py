"""Words and their times."""

from __future__ import annotations

import pytest
import torch
from lhotse import SupervisionSegment
from lhotse.supervision import AlignmentItem
from torch import nn

from asr.data import collate
from asr.evaluation.latency import SpokenWord
from asr.evaluation.positions import WordPositions, align_words, known_words, spell_out, token_spans
from asr.evaluation.wer import Unit
from asr.text import CharTokenizer

TOKENIZER = CharTokenizer.train(["abba c"])


class Cut:
    """As much of one as is looked at."""

    def __init__(self, cut_id: str, text: str, words: list[tuple[str, float, float]]):
        items = [AlignmentItem(symbol, start, duration) for symbol, start, duration in words]
        self.id = cut_id
        self.supervisions = [SupervisionSegment(cut_id, cut_id, 0.0, 2.0, text=text, alignment={"word": items})]


def test_known_words_must_be_the_transcript():
    words = [("one", 0.25, 0.5), ("two", 1.0, 0.5)]
    assert known_words(Cut("a", "one two", words)) == [SpokenWord("one", 0.25, 0.75), SpokenWord("two", 1.0, 1.5)]
    assert known_words(Cut("a", "one six", words)) == known_words(Cut("a", "one", words)) == []


def test_tokens_become_words():
    tokens = TOKENIZER.encode("abba c")
    path = [0, tokens[0], tokens[1], 0, tokens[2], 0, tokens[3], tokens[3], tokens[4], 0, tokens[5], tokens[6]]
    spans = token_spans(path)
    assert spans == [(1, 2), (2, 3), (4, 5), (6, 8), (8, 9), (10, 11), (11, 12)]
    assert spell_out(tokens, spans, TOKENIZER, Unit.WORD) == [
        SpokenWord("abba", pytest.approx(0.04), pytest.approx(0.36)),
        SpokenWord("c", pytest.approx(0.40), pytest.approx(0.48)),
    ]
    letters = spell_out(tokens, spans, TOKENIZER, Unit.CHARACTER)
    assert [letter.text for letter in letters] == ["a", "b", "b", "a", "c"]


class Listener(nn.Module):
    """A model whose features are its frames, and whose head says at each frame what the first feature names."""

    def __init__(self) -> None:
        super().__init__()
        self.ctc_head = lambda frames: (
            torch.nn.functional.one_hot(frames[..., 0].long().clamp_min(0), TOKENIZER.vocab_size) * 9.0
        )

    def encode(self, features, lens, *, context):
        return type("Encoded", (), {"out": features, "lens": lens})


def heard(text: str, *, after: int) -> torch.Tensor:
    """Frames, (T, 1), in which `text` is said after a pause."""
    said = [token for letter in TOKENIZER.encode(text) for token in (letter, 0)]
    return torch.tensor([0] * after + said).float().unsqueeze(1)


def test_words_are_aligned_where_their_times_are_unknown():
    features = [heard("ab c", after=3), heard("c", after=1), heard("a", after=0)[:1]]
    texts, ids = ["ab c", "c", "abba"], ["x", "y", "z"]
    batch = collate(features, [[1]] * 3, texts=texts, ids=ids, index=0)
    known = Cut("y", "c", [("c", 0.5, 0.25)])
    positions = WordPositions([known, Cut("x", "ab c", [])], Listener(), TOKENIZER)
    x, y, z = positions.of(batch)
    assert [(word.text, round(word.start_s, 2), round(word.end_s, 2)) for word in x] == [
        ("ab", 0.12, 0.32),
        ("c", 0.36, 0.48),
    ]
    assert y == [SpokenWord("c", 0.5, 0.75)]
    assert z == []  # more letters than frames
    assert positions.source == "mixed"
    assert align_words(Listener(), TOKENIZER, batch.features[2:], batch.feature_lens[2:], ["a"]) == [[]]

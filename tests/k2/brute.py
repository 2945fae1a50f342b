"""Searches written out: every alignment of a few frames, and n-gram scores from their definition."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from asr.decoding.lexicon import Lexicon
from asr.models.transducer.joiner import Joiner
from asr.models.transducer.predictor import Predictor

ENCODER_DIM = 5
LEXICON = Lexicon((("ab", (3, 4)), ("a", (3,)), ("ba", (4, 3)), ("cc", (5, 5)), ("see", (5,)), ("c", (5,))))
"""Words that sound alike, and words that others begin with."""
ARPA = """\\data\\
ngram 1=8
ngram 2=3

\\1-grams:
-1.0 </s>
-99 <s> -0.3
-0.7 ab -0.2
-0.6 a -0.1
-0.9 ba
-1.1 cc
-1.2 see
-1.3 c

\\2-grams:
-0.2 <s> ab
-0.4 ab a
-0.5 a </s>

\\end\\
"""

Score = Callable[[tuple[str, ...]], float]


def random_model(seed: int, vocab_size: int = 6) -> SimpleNamespace:
    """Predictor, joiner and CTC head that say something."""
    torch.manual_seed(seed)
    predictor, joiner = Predictor(vocab_size, 8, 2).eval(), Joiner(ENCODER_DIM, 8, 7, vocab_size).eval()
    head = nn.Linear(ENCODER_DIM, vocab_size)
    for parameter in [*predictor.parameters(), *joiner.parameters(), *head.parameters()]:
        nn.init.normal_(parameter)
    ctc_head = nn.Sequential(head, nn.LogSoftmax(dim=-1))
    return SimpleNamespace(predictor=predictor, joiner=joiner, ctc_head=ctc_head, has_transducer=True)


def transducer_alignments(model, frames: Tensor) -> Iterator[tuple[tuple[int, ...], float]]:
    """(tokens, log-probability) of every alignment; the last frame ends it and says nothing, at no cost."""

    def log_probs(frame: Tensor, tokens: tuple[int, ...]) -> list[float]:
        context = torch.tensor([(0, 0, *tokens)[-2:]])
        return model.joiner(frame, model.predictor(context, pad_left=False)[0, 0]).log_softmax(-1).tolist()

    table: dict[tuple[int, tuple[int, ...]], list[float]] = {}
    for alignment in product(range(model.predictor.vocab_size), repeat=len(frames) - 1):
        tokens, total = (), 0.0
        for t, symbol in enumerate(alignment):
            key = (t, tokens[-2:])
            if key not in table:
                table[key] = log_probs(frames[t], tokens)
            total += table[key][symbol]
            tokens = (*tokens, symbol) if symbol else tokens
        yield tokens, total


def ctc_alignments(model, frames: Tensor) -> Iterator[tuple[tuple[int, ...], float]]:
    """The same for the CTC head: repeats collapse, and every frame counts."""
    log_probs = model.ctc_head(frames).tolist()
    for alignment in product(range(model.predictor.vocab_size), repeat=len(frames)):
        before = (0, *alignment)
        tokens = tuple(one for one, last in zip(alignment, before, strict=False) if one and one != last)
        yield tokens, sum(row[symbol] for row, symbol in zip(log_probs, alignment, strict=True))


def spelled(words: Sequence[str]) -> list[int]:
    """The tokens of words, of which each has one spelling."""
    return [token for word in words for token in dict(LEXICON.pronunciations)[word]]


def spellings(tokens: tuple[int, ...]) -> list[tuple[str, ...]]:
    """All sequences of words that are spelled like this."""
    if not tokens:
        return [()]
    return [
        (word, *rest)
        for word, spelled in LEXICON.pronunciations
        if tokens[: len(spelled)] == spelled
        for rest in spellings(tokens[len(spelled) :])
    ]


def by_words(alignments, score: Score) -> dict[tuple[str, ...], list[float]]:
    """Scores of all alignments that say each sequence of words."""
    found: dict[tuple[str, ...], list[float]] = {}
    for tokens, total in alignments:
        for words in spellings(tokens):
            found.setdefault(words, []).append(total + score(words))
    return found


def log_sum(scores: Sequence[float]) -> float:
    return float(torch.tensor(scores, dtype=torch.float64).logsumexp(0))


def bigram(words: Sequence[str]) -> float:
    """Natural log-probability of words and their end under ARPA, backing off where a bigram is missing."""
    singles, pairs = (
        [line.split() for line in section.splitlines() if len(line.split()) > 1]
        for section in ARPA.split("-grams:")[1:]
    )
    unigrams = {word: float(score) for score, word, *_ in singles}
    backoffs = {word: float(rest[0]) for _, word, *rest in singles if rest}
    bigrams = {(one, other): float(score) for score, one, other in pairs}
    chain = ["<s>", *words, "</s>"]
    total = 0.0
    for last, word in zip(chain[:-1], chain[1:], strict=True):
        total += bigrams.get((last, word), backoffs.get(last, 0.0) + unigrams[word])
    return total * math.log(10)

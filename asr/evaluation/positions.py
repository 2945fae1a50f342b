"""Where each word of a test set is in its audio: known, or found by forced alignment."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from asr.data import Batch
from asr.evaluation.latency import SpokenWord
from asr.evaluation.wer import Unit, split_text
from asr.features import Audio, Fbank, Resampler
from asr.models.transducer import Transducer
from asr.nn.chunks import ChunkContext
from asr.text import Tokenizer

if TYPE_CHECKING:
    from lhotse.cut import Cut

LONGEST_ALIGNED_S = 120
"""Alignment hears a recording as a whole; beyond this it would take long and much memory."""
FRAME_S = 0.04
"""Seconds per encoder frame."""


class WordPositions:
    """The words' times of a test set: those that the corpus gives, else the model's own.

    The model's own come from its CTC head, hearing whole utterances (torchaudio's aligner). They are off by as much as
    that head is: prefer known ones. In the digits test set they end 0.09 s before the known ones, on average, which
    reach into the fading of a word.
    """

    def __init__(self, cuts: Iterable[Cut], model: Transducer, tokenizer: Tokenizer, *, unit: Unit = Unit.WORD):
        self._known = {cut.id: words for cut in cuts if (words := known_words(cut, unit))}
        self._model = model
        self._tokenizer = tokenizer
        self._unit = unit
        self._kinds: set[str] = set()

    @property
    def source(self) -> str:
        """Where the words that were asked for came from: "known", "aligned", "mixed", or "none"."""
        return next(iter(self._kinds), "none") if len(self._kinds) < 2 else "mixed"

    def of(self, batch: Batch) -> list[list[SpokenWord]]:
        """The words of each utterance; none where they are neither known nor to be found."""
        missing = [i for i, cut_id in enumerate(batch.ids) if cut_id not in self._known]
        self._kinds |= {"known"} if len(missing) < len(batch.ids) else set()
        found = [self._known.get(cut_id, []) for cut_id in batch.ids]
        if missing and self._model.ctc_head is not None:
            self._kinds.add("aligned")
            features, lens = batch.features[missing], batch.feature_lens[missing]
            texts = [batch.texts[i] for i in missing]
            aligned = align_words(self._model, self._tokenizer, features, lens, texts, unit=self._unit)
            for i, words in zip(missing, aligned, strict=True):
                found[i] = words
        return found


def known_words(cut: Cut, unit: Unit = Unit.WORD) -> list[SpokenWord]:
    """The words that the corpus has put a time to; none unless they are the transcript's, all of them and in order."""
    items = [item for one in cut.supervisions for item in (one.alignment or {}).get("word", [])]
    spoken = [unit_ for one in cut.supervisions for unit_ in split_text(one.text or "", unit)]
    if [item.symbol for item in items] != spoken:
        return []
    return [SpokenWord(item.symbol, item.start, item.end) for item in items]


@torch.no_grad()
def align_words(
    model: Transducer, tokenizer: Tokenizer, features: Tensor, lens: Tensor, texts: list[str], *, unit: Unit = Unit.WORD
) -> list[list[SpokenWord]]:
    """When the words of `texts` are said, by the model's CTC head; none where a text does not fit its audio.

    Args:
        model: with a CTC head.
        features: (B, T, F) at 100 Hz.
        lens: (B,).
    """
    assert model.ctc_head is not None
    encoded = model.encode(features, lens, context=ChunkContext())
    log_probs = model.ctc_head(encoded.out).cpu()
    rows = zip(log_probs, encoded.lens.tolist(), texts, strict=True)
    return [_align(row[:frames], tokenizer, text, unit) for row, frames, text in rows]


def hear_words(audio: Audio, text: str, model: Transducer, tokenizer: Tokenizer) -> list[SpokenWord]:
    """When the words of `text` are said in a recording; none without a CTC head, or if it lasts over two minutes."""
    if model.ctc_head is None or len(audio.samples) > LONGEST_ALIGNED_S * audio.sample_rate:
        return []
    samples = Resampler(audio.sample_rate, 16000)(audio.samples)
    features, lens = Fbank()(samples[None], torch.tensor([len(samples)]))
    return align_words(model, tokenizer, features, lens, [text])[0]


def _align(log_probs: Tensor, tokenizer: Tokenizer, text: str, unit: Unit) -> list[SpokenWord]:
    from torchaudio.functional import forced_align

    tokens = tokenizer.encode(text)
    repeats = sum(one == next_one for one, next_one in zip(tokens, tokens[1:], strict=False))
    if not tokens or len(log_probs) < len(tokens) + repeats:
        return []
    path, _ = forced_align(log_probs[None], torch.tensor([tokens], dtype=torch.int32))
    return spell_out(tokens, token_spans(path[0].tolist()), tokenizer, unit)


def token_spans(path: list[int]) -> list[tuple[int, int]]:
    """First frame and the one after the last of each token of a CTC path in which blanks are 0."""
    spans: list[tuple[int, int]] = []
    for frame, token in enumerate(path):
        if token and frame and path[frame - 1] == token:
            spans[-1] = (spans[-1][0], frame + 1)
        elif token:
            spans.append((frame, frame + 1))
    return spans


def spell_out(tokens: list[int], spans: list[tuple[int, int]], tokenizer: Tokenizer, unit: Unit) -> list[SpokenWord]:
    """Words from tokens and the frames (25 Hz) of each: a word lasts from its first letter to its last."""
    final = split_text(tokenizer.decode(tokens), unit)
    words: list[SpokenWord] = []
    start = 0
    for i, (_, end) in enumerate(spans):
        spelled = split_text(tokenizer.decode(tokens[: i + 1]), unit)
        if len(words) < len(final) and spelled[: len(words) + 1] == final[: len(words) + 1]:
            words.append(SpokenWord(final[len(words)], spans[start][0] * FRAME_S, end * FRAME_S))
            start = i + 1
    return words

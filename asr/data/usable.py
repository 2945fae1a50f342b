"""Which utterances are trained on, and why the others are not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from lhotse import CutSet
from lhotse.cut import Cut
from rich.console import Console
from rich.progress import track

from asr.data.config import DataConfig
from asr.data.manifests import encoder_frames, frames_needed, num_frames, transcript
from asr.text import Tokenizer

_EXCLUDED = "of data.exclude_speakers"


def usable(cuts: CutSet, tokenizer: Tokenizer, data: DataConfig) -> CutSet:
    """Cuts of permitted length and speaker whose encoder output has frames enough for their tokens."""
    return cuts.filter(_Usable(tokenizer, data))


def left_out(cuts: Iterable[Cut], tokenizer: Tokenizer, data: DataConfig) -> str | None:
    """How many of `cuts` are not usable, and why, in words; None: all are. Excluded speakers are not spoken of.

    No audio is read, but the whole list is gone through, which takes a minute and a half for a million cuts.
    """
    condition = _Usable(tokenizer, data)
    console = Console(stderr=True)
    what = "looking for utterances of unfit length"
    seen = track(cuts, what, total=None, console=console, transient=True, disable=not console.is_terminal)
    reasons = Counter(condition.why_not(cut) for cut in seen)
    reasons.pop(_EXCLUDED, None)
    total = reasons.total()
    reasons.pop(None, None)
    if not reasons:
        return None
    told = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common())
    return f"{reasons.total():,} of {total:,} training utterances, counting every speed, are left out: {told}"


class _Usable:
    """The condition of `usable`; a class because lazy sets are pickled."""

    def __init__(self, tokenizer: Tokenizer, data: DataConfig) -> None:
        self._tokenizer = tokenizer
        self._data = data

    def __call__(self, cut: Cut) -> bool:
        return self.why_not(cut) is None

    def why_not(self, cut: Cut) -> str | None:
        """What is wrong with a cut, as it follows a number of them; None: it is usable."""
        data = self._data
        if any(supervision.speaker in data.exclude_speakers for supervision in cut.supervisions):
            return _EXCLUDED
        if cut.duration < data.min_utterance_s:
            return f"shorter than data.min_utterance_s={data.min_utterance_s:g}"
        if cut.duration > data.max_utterance_s:
            return f"longer than data.max_utterance_s={data.max_utterance_s:g}"
        needed = frames_needed(self._tokenizer.encode(transcript(cut)))
        if not needed:
            return "without a transcript"
        if needed > encoder_frames(num_frames(cut)) - data.spare_frames:
            return f"too short for their tokens (data.spare_frames={data.spare_frames})"
        return None

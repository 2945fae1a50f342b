"""How many utterances of which lengths fit into a batch."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lhotse.cut import Cut
from lhotse.dataset.sampling.base import SamplingConstraint

from asr.data.manifests import transcript
from asr.text import Tokenizer


@dataclass(frozen=True)
class Bin:
    """Utterances of at most so many seconds and tokens, and how many of them a batch may hold."""

    seconds: float
    tokens: int
    utterances: int = 1


@dataclass(frozen=True)
class Capacity:
    """Bins in order of seconds, then tokens."""

    bins: tuple[Bin, ...]

    def of(self, seconds: float, tokens: int) -> int:
        """How many utterances fit that are padded to these lengths; 1 where they are beyond all bins."""
        start = bisect_left(self.bins, seconds, key=lambda bin: bin.seconds)
        return next((bin.utterances for bin in self.bins[start:] if tokens <= bin.tokens), 1)

    def to_plain(self) -> list[dict[str, Any]]:
        return [asdict(bin) for bin in self.bins]

    @classmethod
    def from_plain(cls, values: Sequence[dict[str, Any]]) -> Capacity:
        return cls(tuple(Bin(**value) for value in values))


def bins_for(cuts: Iterable[Cut], tokenizer: Tokenizer, *, num_lengths: int = 5) -> list[Bin]:
    """Bins that suit a corpus: lengths at equal shares of it, and at each the tokens of half and of all utterances."""
    sizes = sorted((cut.duration, len(tokenizer.encode(transcript(cut)))) for cut in cuts)
    found: dict[tuple[float, int], Bin] = {}
    for number in range(1, num_lengths + 1):
        shorter = sizes[: max(number * len(sizes) // num_lengths, 1)]
        tokens = sorted(count for _, count in shorter)
        for count in (tokens[len(tokens) // 2], tokens[-1]):
            found[shorter[-1][0], count] = Bin(shorter[-1][0], count)
    return [found[key] for key in sorted(found)]


class CapacityConstraint(SamplingConstraint):
    """Ends a batch when it holds as many utterances as fit at its longest audio and its longest transcript."""

    def __init__(self, capacity: Capacity, tokenizer: Tokenizer) -> None:
        self.capacity, self.tokenizer = capacity, tokenizer
        self.count: int = 0
        self.seconds: float = 0.0
        self.tokens: int = 0

    def add(self, example: Cut) -> None:
        self.count += 1
        self.seconds = max(self.seconds, example.duration)
        self.tokens = max(self.tokens, len(self.tokenizer.encode(transcript(example))))

    def exceeded(self) -> bool:
        return self.count > self.capacity.of(self.seconds, self.tokens)

    def close_to_exceeding(self) -> bool:
        return self.count >= self.capacity.of(self.seconds, self.tokens)

    def reset(self) -> None:
        self.count = 0
        self.seconds = 0.0
        self.tokens = 0

    def measure_length(self, example: Cut) -> float:
        return example.duration

"""What one stream says, segment by segment."""

from __future__ import annotations

from asr.streaming import Recognizer, Stream
from asr.streaming.intake import Samples


def segments(
    recognizer: Recognizer, stream: Stream, samples: Samples, piece: int | None = None, *, sample_rate: int = 16000
) -> list[str]:
    """The texts of a stream that hears `samples` at once, or so many at a time; without those of silence."""
    said, piece = [], piece or len(samples)
    for start in range(0, len(samples), piece):
        stream.accept(samples[start : start + piece], sample_rate)
        while recognizer.decode([stream]):
            if stream.is_endpoint:
                said.append(stream.final.text)
                stream.reset()
    stream.finish()
    while recognizer.decode([stream]):
        pass
    return [text for text in [*said, stream.final.text] if text]

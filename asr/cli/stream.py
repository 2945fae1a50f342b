"""asr stream: recognise audio chunk by chunk, showing words as they come."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from asr.cli.arguments import parse
from asr.cli.settings import settings

if TYPE_CHECKING:
    from asr.features import Audio
    from asr.streaming import Recognizer, StreamConfig

USAGE = """usage: asr stream EXP FILE [key=value ...]
       asr stream EXP --sample

Feeds a recording to the recogniser as a microphone would and prints each new partial result with the time at which
enough audio was in. --sample takes an utterance of the model's own test set. EXP is a checkpoint, or a run's folder.

  chunk_size=16 left_context=64    50 Hz frames decoded at a time, and remembered before
  search.method=BEAM               GREEDY, BEAM or CTC_GREEDY
  --realtime                       no faster than the recording plays
"""

_PIECE_S = 0.1


def main(argv: Sequence[str]) -> int:
    arguments = parse(argv, usage=USAGE, flags=("--sample", "--realtime"), at_least=1, at_most=2)
    checkpoint, *files = arguments.positional
    config = settings("stream", arguments, checkpoint=checkpoint)
    import asr
    from asr.errors import ConfigError
    from asr.features import read_audio

    recognizer = asr.load(config.checkpoint)
    if bool(files) == ("--sample" in arguments.flags):
        raise ConfigError("name one audio file, or use --sample")
    audio = read_audio(files[0] if files else _sample(config.checkpoint))
    for note in audio.notes:
        print(note)
    started, spent, heard = time.monotonic(), 0.0, 0.0
    for heard, text, seconds in follow(recognizer, audio, config, realtime="--realtime" in arguments.flags):
        spent += seconds
        print(f"{heard:7.2f} s  {text}", flush=True)
    print(f"real-time factor {spent / max(heard, 1e-9):.3f}, {time.monotonic() - started:.1f} s in all")
    return 0


def follow(
    recognizer: Recognizer, audio: Audio, config: StreamConfig, *, realtime: bool = False
) -> Iterator[tuple[float, str, float]]:
    """(seconds heard, text so far, seconds of computing since the last) whenever the text changes, and at the end."""
    stream, shown, spent = recognizer.stream(config), "", 0.0
    piece = max(int(_PIECE_S * audio.sample_rate), 1)
    begun = time.monotonic()
    for start in range(0, len(audio.samples), piece):
        heard = min(start + piece, len(audio.samples)) / audio.sample_rate
        if realtime:
            time.sleep(max(begun + heard - time.monotonic(), 0.0))
        before = time.perf_counter()
        stream.accept(audio.samples[start : start + piece], audio.sample_rate)
        while recognizer.decode([stream]):
            pass
        spent += time.perf_counter() - before
        if (text := stream.partial.text) != shown:
            yield heard, text, spent
            shown, spent = text, 0.0
    before = time.perf_counter()
    stream.finish()
    while recognizer.decode([stream]):
        pass
    yield len(audio.samples) / audio.sample_rate, stream.final.text, spent + time.perf_counter() - before


def _sample(checkpoint: str) -> Path:
    """The longest test utterance of the corpus that a model comes from."""
    from asr.checkpoint.format import read_metadata
    from asr.checkpoint.model import find_checkpoint
    from asr.data import cuts_path, read_cuts
    from asr.errors import ConfigError

    origin = read_metadata(find_checkpoint(Path(checkpoint))).get("origin", {})
    if not origin.get("folder"):
        raise ConfigError("the model does not say what it was tested on; name an audio file")
    cuts = read_cuts(cuts_path(origin["folder"], origin["test"][0]))
    longest = max(cuts, key=lambda cut: (cut.duration, cut.id))
    print(f"{longest.id}: {longest.supervisions[0].text}")
    return Path(longest.recording.sources[0].source)

"""asr stream: recognise audio chunk by chunk, showing words as they come."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from asr.cli.arguments import parse
from asr.cli.microphone import listen
from asr.cli.settings import settings

if TYPE_CHECKING:
    from lhotse.cut import Cut

    from asr.evaluation.latency import Shown
    from asr.features import Audio
    from asr.streaming import Recognizer, Stream, StreamConfig

USAGE = """usage: asr stream EXP FILE [key=value ...]
       asr stream EXP --sample
       asr stream EXP --microphone

Feeds a recording to the recogniser as a microphone would and prints each new partial result with the time at which
enough audio was in; at the end, how long a listener waited, and how much computing it took. --sample takes an utterance
of the model's own test set, --microphone listens until Ctrl-C. EXP is a checkpoint, or a run's folder.

  chunk_size=16 left_context=64    50 Hz frames decoded at a time, and remembered before
  search.method=BEAM               GREEDY, BEAM or CTC_GREEDY
  gate.hang_over_s=1               leave out chunks in which nobody speaks, from a second after somebody did
  --realtime                       no faster than the recording plays
"""

_PIECE_S = 0.1


def main(argv: Sequence[str]) -> int:
    arguments = parse(argv, usage=USAGE, flags=("--sample", "--microphone", "--realtime"), at_least=1, at_most=2)
    checkpoint, *files = arguments.positional
    config = settings("stream", arguments, checkpoint=checkpoint)
    import asr
    from asr.errors import ConfigError
    from asr.features import read_audio

    recognizer = asr.load(config.checkpoint)
    if len([*files, *({"--sample", "--microphone"} & arguments.flags)]) != 1:
        raise ConfigError("name one audio file, or use --sample or --microphone")
    if "--microphone" in arguments.flags:
        listen(recognizer, config)
        return 0
    sample = None if files else sample_of(config.checkpoint)
    audio = read_audio(files[0] if sample is None else sample.recording.sources[0].source)
    for note in audio.notes:
        print(note)
    shown: list[Shown] = []
    chunk_s: list[float] = []
    for moment in follow(recognizer, audio, config, chunk_s=chunk_s, realtime="--realtime" in arguments.flags):
        shown.append(moment)
        print(f"{moment.heard_s:7.2f} s  {moment.text}", flush=True)
    _report(recognizer, audio, config, shown, chunk_s, sample)
    return 0


def follow(
    recognizer: Recognizer, audio: Audio, config: StreamConfig, *, chunk_s: list[float], realtime: bool = False
) -> Iterator[Shown]:
    """What there is to read, whenever that changes, and the final answer.

    Args:
        chunk_s: takes the computing time of each chunk, its features included, in seconds.
        realtime: feed no faster than the recording plays.
    """
    from asr.evaluation.latency import Shown

    stream, text, begun = recognizer.stream(config), "", time.monotonic()
    piece = max(int(_PIECE_S * audio.sample_rate), 1)
    spent_s = 0.0
    for start in range(0, len(audio.samples), piece):
        heard_s = min(start + piece, len(audio.samples)) / audio.sample_rate
        if realtime:
            time.sleep(max(begun + heard_s - time.monotonic(), 0.0))
        before = time.perf_counter()
        stream.accept(audio.samples[start : start + piece], audio.sample_rate)
        spent_s += time.perf_counter() - before
        spent_s = _decode(recognizer, stream, chunk_s, spent_s)
        if (partial := stream.partial.text) != text:
            text = partial
            yield Shown(heard_s, text)
    stream.finish()
    _decode(recognizer, stream, chunk_s, spent_s)
    yield Shown(len(audio.samples) / audio.sample_rate, stream.final.text)


def _decode(recognizer: Recognizer, stream: Stream, chunk_s: list[float], spent_s: float) -> float:
    """Decode all that is ready, noting each chunk's time; `spent_s` was spent on the first one's features already."""
    while stream.ready:
        before = time.perf_counter()
        recognizer.decode([stream])
        chunk_s.append(spent_s + time.perf_counter() - before)
        spent_s = 0.0
    return spent_s


def _report(
    recognizer: Recognizer,
    audio: Audio,
    config: StreamConfig,
    shown: list[Shown],
    chunk_s: list[float],
    sample: Cut | None,
) -> None:
    """Print delays and speed."""
    import torch
    from rich.console import Console

    from asr.evaluation import Transcript, Unit, Watched, algorithmic_latency, measure_delays, measure_speed
    from asr.evaluation.positions import hear_words, known_words
    from asr.evaluation.waits import latency_rows, rows_table
    from asr.evaluation.wer import score_utterance
    from asr.models.encoder import features_ahead

    answer, audio_s = shown[-1].text, len(audio.samples) / audio.sample_rate
    spoken = answer if sample is None else sample.supervisions[0].text
    known = [] if sample is None else known_words(sample)
    words = known or hear_words(audio, spoken, recognizer.model, recognizer.tokenizer)
    alignment = score_utterance(Transcript("", spoken, answer)).alignment
    rows = latency_rows(
        algorithmic_latency(
            chunk_size=None if config.adaptive else config.chunk_size,  # varying chunks have no one latency
            lookahead=features_ahead(recognizer.model.encoder, config.context),
        ),
        measure_delays(
            [Watched(words, shown, audio_s)], [alignment], unit=Unit.WORD, positions="known" if known else "aligned"
        ),
        measure_speed(chunk_s, audio_s=audio_s, chunk_s=chunk_s, num_threads=torch.get_num_threads()),
    )
    Console().print(rows_table({"this stream": rows}))


def sample_of(checkpoint: str) -> Cut:
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
    return longest

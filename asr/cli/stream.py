"""asr stream: recognise audio chunk by chunk, showing words as they come."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from asr.cli.arguments import parse
from asr.cli.microphone import listen
from asr.cli.settings import settings

if TYPE_CHECKING:
    from lhotse.cut import Cut
    from torch import Tensor

    from asr.evaluation.latency import Shown
    from asr.features import Audio
    from asr.streaming import Recognizer, Stream, StreamConfig

USAGE = """usage: asr stream EXP FILE [key=value ...]
       asr stream EXP --sample
       asr stream EXP --microphone

Feeds a recording to the recogniser as a microphone would and prints each new partial result with the time at which
enough audio was in; at the end, how long a listener waited, and how much computing it took. --sample takes an utterance
of the model's own test set and counts errors, too; --microphone listens until Ctrl-C. EXP is a checkpoint, or a run's
folder.

  chunk_size=16 left_context=64    50 Hz frames decoded at a time, and remembered before
  search.method=BEAM               GREEDY, BEAM, CTC_GREEDY or CTC_BEAM
  endpoint.pause_s=0.8             end a segment after so many seconds of silence; without endpoint.*, all is one
  gate.hang_over_s=1               leave out chunks in which nobody speaks, from a second after somebody did
  --realtime                       no faster than the recording plays
"""

_PIECE_S = 0.1
_ENDED = "  (end of segment)"


def main(argv: Sequence[str]) -> int:
    arguments = parse(argv, usage=USAGE, flags=("--sample", "--microphone", "--realtime"), at_least=1, at_most=2)
    checkpoint, *files = arguments.positional
    config = settings("stream", arguments, checkpoint=checkpoint)
    import asr
    from asr.errors import ConfigError
    from asr.features.audio import naming, notes_at_16k, read_audio

    recognizer = asr.load(config.checkpoint)
    if len([*files, *({"--sample", "--microphone"} & arguments.flags)]) != 1:
        raise ConfigError("name one audio file, or use --sample or --microphone")
    if "--microphone" in arguments.flags:
        listen(recognizer, config)
        return 0
    sample = None if files else sample_of(config.checkpoint)
    file = files[0] if sample is None else sample.recording.sources[0].source
    moments: list[Moment] = []
    chunk_s: list[float] = []
    with naming(file):
        audio = read_audio(file)
        for note in notes_at_16k(audio):
            print(note)
        for moment in follow(recognizer, audio, config, chunk_s=chunk_s, realtime="--realtime" in arguments.flags):
            moments.append(moment)
            if moment.text or not (moment.before or moment.ended):
                print(f"{moment.heard_s:7.2f} s  {moment.text}{_ENDED if moment.ended else ''}", flush=True)
    _report(recognizer, audio, config, moments, chunk_s, sample)
    return 0


class Moment(NamedTuple):
    """What there is to read once `heard_s` seconds of the recording are in."""

    heard_s: float
    text: str
    """Of the segment at hand."""
    before: str
    """Of the segments before it."""
    ended: bool
    """Whether an endpoint ends the segment here."""

    @property
    def shown(self) -> Shown:
        """All that was said so far."""
        from asr.evaluation.latency import Shown

        return Shown(self.heard_s, f"{self.before} {self.text}".strip())


def follow(
    recognizer: Recognizer, audio: Audio, config: StreamConfig, *, chunk_s: list[float], realtime: bool = False
) -> Iterator[Moment]:
    """What there is to read, whenever that changes or a segment ends, and the final answer.

    Args:
        chunk_s: takes the computing time of each chunk, its features included, in seconds.
        realtime: feed no faster than the recording plays.
    """
    stream, begun = recognizer.stream(config), time.monotonic()
    heard_s, spent_s, before, text = 0.0, 0.0, "", ""
    for piece in [*audio.samples.split(max(int(_PIECE_S * audio.sample_rate), 1)), None]:
        heard_s += 0.0 if piece is None else len(piece) / audio.sample_rate
        if realtime:
            time.sleep(max(begun + heard_s - time.monotonic(), 0.0))
        spent_s += _feed(stream, piece, audio.sample_rate)
        while stream.ready:
            started = time.perf_counter()
            recognizer.decode([stream])
            chunk_s.append(spent_s + time.perf_counter() - started)
            spent_s = 0.0
            if ended := stream.is_endpoint and not stream.done:
                text = stream.final.text
                yield Moment(heard_s, text, before, ended)
                before, text = f"{before} {text}".strip(), ""
                stream.reset()
            elif piece is not None and (partial := stream.partial.text) != text:
                text = partial
                yield Moment(heard_s, text, before, ended)
    yield Moment(heard_s, stream.final.text, before, ended=False)


def final_s(moments: Sequence[Moment]) -> float:
    """Seconds heard when all that was said was final: at an endpoint that only silence followed, or at the end."""
    *_, last = moments
    answer = last.shown.text
    return next(
        moment.heard_s for moment in moments if moment is last or (moment.ended and moment.shown.text == answer)
    )


def _feed(stream: Stream, piece: Tensor | None, sample_rate: int) -> float:
    """Hand a stream a piece of audio, or its end; returns the seconds that took, the features' computing."""
    started = time.perf_counter()
    if piece is None:
        stream.finish()
    else:
        stream.accept(piece, sample_rate)
    return time.perf_counter() - started


def _report(
    recognizer: Recognizer,
    audio: Audio,
    config: StreamConfig,
    moments: list[Moment],
    chunk_s: list[float],
    sample: Cut | None,
) -> None:
    """Print delays and speed, and the error rate where it is known what was said."""
    import torch
    from rich.console import Console

    from asr.evaluation import Transcript, Unit, Watched, algorithmic_latency, measure_delays, measure_speed
    from asr.evaluation.positions import hear_words, known_words
    from asr.evaluation.waits import latency_rows, rows_table
    from asr.evaluation.wer import score_utterance
    from asr.models.encoder import features_ahead

    shown, audio_s = [moment.shown for moment in moments], len(audio.samples) / audio.sample_rate
    answer = shown[-1].text
    spoken = answer if sample is None else sample.supervisions[0].text
    known = [] if sample is None else known_words(sample)
    words = known or hear_words(audio, spoken, recognizer.model, recognizer.tokenizer)
    scored = score_utterance(Transcript("", spoken, answer))
    rows = [] if sample is None else [("WER %", f"{100 * scored.counts.rate:.2f}")]
    rows += latency_rows(
        algorithmic_latency(
            chunk_size=None if config.adaptive else config.chunk_size,  # varying chunks have no one latency
            lookahead=features_ahead(recognizer.model.encoder, config.context),
        ),
        measure_delays(
            [Watched(words, shown, final_s(moments))],
            [scored.alignment],
            unit=Unit.WORD,
            positions="known" if known else "aligned",
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

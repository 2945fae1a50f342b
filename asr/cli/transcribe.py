"""asr transcribe: recognise audio files."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from asr.cli.arguments import parse
from asr.cli.settings import settings

if TYPE_CHECKING:
    from asr.config.decode_config import StreamRootConfig
    from asr.features import Audio
    from asr.streaming import Recognizer

USAGE = """usage: asr transcribe EXP FILE [FILE ...] [key=value ...]

Prints one line per file: its name, a tab, and what is said in it. Files of any rate and any number of channels are
resampled and mixed down. EXP is a checkpoint, or the folder of a run.

  chunk_size=32 left_context=128   50 Hz frames decoded at a time, and remembered before
  search.method=BEAM               GREEDY, BEAM, CTC_GREEDY or CTC_BEAM
"""


def main(argv: Sequence[str]) -> int:
    arguments = parse(argv, usage=USAGE, at_least=2, at_most=-1)
    checkpoint, *files = arguments.positional
    config = settings("stream", arguments, checkpoint=checkpoint)
    import asr
    from asr.errors import AudioError
    from asr.features.audio import naming, notes_at_16k, read_audio

    recognizer = asr.load(config.checkpoint)
    failures = 0
    for file in files:
        try:
            with naming(file):
                audio = read_audio(file)
                for note in notes_at_16k(audio):
                    print(f"{file}: {note}", file=sys.stderr)
                print(f"{file}\t{_text(recognizer, audio, config)}", flush=True)
        except AudioError as error:
            failures += 1
            print(f"asr transcribe: {error}", file=sys.stderr)
    return 1 if failures else 0


def _text(recognizer: Recognizer, audio: Audio, config: StreamRootConfig) -> str:
    if recognizer.model.encoder.supports_step:
        return recognizer.transcribe(audio.samples, audio.sample_rate, config).text
    return _whole(recognizer, audio, config)


def _whole(recognizer: Recognizer, audio: Audio, config: StreamRootConfig) -> str:
    """For models that must hear everything first."""
    import torch

    from asr.decoding import build_search
    from asr.decoding.run import decode_whole
    from asr.features import Fbank, Resampler
    from asr.nn.chunks import ChunkContext

    samples = Resampler(audio.sample_rate, 16000)(audio.samples)
    features, lens = Fbank()(samples.unsqueeze(0), torch.tensor([len(samples)]))
    search = build_search(config.search, recognizer.model, recognizer.tokenizer)
    answer = decode_whole(recognizer.model, search, features, lens, ChunkContext())[0]
    return answer.text(recognizer.tokenizer)

"""asr equality: a picture of streamed and direct outputs and of their difference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from asr.cli.arguments import parse
from asr.cli.settings import settings

USAGE = """usage: asr equality EXP [FILE] [key=value ...]

Encodes a recording chunk by chunk with cached state, and in one masked pass, and draws both and their difference.
EXP is a checkpoint, or the folder of a run; without FILE, the longest utterance of its first test set is taken.

  chunk_size=32 left_context=128 lookahead=0   50 Hz frames
  out=FILE.png                                 default: EXP/equality.png
"""


def main(argv: Sequence[str]) -> int:
    arguments = parse(argv, usage=USAGE, at_least=1, at_most=2)
    checkpoint, *files = arguments.positional
    config = settings("equality", arguments, checkpoint=checkpoint)
    import torch

    from asr.checkpoint.model import load_model
    from asr.cli.stream import sample_of
    from asr.data.loading import load_samples
    from asr.errors import AudioError, ConfigError
    from asr.evaluation.equality import both_ways, draw_equality
    from asr.features import Fbank, load_16k
    from asr.models.encoder import warn_untrained
    from asr.models.encoders import kind_of
    from asr.nn.chunks import ChunkContext
    from asr.streaming.stream import SMALLEST_STEP

    loaded = load_model(checkpoint)
    if not loaded.model.encoder.supports_step:
        raise ConfigError(f"{loaded.path} hears whole utterances only; there is nothing streamed to compare")
    context = ChunkContext(chunk_size=config.chunk_size, left_context=config.left_context, lookahead=config.lookahead)
    warn_untrained(loaded.model.config.encoder, context)
    samples = load_16k(files[0]).samples if files else load_samples(sample_of(checkpoint))
    features, _ = Fbank()(samples[None], torch.tensor([len(samples)]))
    if features.shape[1] < SMALLEST_STEP:
        what = files[0] if files else "the longest test utterance"
        raise AudioError(f"{what} lasts {len(samples) / 16000:.4f} s, too short to encode; name a longer recording")
    both = both_ways(loaded.model, features[0], context)
    out = Path(config.out) if config.out else loaded.folder / "equality.png"
    title = f"{kind_of(loaded.model.config.encoder)}, chunk {config.chunk_size}, left {config.left_context}"
    draw_equality(both, out, title=title)
    print(f"largest difference {float(both.difference.max()):.2e} over {len(both.direct)} frames; picture: {out}")
    return 0

"""asr import-icefall: a published checkpoint, in our format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr.cli.arguments import parse

if TYPE_CHECKING:
    from asr.text import Tokenizer

USAGE = """usage: asr import-icefall CHECKPOINT.pt OUT [bpe=bpe.model | tokens=tokens.txt] [key=value ...]

Reads a Zipformer transducer published by icefall (pretrained.pt, epoch-*.pt) and writes a checkpoint of ours. Nothing
in the file is executed: it is opened as tensors and plain data only.

  bpe=FILE              its sentencepiece model
  tokens=FILE           or its tokens.txt, for characters
  query_head_dim=32 value_head_dim=12 pos_head_dim=4 unmasked_dims=[192,...]
                        what shapes do not show, where it is not as published
"""


def main(argv: Sequence[str]) -> int:
    arguments = parse(argv, usage=USAGE, at_least=2, at_most=2)
    options = dict(item.split("=", 1) for item in arguments.overrides)
    source, out = map(Path, arguments.positional)
    from asr.checkpoint.icefall import read_published
    from asr.checkpoint.model import save_model
    from asr.errors import ConfigError
    from asr.models.transducer import Transducer, copy_weights, count_parameters, model_config_from_dict

    tokenizer = _tokenizer(options.pop("bpe", None), options.pop("tokens", None))
    published = read_published(source, **{key: _number(key, value) for key, value in options.items()})
    config = model_config_from_dict(_nested(published.config, published.model))
    if config.vocab_size != tokenizer.vocab_size:
        raise ConfigError(f"the model has {config.vocab_size} symbols but the tokenizer {tokenizer.vocab_size}")
    model = Transducer(config)
    copy_weights(model, published.model)
    path = out if out.suffix == ".safetensors" else out / "averaged.safetensors"
    save_model(path, model, tokenizer, origin={"name": source.stem, "imported": str(source.name)})
    print(f"wrote {path}: {count_parameters(model):,} parameters")
    return 0


def _tokenizer(bpe: str | None, tokens: str | None) -> Tokenizer:
    from asr.errors import ConfigError
    from asr.text import BpeTokenizer, CharTokenizer

    if (bpe is None) == (tokens is None):
        raise ConfigError("name the model's units: bpe=FILE (sentencepiece) or tokens=FILE (characters), one of them")
    try:
        if bpe is not None:
            return BpeTokenizer(Path(bpe).read_bytes())
        lines = Path(tokens or "").read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ConfigError(f"cannot read {bpe or tokens}: {error.strerror}; check the path") from error
    ids = {int(number): symbol for symbol, number in (line.split() for line in lines if line.strip())}
    return CharTokenizer([ids.get(index, f"<{index}>") for index in range(max(ids) + 1)], word_boundary=False)


def _nested(flat: dict[str, Any], weights: dict[str, Any]) -> dict[str, Any]:
    """The configuration that shapes tell, arranged as ours is."""
    outer = {key: flat[key] for key in ("vocab_size", "context_size", "predictor_dim", "joiner_dim")}
    encoder = {key: value for key, value in flat.items() if key not in outer}
    return {**outer, "encoder": encoder, "ctc_head": "ctc_head.linear.weight" in weights}


def _number(key: str, value: str) -> Any:
    import json

    from asr.errors import ConfigError

    try:
        return json.loads(value)
    except ValueError:
        raise ConfigError(f"{key}={value} must be a number or a list of numbers") from None

"""asr import-icefall: a published checkpoint, in our format."""

from __future__ import annotations

import re
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

_DISAMBIGUATION = re.compile(r"#\d+")
_MOST_SYMBOLS = 1_000_000


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
        text = Path(tokens or "").read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read {bpe or tokens}: {error.strerror}; check the path") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"tokens={tokens} is no text in UTF-8; name a tokens.txt, or use bpe=FILE") from error
    return CharTokenizer(_symbols(tokens or "", text), word_boundary=False)


def _symbols(file: str, text: str) -> list[str]:
    """The symbols of a tokens.txt by their ids, without those that only tell words of a lexicon apart (#0, #1, ...)."""
    from asr.errors import ConfigError

    ids: dict[int, str] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        match line.split():
            case []:
                continue
            case [symbol, index] if index.isascii() and index.isdigit() and int(index) not in ids:
                if not _DISAMBIGUATION.fullmatch(symbol):
                    ids[int(index)] = symbol
            case _:
                raise ConfigError(
                    f"tokens={file}, line {number}: {line[:40]!r} is not a symbol and an id of its own, such as 'a 3'"
                )
    if not ids:
        raise ConfigError(f"tokens={file} holds no symbols; name the tokens.txt that belongs to the checkpoint")
    if max(ids) >= _MOST_SYMBOLS:
        raise ConfigError(f"tokens={file} gives {ids[max(ids)]!r} the id {max(ids)}, and no model has so many symbols")
    return [ids.get(index, f"<{index}>") for index in range(max(ids) + 1)]


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

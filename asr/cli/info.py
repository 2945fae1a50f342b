"""asr info: what is installed, or what a checkpoint holds."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from asr.cli.arguments import parse

USAGE = """usage: asr info [CHECKPOINT]

Without a name: versions of everything that matters. With one: the model's shape, vocabulary and training.
"""

PACKAGES = (
    "torch",
    "torchaudio",
    "lhotse",
    "sentencepiece",
    "hydra-core",
    "soundfile",
    "kaldialign",
    "safetensors",
    "onnx",
    "onnxruntime",
    "sherpa-onnx",
    "espeakng-loader",
)
SIZES = ("num_layers", "downsampling_factors", "encoder_dims", "feedforward_dims", "cnn_kernels", "dim")
"""Which of an encoder's settings are shown, where it has them."""


def main(argv: Sequence[str]) -> int:
    arguments = parse(argv, usage=USAGE, at_most=1)
    rows = _of_checkpoint(arguments.positional[0]) if arguments.positional else _of_machine()
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False)
    for name, value in rows:
        table.add_row(name, str(value))
    Console().print(table)
    return 0


def _of_machine() -> Iterator[tuple[str, object]]:
    from asr import __version__

    yield "rill-asr", __version__
    yield "python", f"{platform.python_version()} on {platform.platform()}"
    for package in PACKAGES:
        try:
            yield package, version(package)
        except PackageNotFoundError:
            yield package, "not installed"
    from asr.kernels.k2 import report_k2

    report = report_k2()
    yield "k2", f"{report.version}, {report.detail}" if report.loads else report.detail
    import torch

    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    yield "devices", f"{torch.get_num_threads()} CPU threads" + "".join(f", {name}" for name in names)


def _of_checkpoint(name: str) -> Iterator[tuple[str, object]]:
    from asr.checkpoint.model import find_checkpoint, load_model
    from asr.models.encoders import kind_of
    from asr.models.transducer import count_parameters

    loaded = load_model(find_checkpoint(Path(name)))
    config, origin = loaded.model.config, loaded.metadata.get("origin", {})
    yield "file", f"{loaded.path} ({loaded.path.stat().st_size / 1e6:.1f} MB)"
    yield "run", origin.get("name", "unknown")
    yield "parameters", f"{count_parameters(loaded.model):,}"
    yield "streams", "yes" if loaded.model.encoder.supports_step else "no, whole utterances only"
    yield "vocabulary", f"{config.vocab_size} symbols: {' '.join(loaded.tokenizer.symbols[3:15])} …"
    if config.transducer:
        yield "predictor", f"context of {config.context_size} tokens, width {config.predictor_dim}"
    yield "CTC head", "yes" if config.ctc_head else "no"
    yield "encoder", kind_of(config.encoder)
    for field, value in vars(config.encoder).items():
        if field in SIZES:
            yield field, value
    if training := loaded.metadata.get("training"):
        yield "trained for", f"{training['step']} steps, {training['audio_s'] / 3600:.1f} hours of audio heard"
    if average := loaded.metadata.get("average"):
        yield "average", f"{average['chosen']}, dev WER {average['dev_wer']:.2%}"
    if stretch := loaded.metadata.get("stretch"):
        from asr.cli.average import stretch_name

        yield "average", stretch_name(stretch)

"""Try exported files in sherpa-onnx itself, and compare what it says with the library."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import kaldialign
import numpy as np
import torch

import asr
from asr.decoding import Hypothesis, SearchConfig, build_search
from asr.decoding.hypothesis import ENCODER_FRAME_S
from asr.errors import ExportError
from asr.export.config import ExportConfig, ExportMode
from asr.export.export import ExportReport
from asr.export.extras import require
from asr.export.files import ClientFiles
from asr.export.greedy import GraphSearch, num_steps
from asr.export.heads import output_head
from asr.export.specs import step_frames
from asr.features import Fbank
from asr.models.transducer import Transducer
from asr.nn.chunks import ChunkContext
from asr.text.tokenizer import WORD_START, Tokenizer

_SAMPLE_RATE = 16000
_SAMPLES_PER_FRAME = 160  # 10 ms


@dataclass(frozen=True, kw_only=True)
class ClientAnswer:
    """What sherpa-onnx says to one recording."""

    tokens: list[str]
    """Symbols, as in tokens.txt but for the word mark, which it shows as a space."""
    frames: list[int]
    """Per token, the encoder frame (25 Hz) at which it was emitted."""
    text: str
    """Its text, which is not always the tokens joined: it drops some spaces and leading signs."""
    features: np.ndarray | None = field(default=None, repr=False)
    """(T, 80) features it made, in streaming mode."""


@dataclass(frozen=True, kw_only=True)
class ClientRow:
    """One recording, decoded three times: symbols and the encoder frames (25 Hz) that emitted them."""

    client: list[tuple[str, int]]
    """By sherpa-onnx, from samples."""
    graphs: list[tuple[str, int]]
    """By the same files in onnxruntime, from the library's features."""
    library: list[tuple[str, int]]
    """By the library's model and search."""
    feature_difference: float
    """Largest difference between the client's features and the library's; nan where it does not show them."""


@dataclass(frozen=True, kw_only=True)
class ClientReport:
    """How recordings fared in sherpa-onnx."""

    rows: list[ClientRow]

    @property
    def agree(self) -> bool:
        """Whether all three said the same at the same times, always."""
        return all(row.client == row.graphs == row.library for row in self.rows)

    @property
    def num_different(self) -> int:
        """Recordings where the client and the library said something else, or at other times."""
        return sum(row.client != row.library for row in self.rows)

    @property
    def agreement(self) -> float:
        """Share of tokens on which the client and the library agree, whenever they come: 0 to 1."""
        pairs = [[[symbol for symbol, _ in side] for side in (row.library, row.client)] for row in self.rows]
        edits = sum(kaldialign.edit_distance(*pair)["total"] for pair in pairs)
        return 1.0 - edits / max(sum(max(map(len, pair)) for pair in pairs), 1)


def verify_in_client(
    model: Transducer,
    tokenizer: Tokenizer,
    report: ExportReport,
    recordings: Sequence[np.ndarray],
    *,
    quantized: bool = False,
) -> ClientReport:
    """Decode recordings with sherpa-onnx, with its files in onnxruntime, and with the library.

    In streaming mode silence is put behind every recording: the client drops what does not fill a step, and all
    three shall hear the same. Of a transducer the client takes `<unk>` for a blank, the library shows it.

    Args:
        model: in eval mode, on the CPU; what was exported.
        report: from `export_model`.
        recordings: 16 kHz samples in [-1, 1], (N,) each.
        quantized: try the 8-bit twins, but for the decoder.
    Raises:
        ExportError: sherpa-onnx cannot serve the files, or is not installed.
    """
    config, files = report.config, report.files(quantized=quantized)
    padded = [with_tail(np.asarray(samples, dtype=np.float32), config) for samples in recordings]
    answers = run_client(files, padded)
    fbank, search, symbols = Fbank(), GraphSearch(files), [_shown(symbol) for symbol in tokenizer.symbols]
    rows = []
    for samples, answer in zip(padded, answers, strict=True):
        features = fbank(torch.from_numpy(samples)[None], torch.tensor([len(samples)])).features[0]
        graphs, library = search(features), _library_greedy(model, config, features)
        row = ClientRow(
            client=list(zip(answer.tokens, answer.frames, strict=True)),
            graphs=[(symbols[token], frame) for token, frame in zip(graphs.tokens, graphs.frames)],
            library=[(symbols[token], frame) for token, frame in zip(library.tokens, library.timestamps)],
            feature_difference=_largest_difference(answer.features, features.numpy()),
        )
        rows.append(row)
    return ClientReport(rows=rows)


def _shown(symbol: str) -> str:
    """A symbol as the client shows it."""
    return f" {symbol[1:]}" if symbol.startswith(WORD_START) else symbol


def _largest_difference(theirs: np.ndarray | None, ours: np.ndarray) -> float:
    return float("nan") if theirs is None else float(np.abs(theirs - ours).max(initial=0.0))


def with_tail(samples: np.ndarray, config: ExportConfig) -> np.ndarray:
    """Samples with as much silence behind as a streaming client needs to hear all of them; (N,) to (N',)."""
    if config.mode is ExportMode.OFFLINE:
        return samples
    return np.pad(samples, (0, step_frames(config.chunk_size) * _SAMPLES_PER_FRAME))


def run_client(
    files: ClientFiles, recordings: Sequence[np.ndarray], *, batch_size: int = 16, timeout_s: float | None = None
) -> list[ClientAnswer]:
    """Decode recordings with sherpa-onnx, greedily, in a process of its own.

    Args:
        recordings: 16 kHz float32 samples in [-1, 1], (N,) each.
        batch_size: streams decoded at the same time.
        timeout_s: longest time to wait; None: ten minutes, and two seconds more for each second of audio.
    Raises:
        ExportError: it cannot serve these files (it says why), takes too long, or is not installed.
    """
    require("sherpa_onnx")
    with tempfile.TemporaryDirectory(prefix="rill-client-") as name:
        folder = Path(name)
        job = {
            "streaming": files.mode is ExportMode.STREAMING,
            "batch_size": batch_size,
            "constructor": files.constructor,
            "files": {part: str(path) for part, path in {**files.models, "tokens": files.tokens}.items()},
        }
        (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
        np.savez(folder / "samples.npz", *recordings)
        _run_worker(folder, files, _patience_s(recordings) if timeout_s is None else timeout_s)
        return _read_answers(folder)


def _patience_s(recordings: Sequence[np.ndarray]) -> float:
    """Seconds that a slow machine may need, start included."""
    return 600.0 + 2.0 * sum(map(len, recordings)) / _SAMPLE_RATE


def _run_worker(folder: Path, files: ClientFiles, timeout_s: float) -> None:
    command = [sys.executable, "-m", "asr.export.client_worker", str(folder)]
    package_root = str(Path(asr.__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, [package_root, os.environ.get("PYTHONPATH")]))
    try:
        done = subprocess.run(
            command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=timeout_s
        )
    except subprocess.TimeoutExpired as error:
        raise ExportError(f"sherpa-onnx did not finish with {files.encoder.name} in {timeout_s:g} s") from error
    if done.returncode:
        words = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        reason = words[-1] if words else "it gave no reason"
        raise ExportError(
            f"sherpa-onnx cannot serve {' and '.join(path.name for path in files.models.values())} "
            f"(status {done.returncode}): {reason}"
        )


def _read_answers(folder: Path) -> list[ClientAnswer]:
    answers = json.loads((folder / "answers.json").read_text(encoding="utf-8"))
    with np.load(folder / "features.npz") as archive:
        features = {name: archive[name] for name in archive.files}
    return [
        ClientAnswer(
            tokens=answer["tokens"],
            frames=[round(time / ENCODER_FRAME_S) for time in answer["times_s"]],
            text=answer["text"],
            features=features.get(f"arr_{index}"),
        )
        for index, answer in enumerate(answers)
    ]


@torch.no_grad()
def _library_greedy(model: Transducer, config: ExportConfig, features: torch.Tensor) -> Hypothesis:
    """The library's answer to the steps that a client takes; features are (T, F)."""
    if config.mode is ExportMode.OFFLINE:
        x, context, state = features[None], ChunkContext(), None
    else:
        context = config.context
        steps = num_steps(len(features), step_frames(config.chunk_size), 2 * config.chunk_size)
        if steps == 0:
            return Hypothesis()
        x = features[None, : step_frames(steps * config.chunk_size)]
        state = model.init_state(1, context)
    out = model.encode(x, torch.tensor([x.shape[1]]), context=context, state=state)
    search = build_search(SearchConfig(method=output_head(model, config).method), model)
    return search.finish(search.advance(out.out, out.lens, search.init(1)))[0]

"""The process in which sherpa-onnx runs: `python -m asr.export.client_worker JOB`.

A model it cannot serve ends the whole process, so it gets one of its own, without torch. JOB is a folder that
`asr.export.client` prepares: `job.json` and `samples.npz` go in, `answers.json` and `features.npz` come out.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import sherpa_onnx

SAMPLE_RATE = 16000


def main(folder: Path) -> None:
    """Decode what the job's folder holds, and write the answers there."""
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    with np.load(folder / "samples.npz") as archive:
        recordings = [archive[f"arr_{index}"] for index in range(len(archive.files))]
    decode = _decode_streaming if job["streaming"] else _decode_offline
    answers, features = decode(job, recordings)
    np.savez(folder / "features.npz", *features)
    (folder / "answers.json").write_text(json.dumps(answers), encoding="utf-8")


def _decode_streaming(job: dict[str, Any], recordings: list[np.ndarray]) -> tuple[list[Any], list[np.ndarray]]:
    recognizer = _load(sherpa_onnx.OnlineRecognizer, job)
    streams, features = [], []
    for samples in recordings:
        stream = recognizer.create_stream()
        stream.accept_waveform(SAMPLE_RATE, samples)
        stream.input_finished()
        # Asked for before decoding, which lets go of what it has used.
        num_frames = (len(samples) + 80) // 160
        features.append(np.array(stream.get_frames(0, num_frames), dtype=np.float32).reshape(num_frames, -1))
        streams.append(stream)
    for group in _batches(streams, job["batch_size"]):
        while ready := [stream for stream in group if recognizer.is_ready(stream)]:
            recognizer.decode_streams(ready)
    results = [recognizer.get_result_all(stream) for stream in streams]
    return [_answer(result) for result in results], features


def _decode_offline(job: dict[str, Any], recordings: list[np.ndarray]) -> tuple[list[Any], list[np.ndarray]]:
    recognizer = _load(sherpa_onnx.OfflineRecognizer, job)
    streams = [recognizer.create_stream() for _ in recordings]
    for stream, samples in zip(streams, recordings, strict=True):
        stream.accept_waveform(SAMPLE_RATE, samples)
    for group in _batches(streams, job["batch_size"]):
        recognizer.decode_streams(group)
    return [_answer(stream.result) for stream in streams], []


def _load(kind: Any, job: dict[str, Any]) -> Any:
    return getattr(kind, job["constructor"])(**job["files"], num_threads=1)


def _batches(streams: list[Any], size: int) -> list[list[Any]]:
    return [streams[start : start + size] for start in range(0, len(streams), size)]


def _answer(result: Any) -> dict[str, Any]:
    return {"tokens": list(result.tokens), "times_s": list(result.timestamps), "text": result.text}


if __name__ == "__main__":
    main(Path(sys.argv[1]))

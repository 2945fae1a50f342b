"""Run a written graph in onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from asr.errors import ExportError

_DTYPES = {"tensor(float)": torch.float32, "tensor(int64)": torch.int64}


class Graph:
    """A written graph, run in onnxruntime."""

    def __init__(self, path: Path):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own exceptions have no public base but this
            raise ExportError(f"onnxruntime does not load {path.name}: {str(error).splitlines()[0]}") from error
        self.name = path.name
        self.inputs = [(value.name, value.shape, value.type) for value in self._session.get_inputs()]
        self.outputs = [(value.name, value.shape, value.type) for value in self._session.get_outputs()]
        self.metadata: dict[str, str] = self._session.get_modelmeta().custom_metadata_map

    def empty_states(self, batch: int) -> list[Tensor]:
        """All inputs but the first, as they are before anything was heard; streaming graphs only."""
        return [
            torch.zeros([batch if size == "N" else size for size in shape], dtype=_DTYPES[kind])
            for _, shape, kind in self.inputs[1:]
        ]

    def __call__(self, *inputs: Tensor) -> list[Tensor]:
        """Run on inputs in the graph's order."""
        feed = {name: value.numpy() for (name, _, _), value in zip(self.inputs, inputs, strict=True)}
        try:
            return [torch.from_numpy(np.asarray(value)) for value in self._session.run(None, feed)]
        except Exception as error:
            raise ExportError(f"onnxruntime does not run {self.name}: {str(error).splitlines()[0]}") from error

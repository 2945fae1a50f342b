"""From a module to an ONNX file."""

from __future__ import annotations

import inspect
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from asr.errors import ExportError
from asr.export.fusions import spell_out_softplus
from asr.export.specs import GraphSpec
from asr.tensors import tree_leaves

if TYPE_CHECKING:
    import onnx_ir

_NO_LIMIT = 1 << 40
_TRACING_OPSET = 17
"""The newest operator set of the exporter that torch had before 2.6."""


def trace(spec: GraphSpec, opset: int) -> onnx_ir.Model:
    """Trace a module into a graph, and simplify it."""
    spec.module.eval()  # the wrapper too: an exporter may put the parts back into the mode of the whole
    with torch.no_grad(), quiet():
        model = _export(spec, opset) if _has_dynamo() else _export_by_tracing(spec)
        _simplify(model)
    return model


def save(model: onnx_ir.Model, metadata: dict[str, str], path: Path) -> None:
    """Write graph, weights and metadata as one file."""
    import onnx
    import onnx_ir

    model.metadata_props.clear()
    model.metadata_props.update(metadata)
    proto = onnx_ir.to_proto(model)
    # Shapes inside the graph are only hints, and contradict what quantisation makes of transposed weights.
    del proto.graph.value_info[:]
    onnx.save(proto, path)


def quantize(path: Path, target: Path, operators: list[str]) -> None:
    """Write a twin of `path` whose weights have 8 bits wherever `operators` use them; metadata is kept."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with quiet():
        quantize_dynamic(path, target, op_types_to_quantize=operators, weight_type=QuantType.QInt8)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the exporters' remarks on their own insides (deprecated calls, absent packages) off the screen.

    None of them says anything about the result, which is checked number by number instead.
    """
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def _has_dynamo() -> bool:
    return "optimize" in inspect.signature(torch.onnx.export).parameters  # since torch 2.6


def _export(spec: GraphSpec, opset: int) -> onnx_ir.Model:
    dims = {name: torch.export.Dim(name, min=1) for axes in spec.inputs.values() for name in axes.values()}
    axes = iter([{axis: dims[name] for axis, name in axes.items()} for axes in spec.inputs.values()])
    shapes = tuple([next(axes) for _ in arg] if isinstance(arg, list) else next(axes) for arg in spec.args)
    program = torch.onnx.export(
        spec.module,
        spec.args,
        dynamo=True,
        opset_version=opset,
        external_data=False,
        input_names=list(spec.inputs),
        output_names=list(spec.outputs),
        dynamic_shapes=shapes,
        optimize=False,  # `_simplify` is several times faster, and folds large weights too
        verbose=False,
    )
    assert program is not None  # it is None only where a file is asked for
    return program.model


def _export_by_tracing(spec: GraphSpec) -> onnx_ir.Model:
    """The exporter of older torch versions. It takes the number of frames inside a graph for a constant."""
    import onnx
    import onnx_ir

    if any("K" in axes.values() for axes in spec.inputs.values()):
        raise ExportError(f"export.mode=offline needs torch 2.6 or newer, this is {torch.__version__}; update it")
    data = io.BytesIO()
    torch.onnx.export(
        spec.module,
        spec.args,
        data,  # type: ignore[arg-type]  # newer torch says it wants a path, and takes a buffer
        opset_version=_TRACING_OPSET,
        input_names=list(spec.inputs),
        output_names=list(spec.outputs),
        dynamic_axes={**spec.inputs, **spec.outputs},
        **_dynamo_off(),
    )
    model = onnx_ir.from_proto(onnx.load_from_string(data.getvalue()))
    # This exporter loses the sizes of some outputs.
    for output, value, axes in zip(model.graph.outputs, tree_leaves(spec.module(*spec.args)), spec.outputs.values()):
        output.shape = onnx_ir.Shape([axes.get(axis, size) for axis, size in enumerate(value.shape)])
    return model


def _dynamo_off() -> dict[str, Any]:
    return {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}


def _simplify(model: onnx_ir.Model) -> None:
    """Compute what does not depend on the input, drop what nobody uses, and forget where it came from.

    Weights must be plain constants, however large: a weight that the graph still transposes is not quantised.
    """
    from onnx_ir.passes import common
    from onnxscript import optimizer

    optimizer.fold_constants(model, input_size_limit=_NO_LIMIT, output_size_limit=_NO_LIMIT)
    spell_out_softplus(model)
    for simplify in (
        common.RemoveUnusedNodesPass(),
        common.IdentityEliminationPass(),
        common.CommonSubexpressionEliminationPass(),
        common.LiftConstantsToInitializersPass(),
        common.DeduplicateInitializersPass(),
        common.RemoveUnusedNodesPass(),
        common.ClearMetadataAndDocStringPass(),  # the exporter's notes hold source paths, and double the file
    ):
        simplify(model)

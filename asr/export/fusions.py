"""Rewriting what graph runtimes are slow at."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir


def spell_out_softplus(model: onnx_ir.Model) -> None:
    """Put max(z, 0) - log(sigmoid(|z|)), the same number, where the exporter put softplus and a threshold around it.

    onnxruntime works out softplus one element at a time, and these many at once. It is half of what a step of a stream
    spends outside matrix products.
    """
    import onnx_ir

    for node in list(model.graph):
        z = _argument(node)
        if z is None:
            continue
        positive, size = onnx_ir.node("Relu", [z]), onnx_ir.node("Abs", [z])
        share = onnx_ir.node("Sigmoid", [size.outputs[0]])
        rest = onnx_ir.node("Log", [share.outputs[0]])
        total = onnx_ir.node("Sub", [positive.outputs[0], rest.outputs[0]])
        model.graph.insert_before(node, [positive, size, share, rest, total])
        onnx_ir.convenience.replace_all_uses_with(node.outputs[0], total.outputs[0])


def _argument(node: onnx_ir.Node) -> onnx_ir.Value | None:
    """z, where the node is where(z > threshold, z, softplus(z))."""
    if node.op_type != "Where":
        return None
    _, z, soft = node.inputs
    inner = soft.producer() if soft is not None else None
    # With a factor of one inside, and its inverse outside.
    if inner is not None and inner.op_type == "Div":
        inner = inner.inputs[0].producer() if inner.inputs[0] is not None else None
    return z if inner is not None and inner.op_type == "Softplus" else None

"""Let an offline encoder, traced in whole blocks, take features of any length."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asr.models.zipformer import Zipformer, ZipformerConfig

if TYPE_CHECKING:
    import onnx_ir


def accept_any_length(model: onnx_ir.Model, shape: ZipformerConfig) -> None:
    """Replace the inputs `blocks` and `tail` by `x` (N, T, F), and cut the first output to (N, T', J or V), in place.

    T' = ceil(((T - 7) // 2) / 2), as the library gives. What is padded is never looked at: `x_lens` stays as it is.
    """
    import onnx_ir as ir
    from onnx_ir.passes import common
    from onnx_ir.tape import Tape

    graph = model.graph
    blocks, tail, x_lens = graph.inputs
    x = ir.Value(name="x", shape=ir.Shape(["N", "T", shape.feature_dim]), type=ir.TensorType(ir.DataType.FLOAT))
    tape = Tape()

    def ints(*values: int) -> ir.Value:
        return tape.op("Constant", [], {"value_ints": values})

    block = 2 * shape.chunk_multiple
    time = ints(1)
    length = tape.op("Shape", [x], {"start": 1, "end": 2})
    frames = tape.op("Div", [tape.op("Sub", [length, ints(7)]), ints(2)])  # 50 Hz
    padded_frames = tape.op("Add", [frames, ints(shape.chunk_multiple - 1)])
    num_blocks = tape.op("Max", [tape.op("Div", [padded_frames, ints(shape.chunk_multiple)]), ints(1)])
    end = tape.op("Mul", [num_blocks, ints(block)])
    whole = tape.op("Add", [end, ints(Zipformer.lookahead)])
    missing = tape.op("Concat", [ints(0, 0, 0, 0), tape.op("Sub", [whole, length]), ints(0)], {"axis": 0})
    padded = tape.op("Pad", [x, missing])
    body = tape.op("Slice", [padded, ints(0), end, time])
    new_blocks = tape.op("Reshape", [body, ints(0, -1, block, shape.feature_dim)])
    new_tail = tape.op("Slice", [padded, end, whole, time])
    rounding = shape.output_downsampling
    out_frames = tape.op("Div", [tape.op("Add", [frames, ints(rounding - 1)]), ints(rounding)])
    graph.insert_before(graph[0], tape.nodes)
    blocks.replace_all_uses_with(new_blocks)
    tail.replace_all_uses_with(new_tail)
    graph.inputs[:] = [x, x_lens]

    out = graph.outputs[0]
    assert out.shape is not None  # a traced output has one
    width = out.shape[-1]
    after = Tape()
    start = after.op("Constant", [], {"value_ints": (0,)})
    cut = after.op("Slice", [out, start, out_frames, time])
    graph.extend(after.nodes)
    out.name, cut.name = f"{out.name}_in_blocks", out.name
    cut.type, cut.shape = out.type, ir.Shape(["N", None, width])
    graph.outputs[0] = cut
    common.NameFixPass()(model)

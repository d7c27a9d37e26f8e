"""Changes of the number formats in an ONNX graph."""

from typing import Any


def cast_ends(proto: Any) -> None:
    """Give a float16 graph float32 input and output, in place."""
    from onnx import TensorProto, helper

    graph = proto.graph
    for node in graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name in ("input", "output"):
                    names[index] = f"half_{name}"
    graph.node.insert(0, helper.make_node("Cast", ["input"], ["half_input"], to=TensorProto.FLOAT16))
    graph.node.append(helper.make_node("Cast", ["half_output"], ["output"], to=TensorProto.FLOAT))
    for value in (graph.input[0], graph.output[0]):
        value.type.tensor_type.elem_type = TensorProto.FLOAT


def store_as_bf16(proto: Any) -> None:
    """Store the float32 weights of a graph as bfloat16, in place; it computes in float32, so every engine runs it.

    Weights of depthwise convolutions, which are few, stay: the skip upsampler's would limit the whole image.
    """
    import ml_dtypes
    from onnx import TensorProto, helper, numpy_helper

    graph, casts = proto.graph, []
    depthwise = {
        node.input[1]
        for node in graph.node
        if node.op_type == "Conv" and any(entry.name == "group" and entry.i > 1 for entry in node.attribute)
    }
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or not tensor.dims or tensor.name in depthwise:
            continue
        name = tensor.name
        rounded = numpy_helper.to_array(tensor).astype(ml_dtypes.bfloat16)
        tensor.CopyFrom(
            helper.make_tensor(f"{name}_bf16", TensorProto.BFLOAT16, rounded.shape, rounded.tobytes(), raw=True)
        )
        casts.append(helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
    for node in reversed(casts):
        graph.node.insert(0, node)
    known = [value for value in graph.value_info if value.name not in {cast.output[0] for cast in casts}]
    del graph.value_info[:]
    graph.value_info.extend(known)

"""Which kernels of a TFLite file can be encoded for TFLite Micro, and why others cannot. TensorFlow is not imported."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from models.tflite.packed_weights import Kernel

_OPERATORS: Final = frozenset(
    {
        schema.BuiltinOperator.FULLY_CONNECTED,
        schema.BuiltinOperator.CONV_2D,
        schema.BuiltinOperator.DEPTHWISE_CONV_2D,
    }
)
_TYPES: Final = {number: name for name, number in vars(schema.TensorType).items() if isinstance(number, int)}
_KERNEL_INPUT: Final = 1
# How TensorFlow names the operations that a kernel feeds; what else is in a kernel's name was folded into it.
_KERNEL_OPERATIONS: Final = ("MatMul", "Tensordot", "Conv2D", "depthwise", "separable_conv2d")


def kernels_to_encode(unpacked: Any) -> dict[int, tuple[str, Kernel | str]]:
    """Reads the constant kernels of a model's first subgraph, in the order they run.

    Args:
        unpacked: a `ModelT` of TFLite's schema whose constants are all inside (`models.tflite.flatbuffer.read_whole`).

    Returns:
        Index of the tensor -> the Keras layer it comes from, and the kernel, or the reason why it must stay as it is.
        Of a layer with two kernels, the name says which operation it is.
    """
    graph = unpacked.subgraphs[0]
    found = [
        int(operator.inputs[_KERNEL_INPUT])
        for operator in graph.operators
        if _is_weighted(unpacked, operator) and _is_constant(unpacked, graph, int(operator.inputs[_KERNEL_INPUT]))
    ]
    indices = list(dict.fromkeys(found))
    operations = {index: _operation(graph.tensors[index]) for index in indices}
    layers = Counter(_layer(operation) for operation in operations.values())
    return {
        index: (
            _layer(operations[index]) if layers[_layer(operations[index])] == 1 else operations[index],
            _kernel(unpacked, graph, index),
        )
        for index in indices
    }


def _is_weighted(unpacked: Any, operator: Any) -> bool:
    code = unpacked.operatorCodes[operator.opcodeIndex]
    # Files of before 2020 have the old one-byte field alone; new ones put the larger of the two.
    return max(code.builtinCode, code.deprecatedBuiltinCode) in _OPERATORS


def _is_constant(unpacked: Any, graph: Any, index: int) -> bool:
    data = unpacked.buffers[graph.tensors[index].buffer].data
    return data is not None and len(data) > 0


def _operation(tensor: Any) -> str:
    """The operation a kernel feeds, `<layer>/<operation>`, of its name `model/<layer>/<operation>;…`."""
    name = (tensor.name or b"").decode(errors="replace")
    parts = [operation.split("/") for operation in name.split(";")]
    scoped = [each for each in parts if len(each) > 2]
    wanted = [each for each in scoped if each[-1].startswith(_KERNEL_OPERATIONS)] or scoped
    return "/".join(wanted[0][1:]) if wanted else name


def _layer(operation: str) -> str:
    return operation.split("/")[0]


def _kernel(unpacked: Any, graph: Any, index: int) -> Kernel | str:
    tensor = graph.tensors[index]
    if tensor.type != schema.TensorType.INT8:
        return f"weights of {_TYPES[tensor.type]}, not of INT8"
    if len(unpacked.subgraphs) > 1:
        return "the model has more than one subgraph"
    if sum(other.buffer == tensor.buffer for other in graph.tensors) > 1:
        return "its bytes are those of another tensor, too"
    for operator in graph.operators:
        positions = np.flatnonzero(np.asarray(operator.inputs) == index).tolist()
        if positions and not (_is_weighted(unpacked, operator) and positions == [_KERNEL_INPUT]):
            return "an operator reads it that may need a constant"
    points = None if tensor.quantization is None else tensor.quantization.zeroPoint
    kernel = Kernel(
        values=np.asarray(unpacked.buffers[tensor.buffer].data, np.uint8).view(np.int8).reshape(tensor.shape),
        zero_points=np.asarray([] if points is None else points, np.int64),
        axis=0 if tensor.quantization is None else int(tensor.quantization.quantizedDimension),
    )
    return kernel.refusal() or kernel

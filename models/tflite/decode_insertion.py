"""Putting TFLite Micro's operator DECODE before the operators that read an encoded kernel.

The encoded tensor keeps its name and gives up its type, shape and quantization; the unpacked one, which has no data,
takes them over. tflite-micro's own rewriting leaves the quantization in both, which costs 12 bytes a channel.
TensorFlow is not imported.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from models.tflite.packed_weights import Packed

_CUSTOM_CODE: Final = b"TFLM_DECODE"


def insert_decode(unpacked: Any, packed: Mapping[int, Packed]) -> Any:
    """Encodes kernels of a model's first subgraph.

    What DECODE writes lives until the next operator has run, and so each reader gets a DECODE of its own.

    Args:
        unpacked: a `ModelT` of TFLite's schema; it is not changed.
        packed: index of a kernel's tensor -> what it becomes; its buffer belongs to it alone.

    Returns:
        A new `ModelT`. Tensors that were there keep their index and name; new ones have empty names, for names are
        bytes too.
    """
    model = copy.deepcopy(unpacked)
    graph = model.subgraphs[0]
    if not packed:
        return model
    opcode = _decode_opcode(model)
    originals = {index: copy.copy(graph.tensors[index]) for index in packed}
    ancillaries = {index: _encode(model, graph, index, packed[index]) for index in sorted(packed)}
    operators = []
    for operator in graph.operators:
        inputs = operator.inputs if operator.inputs is not None else []
        read = [int(index) for index in inputs if int(index) in packed]
        for index in dict.fromkeys(read):
            output = _append(graph, _unpacked_tensor(originals[index]))
            operators.append(_decode_operator(opcode, index, ancillaries[index], output))
            operator.inputs = np.where(np.asarray(operator.inputs) == index, output, operator.inputs).astype(np.int32)
        operators.append(operator)
    graph.operators = operators
    return model


def _decode_opcode(model: Any) -> int:
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode, code.version = _CUSTOM_CODE, 1
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def _encode(model: Any, graph: Any, index: int, packed: Packed) -> int:
    """Replaces the data of a kernel; returns the index of its ancillary tensor."""
    tensor = graph.tensors[index]
    model.buffers[tensor.buffer].data = np.frombuffer(packed.encoded, np.uint8)
    graph.tensors[index] = _bytes_tensor(tensor.name, tensor.buffer, len(packed.encoded))
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(packed.ancillary, np.uint8)
    model.buffers.append(buffer)
    return _append(graph, _bytes_tensor(b"", len(model.buffers) - 1, len(packed.ancillary)))


def _bytes_tensor(name: bytes, buffer: int, size: int) -> Any:
    tensor = schema.TensorT()
    tensor.name, tensor.buffer, tensor.type = name, buffer, schema.TensorType.UINT8
    tensor.shape = np.array([size], np.int32)
    return tensor


def _unpacked_tensor(original: Any) -> Any:
    tensor = copy.copy(original)
    tensor.name, tensor.buffer = b"", 0  # buffer 0 is the empty one
    return tensor


def _append(graph: Any, tensor: Any) -> int:
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _decode_operator(opcode: int, encoded: int, ancillary: int, output: int) -> Any:
    operator = schema.OperatorT()
    operator.opcodeIndex = opcode
    operator.inputs = np.array([encoded, ancillary], np.int32)
    operator.outputs = np.array([output], np.int32)
    return operator

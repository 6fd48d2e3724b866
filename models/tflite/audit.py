"""Reading what is inside a TFLite file: operators, constant tensors, zeros. TensorFlow is not imported."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from data.contract import ConversionError

FLOAT_OPERATORS_ALLOWED_IN_INT8: frozenset[str] = frozenset()
"""Operators that may work on floats in an int8 model; docs/runtimes.md gives the reason for each."""

DENSIFY = "DENSIFY"

_IDENTIFIER = b"TFL3"
_PARSE_FAILURES = (struct.error, IndexError, ValueError, TypeError, UnicodeDecodeError, OverflowError, MemoryError)
_FLATBUFFER_HEADER = 8  # root offset, then the identifier


def _names(enumeration: type) -> dict[int, str]:
    return {value: name for name, value in vars(enumeration).items() if isinstance(value, int)}


_OPERATOR_NAMES = _names(schema.BuiltinOperator)
_TENSOR_TYPES = _names(schema.TensorType)
_DTYPES: dict[str, np.dtype[Any]] = {
    "FLOAT32": np.dtype("<f4"),
    "FLOAT16": np.dtype("<f2"),
    "INT8": np.dtype("i1"),
    "UINT8": np.dtype("u1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "INT4": np.dtype("i1"),
}
_FLOAT_TYPES = frozenset({"FLOAT16", "FLOAT32", "FLOAT64", "BFLOAT16"})


@dataclass(frozen=True)
class Operator:
    """One step of a TFLite model.

    Attributes:
        name: the built-in operator's name in TFLite's schema, or `CUSTOM:<name>`.
        input_types: element types of the inputs that are present, e.g. `INT8`.
        output_types: element types of the outputs.
    """

    name: str
    input_types: tuple[str, ...]
    output_types: tuple[str, ...]

    @property
    def works_on_floats(self) -> bool:
        """Whether any input or output is a floating-point tensor."""
        return not _FLOAT_TYPES.isdisjoint((*self.input_types, *self.output_types))


@dataclass(frozen=True)
class Constant:
    """A tensor whose values are part of the file.

    Attributes:
        name: as the converter named it: the Keras operations it came from, separated by `;`.
        values: in its own type and shape.
        zero_points: (channels,) or (1,) int64: the integers that mean 0.0; empty in float tensors.
        channel_axis: axis the zero points run along.
        consumers: names of the operators that read it, those behind a DEQUANTIZE included.
    """

    name: str
    values: NDArray[Any]
    zero_points: NDArray[np.int64]
    channel_axis: int
    consumers: tuple[str, ...]

    def nonzero(self) -> NDArray[np.bool_]:
        """Returns where the tensor does not mean exactly 0.0; same shape, True where it does not."""
        if self.zero_points.size <= 1:
            zero = self.zero_points[0] if self.zero_points.size else 0
            return np.asarray(self.values != zero)
        along_channels = [1] * self.values.ndim
        along_channels[self.channel_axis] = -1
        return np.asarray(self.values != self.zero_points.reshape(along_channels))


def read_model(model: bytes) -> Any:
    """Unpacks a .tflite file.

    Args:
        model: its bytes.

    Returns:
        A `ModelT` of TFLite's schema.

    Raises:
        ConversionError: the bytes are no TFLite model.
    """
    if len(model) < _FLATBUFFER_HEADER or model[4:8] != _IDENTIFIER:
        raise ConversionError(
            f"model.tflite: expected a TFLite file (identifier TFL3), got {len(model)} bytes that are none. "
            f"Convert the model again."
        )
    try:
        return schema.ModelT.InitFromPackedBuf(model, 0)
    except _PARSE_FAILURES as error:
        raise ConversionError(
            f"model.tflite: expected a whole TFLite file, got one that breaks off or is damaged ({error}). "
            f"Convert the model again."
        ) from error


def operator_details(model: bytes) -> list[Operator]:
    """Lists the operators of all subgraphs, in the order they run.

    Args:
        model: bytes of a .tflite file.

    Raises:
        ConversionError: the bytes are no TFLite model.
    """
    unpacked = read_model(model)
    return [
        Operator(
            name=_operator_name(unpacked, operator),
            input_types=_types(graph, operator.inputs),
            output_types=_types(graph, operator.outputs),
        )
        for graph in unpacked.subgraphs
        for operator in graph.operators or []
    ]


def operators(model: bytes) -> list[str]:
    """Lists the operators' names in the order they run: schema names, or `CUSTOM:<name>`.

    Args:
        model: bytes of a .tflite file.

    Raises:
        ConversionError: the bytes are no TFLite model.
    """
    return [operator.name for operator in operator_details(model)]


def has_int4_weights(model: bytes) -> bool:
    """Whether an operator of a file reads 4-bit integers.

    Args:
        model: bytes of a .tflite file.

    Raises:
        ConversionError: the bytes are no TFLite model.
    """
    return any("INT4" in operator.input_types for operator in operator_details(model))


def foreign_operators(model: bytes) -> list[str]:
    """Lists operators that no plain runtime has: custom ones, TensorFlow's own (Flex), and DENSIFY.

    DENSIFY is built in, but it unpacks a sparse tensor at run time, so that the file shrinks and
    the memory does not, and TFLite Micro does not have it.

    Args:
        model: bytes of a .tflite file.

    Returns:
        Names in the order they run; empty is what is wanted.

    Raises:
        ConversionError: the bytes are no TFLite model.
    """
    return [name for name in operators(model) if name.startswith("CUSTOM") or name == DENSIFY]


def float_operators(model: bytes) -> list[str]:
    """Lists operators with a floating-point input or output, in the order they run.

    Args:
        model: bytes of a .tflite file.

    Raises:
        ConversionError: the bytes are no TFLite model.
    """
    return [operator.name for operator in operator_details(model) if operator.works_on_floats]


def final_softmax_scale(model: bytes) -> float | None:
    """Returns the real value of one integer step of the logits, where a softmax of integers gives the output.

    Args:
        model: bytes of a .tflite file.

    Raises:
        ConversionError: the bytes are no TFLite model.
    """
    unpacked = read_model(model)
    graph = unpacked.subgraphs[0]
    last = (graph.operators or [None])[-1]
    if last is None or _operator_name(unpacked, last) != "SOFTMAX":
        return None
    scales = graph.tensors[int(last.inputs[0])].quantization.scale
    return None if scales is None or len(scales) == 0 else float(scales[0])


def constants(model: bytes) -> list[Constant]:
    """Reads the tensors whose values are part of the file, sparsely encoded ones left out.

    Args:
        model: bytes of a .tflite file.

    Raises:
        ConversionError: the bytes are no TFLite model, or a tensor's bytes do not fit its shape.
    """
    unpacked = read_model(model)
    return [
        _constant(tensor, unpacked.buffers[tensor.buffer].data, _consumers(unpacked, graph, index))
        for graph in unpacked.subgraphs
        for index, tensor in enumerate(graph.tensors)
        if unpacked.buffers[tensor.buffer].data is not None
        and len(unpacked.buffers[tensor.buffer].data) > 0
        and _TENSOR_TYPES.get(tensor.type) in _DTYPES
        and tensor.sparsity is None
    ]


def _constant(tensor: Any, data: Any, consumers: tuple[str, ...]) -> Constant:
    name = (tensor.name or b"").decode(errors="replace")
    shape = tuple(int(size) for size in (tensor.shape if tensor.shape is not None else ()))
    raw = np.asarray(data, dtype=np.uint8).tobytes()
    if _TENSOR_TYPES[tensor.type] == "INT4":
        raw = _unpacked(raw, int(np.prod(shape, dtype=np.int64)))
    dtype = _DTYPES[_TENSOR_TYPES[tensor.type]]
    if len(raw) != int(np.prod(shape, dtype=np.int64)) * dtype.itemsize:
        raise ConversionError(
            f"model.tflite: expected {shape} values of {dtype} in tensor {name!r}, got {len(raw)} bytes. "
            f"Convert the model again."
        )
    quantization = tensor.quantization
    points = None if quantization is None else quantization.zeroPoint
    return Constant(
        name=name,
        values=np.frombuffer(raw, dtype=dtype).reshape(shape),
        zero_points=np.asarray([] if points is None else points, dtype=np.int64),
        channel_axis=0 if quantization is None else int(quantization.quantizedDimension),
        consumers=consumers,
    )


def _unpacked(raw: bytes, count: int) -> bytes:
    """Takes 4-bit integers apart, two a byte, the lower half first; bytes of another length are left as they are."""
    if len(raw) != (count + 1) // 2:
        return raw
    both = np.frombuffer(raw, dtype=np.uint8)
    halves = np.stack([both << 4, both & 0xF0], axis=1).ravel()[:count]
    return (halves.view(np.int8) >> 4).tobytes()


def _consumers(unpacked: Any, graph: Any, index: int) -> tuple[str, ...]:
    """Operators that read a tensor; through DEQUANTIZE, which float16 weights pass first."""
    found: list[str] = []
    for operator in graph.operators or []:
        if operator.inputs is None or index not in operator.inputs:
            continue
        name = _operator_name(unpacked, operator)
        if name == "DEQUANTIZE":
            found.extend(_consumers(unpacked, graph, int(operator.outputs[0])))
        found.append(name)
    return tuple(found)


def _operator_name(unpacked: Any, operator: Any) -> str:
    code = unpacked.operatorCodes[operator.opcodeIndex]
    # Files of before 2020 have the old one-byte field alone; new ones put the larger of the two.
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    name = _OPERATOR_NAMES.get(number, f"UNKNOWN_{number}")
    return f"CUSTOM:{(code.customCode or b'').decode(errors='replace')}" if name == "CUSTOM" else name


def _types(graph: Any, indices: Sequence[int] | None) -> tuple[str, ...]:
    present = [int(index) for index in (indices if indices is not None else ()) if index >= 0]
    if present and max(present) >= len(graph.tensors):
        raise ConversionError(
            f"model.tflite: expected operators that read tensors 0 to {len(graph.tensors) - 1}, got {max(present)}. "
            f"Convert the model again."
        )
    return tuple(_TENSOR_TYPES.get(graph.tensors[index].type, "UNKNOWN") for index in present)

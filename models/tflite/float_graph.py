"""What quantizing a float .tflite file needs to know of it: operators, their layers and biases, measured ranges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray

from data.contract import ConversionError
from models.tflite import audit

_WITH_KERNEL: Final = frozenset({"FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV"})
_KERNEL_INPUT, _BIAS_INPUT = 1, 2
_TRANSPOSE_CONV_BIAS_INPUT: Final = 3  # its first input is the shape of the output
# How TensorFlow names the operations that a kernel feeds; what else is in a kernel's name was folded into it.
_KERNEL_OPERATIONS: Final = ("MatMul", "Conv2D", "depthwise", "separable_conv2d", "conv2d_transpose")


@dataclass(frozen=True)
class Range:
    """Extremes of a tensor, of its rank, so that they broadcast against it.

    Attributes:
        low: least value; of a kernel, one a channel.
        high: largest value.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @staticmethod
    def of(low: float, high: float, rank: int) -> Range:
        """Extremes of a whole tensor of this rank."""
        return Range(np.full([1] * rank, low), np.full([1] * rank, high))


@dataclass(frozen=True)
class FloatOperator:
    """One step of a float model.

    Attributes:
        name: the built-in operator's name.
        scope: names of its output tensors, each followed by `;`, as ai-edge-quantizer matches them.
        layers: Keras layers it comes from: those its kernel's name says, without a kernel its output's.
        inputs: tensors it reads that are not constants.
        outputs: tensors it makes.
        kernel: name of its constant kernel; None where it has none.
        bias: (channels,) float32, its constant bias; None where it has none.
    """

    name: str
    scope: str
    layers: tuple[str, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    kernel: str | None
    bias: NDArray[np.float32] | None


@dataclass(frozen=True)
class FloatGraph:
    """A float model of one input and one output.

    Attributes:
        operators: in the order they run.
        activations: index -> name of the tensors that calibration measures: the input and what operators make.
        ranks: tensor name -> its number of dimensions.
        input_name: name of the input tensor.
        input_shape: its shape, the batch dimension of 1 included.
        output: index of the output tensor.
    """

    operators: tuple[FloatOperator, ...]
    activations: Mapping[int, str]
    ranks: Mapping[str, int]
    input_name: str
    input_shape: tuple[int, ...]
    output: int

    @property
    def layer_names(self) -> list[str]:
        """Layers that have a kernel, in the order they run."""
        weighted = (operator for operator in self.operators if operator.kernel is not None)
        return list(dict.fromkeys(layer for operator in weighted for layer in operator.layers))


def float_graph(model: bytes) -> FloatGraph:
    """Reads a float .tflite file.

    Args:
        model: its bytes.

    Raises:
        ConversionError: no TFLite model; not one subgraph, input and output; not one row; or not of floats.
    """
    unpacked = audit.read_model(model)
    if (
        len(unpacked.subgraphs) != 1
        or len(unpacked.subgraphs[0].inputs) != 1
        or len(unpacked.subgraphs[0].outputs) != 1
    ):
        raise ConversionError(
            "model.tflite: expected one subgraph with one input and one output, got more. Convert the model again."
        )
    graph = unpacked.subgraphs[0]
    fed = graph.tensors[int(graph.inputs[0])]
    shape = tuple(int(size) for size in fed.shape)
    details = audit.operator_details(model)
    types = {kind for operator in details for kind in (*operator.input_types, *operator.output_types)}
    _check_float_row(shape, types)
    operators = tuple(
        _operator(unpacked, graph, operator, detail.name)
        for operator, detail in zip(graph.operators, details, strict=True)
    )
    made = (int(graph.inputs[0]), *(index for operator in operators for index in operator.outputs))
    floats = [index for index in made if graph.tensors[index].type == fed.type]
    return FloatGraph(
        operators=operators,
        activations={index: _name(graph.tensors[index]) for index in floats},
        ranks={_name(tensor): len(tensor.shape) if tensor.shape is not None else 0 for tensor in graph.tensors},
        input_name=_name(fed),
        input_shape=shape,
        output=int(graph.outputs[0]),
    )


def _check_float_row(shape: tuple[int, ...], types: set[str]) -> None:
    if shape[:1] != (1,) or not types <= {"FLOAT32", "INT32", "INT64", "BOOL"}:
        raise ConversionError(
            f"model.tflite: expected a float32 model with a batch of one row, got an input of shape {shape} and "
            f"tensors of {', '.join(sorted(types))}. Quantize what convert makes as float32."
        )


def measured_ranges(model: bytes, graph: FloatGraph, rows: NDArray[np.float32]) -> dict[str, Range]:
    """Runs calibration rows one by one and keeps each activation's extremes over all of them.

    ai-edge-quantizer's own calibration takes moving averages, which depend on the order of the rows
    and meet neither end of a pixel's range.

    Args:
        model: bytes of the float .tflite file.
        graph: what `float_graph` read in it.
        rows: (rows, *input_shape) float32.

    Returns:
        Tensor name -> its extremes.

    Raises:
        ConversionError: no rows, rows of another shape, or numbers that are not finite, there or inside.
    """
    _check_rows(graph, rows)
    interpreter = _interpreter(model)
    fed = interpreter.get_input_details()[0]["index"]
    low = dict.fromkeys(graph.activations, np.inf)
    high = dict.fromkeys(graph.activations, -np.inf)
    for row in rows:
        interpreter.reset_all_variables()
        interpreter.set_tensor(fed, row[np.newaxis].astype(np.float32, copy=False))
        interpreter.invoke()
        for index in graph.activations:
            values = interpreter.get_tensor(index)
            low[index] = min(low[index], float(values.min()))
            high[index] = max(high[index], float(values.max()))
    for index, name in graph.activations.items():
        if not np.isfinite([low[index], high[index]]).all():
            raise ConversionError(
                f"convert.calibration_rows: expected finite activations, got NaN or infinity in {name!r}. "
                f"Look at the preprocessing, or at the training."
            )
    return {name: Range.of(low[index], high[index], graph.ranks[name]) for index, name in graph.activations.items()}


def _interpreter(model: bytes) -> Interpreter:
    interpreter = Interpreter(
        model_content=model,
        num_threads=1,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    interpreter.allocate_tensors()
    return interpreter


def _check_rows(graph: FloatGraph, rows: NDArray[np.float32]) -> None:
    if len(rows) == 0:
        raise ConversionError(
            "convert.calibration_rows: expected real training rows, got none. Pass rows of the training split."
        )
    if rows.shape[1:] != graph.input_shape[1:]:
        raise ConversionError(
            f"convert.calibration_rows: expected rows of shape {graph.input_shape[1:]}, got {rows.shape[1:]}. "
            f"Pass rows as the model eats them."
        )
    if not np.isfinite(rows).all():
        raise ConversionError(
            "convert.calibration_rows: expected finite numbers, got NaN or infinity. Look at the preprocessing."
        )


def _operator(unpacked: Any, graph: Any, operator: Any, name: str) -> FloatOperator:
    inputs = [int(index) for index in operator.inputs] if operator.inputs is not None else []
    outputs = tuple(int(index) for index in operator.outputs)
    constant = {index for index in inputs if index >= 0 and _data(unpacked, graph, index) is not None}
    has_kernel = name in _WITH_KERNEL and inputs[_KERNEL_INPUT] in constant
    kernel = _name(graph.tensors[inputs[_KERNEL_INPUT]]) if has_kernel else None
    scope = "".join(f"{_name(graph.tensors[index])};" for index in outputs)
    return FloatOperator(
        name=name,
        scope=scope,
        layers=_layers(scope, all_operations=True) if kernel is None else _layers(kernel, all_operations=False),
        inputs=tuple(index for index in inputs if index >= 0 and index not in constant),
        outputs=outputs,
        kernel=kernel,
        bias=_bias(unpacked, graph, inputs, name) if has_kernel else None,
    )


def _bias(unpacked: Any, graph: Any, inputs: Sequence[int], name: str) -> NDArray[np.float32] | None:
    place = _TRANSPOSE_CONV_BIAS_INPUT if name == "TRANSPOSE_CONV" else _BIAS_INPUT
    if place >= len(inputs) or inputs[place] < 0:
        return None
    data = _data(unpacked, graph, inputs[place])
    return None if data is None else np.frombuffer(data, np.dtype("<f4"))


def _layers(tensor_names: str, *, all_operations: bool) -> tuple[str, ...]:
    """Scopes in tensor names, `model/<layer>/<operation>;…`; batch normalization folded into a kernel left out."""
    operations = [operation.split("/") for operation in tensor_names.split(";")]
    wanted = [parts for parts in operations if all_operations or parts[-1].startswith(_KERNEL_OPERATIONS)]
    return tuple(dict.fromkeys(layer for parts in wanted for layer in parts[1:-1]))


def _data(unpacked: Any, graph: Any, index: int) -> bytes | None:
    data = unpacked.buffers[graph.tensors[index].buffer].data
    return None if data is None or len(data) == 0 else np.asarray(data, np.uint8).tobytes()


def _name(tensor: Any) -> str:
    name: str = tensor.name.decode(errors="replace")
    return name

"""Which tensors of a TFLite file a recurrent layer's kernels became: found, checked, and named after the layer.

The converter gives them no name that tells. Here they become `model/<layer>/MatMul_<kernel>_<gates>`, with `kernel` or
`recurrent_kernel`, and the letters of the gates whose columns the tensor holds: i, f, c and o of an LSTM's input and
forget gates, candidate and output gate; z, r and h of a GRU's update and reset gates and candidate; h of a simple cell.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from data.contract import ConversionError
from models.legacy_keras import keras
from models.recurrent import GATES
from models.tflite.loops import OF_AN_LSTM
from models.tflite.unrolled import can_be_unrolled

_FUSED: Final = schema.BuiltinOperator.UNIDIRECTIONAL_SEQUENCE_LSTM
_LSTM_GATES: Final = GATES[keras.layers.LSTM]
_INPUT_KERNELS, _RECURRENT_KERNELS = slice(1, 5), slice(5, 9)
_UNROLLED: Final = re.compile(r"/MatMul_(kernel|recurrent_kernel)_[a-z]+")
_ROUNDING: Final = 1.01
"""Steps of a kernel's scale, halved, that a weight in the file may be off: a little more than rounding makes of it."""


def name_recurrent_kernels(unpacked: Any, model: Any) -> bool:
    """Names the kernels of recurrent layers, and makes sure that each LSTM layer is one operator.

    Args:
        unpacked: a `ModelT` of TFLite's schema, of any precision; changed in place.
        model: the Keras model it was converted from.

    Returns:
        Whether there is a recurrent layer.

    Raises:
        ConversionError: an LSTM layer did not become an operator UNIDIRECTIONAL_SEQUENCE_LSTM with its weights.
    """
    layers = [layer for layer in _flattened(model) if type(layer) is keras.layers.LSTM]
    _name_fused(unpacked, layers)
    unrolled = [layer.name for layer in model.layers if can_be_unrolled(layer)]
    for graph in unpacked.subgraphs if unrolled else ():
        for operator in graph.operators:
            _name_unrolled(unpacked, graph, operator)
        _shorten(unpacked, graph, unrolled)
    return bool(layers or unrolled)


def _name_fused(unpacked: Any, layers: Sequence[Any]) -> None:
    """Names the kernels of fused LSTMs; arguments and errors as `name_recurrent_kernels`."""
    operators = [
        (graph, operator)
        for graph in unpacked.subgraphs
        for operator in graph.operators
        if _is(unpacked, operator, _FUSED)
    ]
    if len(layers) != len(operators):
        names = ", ".join(repr(layer.name) for layer in layers)
        raise ConversionError(
            f"convert.variants: expected each LSTM layer ({names}) as one operator UNIDIRECTIONAL_SEQUENCE_LSTM, got "
            f"{len(operators)} of {len(layers)}. {OF_AN_LSTM}"
        )
    waiting = list(layers)
    for graph, operator in operators:
        kernels = [_real(unpacked, graph, int(index)) for index in operator.inputs[1:9]]
        layer = next((each for each in waiting if _are_of(each, kernels)), None)
        if layer is None:
            names = ", ".join(repr(each.name) for each in waiting)
            raise ConversionError(
                f"convert.variants: expected an operator UNIDIRECTIONAL_SEQUENCE_LSTM with the weights of {names}, got "
                "one with others. Report this as a defect."
            )
        waiting.remove(layer)
        for kernel, places in (("kernel", _INPUT_KERNELS), ("recurrent_kernel", _RECURRENT_KERNELS)):
            for gate, index in zip(_LSTM_GATES, operator.inputs[places], strict=True):
                source = _constant(unpacked, graph, int(index))
                graph.tensors[source].name = f"model/{layer.name}/MatMul_{kernel}_{gate}".encode()


def _flattened(model: Any) -> list[Any]:
    """The layers of a model, those inside nested models and wrappers too, each once."""
    return list(model._flatten_layers(include_self=False))


def _is(unpacked: Any, operator: Any, code: int) -> bool:
    return bool(unpacked.operatorCodes[operator.opcodeIndex].builtinCode == code)


def _constant(unpacked: Any, graph: Any, index: int) -> int:
    """The tensor that holds the numbers of another: of half-precision weights the one before DEQUANTIZE."""
    for operator in graph.operators:
        if index in operator.outputs and _is(unpacked, operator, schema.BuiltinOperator.DEQUANTIZE):
            return int(operator.inputs[0])
    return index


_DTYPES: Final[dict[int, np.dtype[Any]]] = {
    schema.TensorType.FLOAT32: np.dtype("<f4"),
    schema.TensorType.FLOAT16: np.dtype("<f2"),
    schema.TensorType.INT8: np.dtype("i1"),
}


def _real(unpacked: Any, graph: Any, index: int) -> tuple[NDArray[np.float64], float]:
    """What a kernel's tensor means, and how far that may be from the weights it was made from."""
    tensor = graph.tensors[_constant(unpacked, graph, index)]
    raw = np.asarray(unpacked.buffers[tensor.buffer].data, np.uint8).tobytes()
    values = np.frombuffer(raw, _DTYPES[tensor.type]).reshape(tensor.shape).astype(np.float64)
    if tensor.type == schema.TensorType.INT8:
        scale = float(tensor.quantization.scale[0])
        return values * scale, 0.5 * _ROUNDING * scale
    return values, 0.0 if tensor.type == schema.TensorType.FLOAT32 else 2.0**-10 * float(np.abs(values).max())


def _are_of(layer: Any, found: list[tuple[NDArray[np.float64], float]]) -> bool:
    """Whether eight tensors are the gates of an LSTM's two kernels, turned over."""
    kernels = (layer.cell.kernel.numpy(), layer.cell.recurrent_kernel.numpy())
    wanted = itertools.chain.from_iterable(np.split(kernel, len(_LSTM_GATES), axis=1) for kernel in kernels)
    return all(
        values.shape == gate.T.shape and bool((np.abs(values - gate.T) <= tolerance).all())
        for gate, (values, tolerance) in zip(wanted, found, strict=True)
    )


def _name_unrolled(unpacked: Any, graph: Any, operator: Any) -> None:
    """Names the kernel of a product that a layer was unrolled into, as the product is named."""
    if not _is(unpacked, operator, schema.BuiltinOperator.FULLY_CONNECTED):
        return
    made = (graph.tensors[int(operator.outputs[0])].name or b"").decode(errors="replace")
    product = next((part for part in made.split(";") if _UNROLLED.search(part)), None)
    if product is not None:
        whole = product[: _UNROLLED.search(product).end()]  # type: ignore[union-attr]  # it was found above
        graph.tensors[_constant(unpacked, graph, int(operator.inputs[1]))].name = whole.encode()


def _shorten(unpacked: Any, graph: Any, layers: Sequence[str]) -> None:
    """Gives what unrolled layers hand from step to step short names: theirs were a sixth of a file."""
    ends = {int(index) for index in (*graph.inputs, *graph.outputs)}
    for index, tensor in enumerate(graph.tensors):
        data = unpacked.buffers[tensor.buffer].data
        scopes = (tensor.name or b"").decode(errors="replace").split(";")[0].split("/")
        if index not in ends and (data is None or len(data) == 0) and len(scopes) > 2 and scopes[1] in layers:
            tensor.name = f"model/{scopes[1]}/{index}".encode()

"""The scale of an int8 LSTM's cell state: no smaller than its kernels can read. TensorFlow is not imported.

The cell state is of 16 bits, and the converter gives it the smallest power of two that holds what calibration saw:
2^-17 where it stayed below 0.25. The kernels' tanh of it knows 15 + log2(scale) bits before the point from 0 on, and
has no case for fewer: below 2^-15 both LiteRT and TFLite Micro answer with something else than a tanh.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from models.tflite import audit

SMALLEST_CELL_SCALE: Final = 2.0**-15
"""Of a cell state of 16 bits: it then holds numbers from -1 to 1."""

_CELL_STATE: Final = 19
"""Place of the cell state among the inputs of a UNIDIRECTIONAL_SEQUENCE_LSTM."""


def widen_cell_states(unpacked: Any) -> bool:
    """Raises the scales of cell states that kernels cannot read: max(scale, 2^-15).

    A larger scale loses nothing that counts: a step is then a 32,768th, and the cell's answer has 8 bits. Nothing else
    in the file depends on it, for the kernels derive their factors from it as they are prepared.

    Args:
        unpacked: a `ModelT` of TFLite's schema, of any precision; changed in place.

    Returns:
        Whether there was one.
    """
    small = [tensor for tensor in _cell_states(unpacked) if _scale(tensor) < SMALLEST_CELL_SCALE]
    for tensor in small:
        tensor.quantization.scale = np.array([SMALLEST_CELL_SCALE], np.float32)
    return bool(small)


def unreadable_cell_states(model: bytes) -> dict[str, float]:
    """Finds cell states whose scales are below what kernels can read.

    Args:
        model: bytes of a .tflite file.

    Returns:
        Tensor name -> its scale.

    Raises:
        ConversionError: the bytes are no TFLite model.
    """
    return {
        (tensor.name or b"").decode(errors="replace"): _scale(tensor)
        for tensor in _cell_states(audit.read_model(model))
        if _scale(tensor) < SMALLEST_CELL_SCALE
    }


def _cell_states(unpacked: Any) -> list[Any]:
    """The tensors of 16 bits that LSTMs keep their cells in; those of floats have no scale."""
    found = []
    for graph in unpacked.subgraphs:
        for operator in graph.operators or []:
            code = unpacked.operatorCodes[operator.opcodeIndex].builtinCode
            if code == schema.BuiltinOperator.UNIDIRECTIONAL_SEQUENCE_LSTM:
                tensor = graph.tensors[int(operator.inputs[_CELL_STATE])]
                if tensor.type == schema.TensorType.INT16:
                    found.append(tensor)
    return found


def _scale(tensor: Any) -> float:
    return float(tensor.quantization.scale[0])

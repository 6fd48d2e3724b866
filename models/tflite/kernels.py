"""Which tensor of a TFLite file a Keras layer's kernel became, and how many values it has."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from models.tflite.audit import Constant, constants

_GATE_ORDERS = ("ifco", "zrh", "h")
"""Gates of an LSTM, a GRU and a simple cell, in the order of a Keras kernel's columns (`models.recurrent.GATES`)."""

_WEIGHTED_OPERATORS = frozenset({"FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D"})


def kernel_tensors(model: bytes) -> list[Constant]:
    """Reads the tensors of a file that are kernels.

    Args:
        model: bytes of a .tflite file.

    Raises:
        ConversionError: the bytes are no TFLite model.
    """
    return [c for c in constants(model) if c.values.ndim > 1 and not _WEIGHTED_OPERATORS.isdisjoint(c.consumers)]


def in_scope(tensor_name: str, layer: str) -> bool:
    """Returns whether one of the operations in a tensor's name, `model/<layer>/<operation>;…`, is of that layer."""
    return any(layer in operation.split("/")[1:-1] for operation in tensor_name.split(";"))


def gate_tensors(model: bytes, kernel: str) -> list[Constant]:
    """Finds the tensors that a recurrent layer's kernel lies in, as `models.tflite.recurrent_names` named them.

    Args:
        model: bytes of a .tflite file.
        kernel: `<layer>/kernel` or `<layer>/recurrent_kernel`.

    Returns:
        The tensors in the order of the kernel's columns, (columns, inputs) each; empty where there is none.

    Raises:
        ConversionError: the bytes are no TFLite model.
    """
    layer, _, which = kernel.rpartition("/")
    name = re.compile(rf"(?:.*/)?{re.escape(layer)}/MatMul_{re.escape(which)}_([a-z]+)")
    found = {match.group(1): each for each in constants(model) if (match := name.fullmatch(each.name))}
    letters = "".join(found)
    order = next((each for each in _GATE_ORDERS if sorted(each) == sorted(letters)), "")
    return [found[gates] for gates in sorted(found, key=order.index)] if order else []


def distinct_by_layer(model: bytes, layers: Iterable[str]) -> dict[str, int | None]:
    """Counts the distinct values of layers' kernels, each channel for itself where channels have scales of their own.

    Args:
        model: bytes of a .tflite file of any precision.
        layers: names of Keras layers.

    Returns:
        Layer name -> most distinct values that one scale has; None where no kernel, or more than one, has its name.

    Raises:
        ConversionError: the bytes are no TFLite model.
    """
    kernels = kernel_tensors(model)
    named = {layer: [tensor for tensor in kernels if in_scope(tensor.name, layer)] for layer in layers}
    return {layer: _distinct(tensors[0]) if len(tensors) == 1 else None for layer, tensors in named.items()}


def _distinct(tensor: Constant) -> int:
    axis = tensor.channel_axis
    # Batch normalization that was folded into a float kernel scaled its channels, too.
    by_channel = np.moveaxis(tensor.values, axis, 0).reshape(tensor.values.shape[axis], -1)
    whole = int(np.unique(tensor.values).size)
    one_scale = tensor.zero_points.size == 1
    return whole if one_scale else max(int(np.unique(channel).size) for channel in by_channel)

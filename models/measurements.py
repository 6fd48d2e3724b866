"""What a network weighs: parameters, non-zero parameters, multiply-accumulates, compressed bytes."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Any

import numpy as np

from data.contract import PenjingError

ZSTD_LEVEL = 19
"""The highest of Zstandard's ordinary levels."""


def count_parameters(model: Any) -> int:
    """Counts the numbers a model holds, batch normalization's statistics included.

    Args:
        model: a Keras model.

    Returns:
        Elements of all weights, trainable or not; counters of steps are none.
    """
    return sum(int(weight.size) for weight in _weights(model))


def count_nonzero(model: Any) -> int:
    """Counts the numbers of a model that are not exactly zero.

    Args:
        model: a Keras model.

    Returns:
        Non-zero elements of all weights, trainable or not.
    """
    return sum(int(np.count_nonzero(weight)) for weight in _weights(model))


def _weights(model: Any) -> list[Any]:
    return [weight for weight in model.get_weights() if np.issubdtype(weight.dtype, np.floating)]


def count_macs(model: Any) -> int:
    """Counts the multiply-accumulate operations of one inference of one row.

    Kernels alone are counted, zeroed weights included (they are still multiplied); biases,
    activations and pooling are not, nor is batch normalization, which conversion folds into the
    kernel before it. With output positions P (height times width for images):

        Dense            P * in * out        (P = 1 for a vector)
        Conv2D           P * kernel_height * kernel_width * (in / groups) * filters
        DepthwiseConv2D  P * kernel_height * kernel_width * in * multiplier
        SeparableConv2D  P * (kernel_height * kernel_width * in * multiplier + in * multiplier * filters)
        LSTM             steps * 4 * units * (in + units)
        GRU              steps * 3 * units * (in + units)
        SimpleRNN        steps * units * (in + units)

    Args:
        model: a Keras model of known input shape, channels last.

    Returns:
        Multiply-accumulates.

    Raises:
        PenjingError: a layer holds weights and its kind is not in the list above, or its images
            are not channels last; it is not counted as 0.

    Reference:
        Howard et al. 2017, MobileNets, section 3.1 (the cost of standard and depthwise separable
        convolutions); Hochreiter & Schmidhuber 1997, Long short-term memory (four products a step, each of
        input and state).
    """
    return sum(_layer_macs(layer) for layer in model.layers)


def gzip_bytes(data: bytes) -> int:
    """Measures what gzip -9 makes of data; no time stamp goes in, so the same data gives the same size.

    Args:
        data: e.g. the bytes of a .tflite file.

    Returns:
        Compressed size in bytes.
    """
    return len(gzip.compress(data, compresslevel=9, mtime=0))


def zstd_bytes(data: bytes) -> int:
    """Measures what Zstandard at level 19 makes of data.

    Args:
        data: e.g. the bytes of a .tflite file.

    Returns:
        Compressed size in bytes.
    """
    import pyarrow

    return len(pyarrow.Codec("zstd", compression_level=ZSTD_LEVEL).compress(data, asbytes=True))


def _layer_macs(layer: Any) -> int:
    kind = type(layer).__name__
    if not layer.weights or kind in ("BatchNormalization", "StatelessDropout"):
        return 0
    count = _COUNTED.get(kind)
    if count is None:
        raise PenjingError(
            f"model.{layer.name}: expected a layer whose multiply-accumulates can be counted ({', '.join(_COUNTED)}), "
            f"got {kind}. Say what it costs in models/measurements.py."
        )
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        raise PenjingError(
            f"model.{layer.name}: expected images with channels last, got {layer.data_format!r}. "
            f"Build the model with data_format='channels_last'."
        )
    return count(layer)


def _positions(layer: Any) -> int:
    """Output positions that a kernel is applied at: all axes but batch and channels."""
    return int(np.prod(layer.output_shape[1:-1], dtype=np.int64))


def _kernel_macs(layer: Any) -> int:
    """A Dense or Conv2D kernel (Keras has (h, w, in / groups, filters)) is gone through once a position."""
    return _positions(layer) * int(np.prod(layer.kernel.shape, dtype=np.int64))


def _depthwise_macs(layer: Any) -> int:
    return _positions(layer) * int(np.prod(layer.depthwise_kernel.shape, dtype=np.int64))


def _separable_macs(layer: Any) -> int:
    return _depthwise_macs(layer) + _positions(layer) * int(np.prod(layer.pointwise_kernel.shape, dtype=np.int64))


def _recurrent_macs(layer: Any) -> int:
    """Both kernels are gone through once a step, in each direction."""
    both = type(layer).__name__ == "Bidirectional"
    cells = [each.cell for each in ((layer.forward_layer, layer.backward_layer) if both else (layer,))]
    kernels = [kernel for cell in cells for kernel in (cell.kernel, cell.recurrent_kernel)]
    return int(layer.input_shape[1]) * sum(int(np.prod(kernel.shape, dtype=np.int64)) for kernel in kernels)


_COUNTED: dict[str, Callable[[Any], int]] = {
    "Dense": _kernel_macs,
    "Conv2D": _kernel_macs,
    "DepthwiseConv2D": _depthwise_macs,
    "SeparableConv2D": _separable_macs,
    "LSTM": _recurrent_macs,
    "GRU": _recurrent_macs,
    "SimpleRNN": _recurrent_macs,
    "Bidirectional": _recurrent_macs,
}

"""Which kernels of a network can hold zeros or few values, and how many of their weights are zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from data.contract import ConfigError
from models.legacy_keras import keras
from models.recurrent import is_recurrent, recurrent_kernels


@dataclass(frozen=True)
class PrunableKernels:
    """Which weights of a model can be pruned.

    Attributes:
        kernels: tf.Variable of each prunable layer by layer name, in the order of the layers; of a recurrent layer
            two, `<layer>/kernel` and `<layer>/recurrent_kernel`.
        left_out: why each other layer that holds weights stays dense, by layer name.
    """

    kernels: dict[str, Any]
    left_out: dict[str, str]


def prunable_kernels(model: Any) -> PrunableKernels:
    """Finds the kernels that can be pruned: of Dense, Conv2D and recurrent layers, the output's included.

    Args:
        model: a built Keras model.

    Returns:
        The kernels, and the layers with weights that are left out, each with its reason.

    Raises:
        ConfigError: the model has no prunable layer.
    """
    kernels, left_out = {}, {}
    for layer in model.layers:
        if type(layer) in (keras.layers.Dense, keras.layers.Conv2D):
            kernels[layer.name] = layer.kernel
        elif is_recurrent(layer):
            kernels |= recurrent_kernels(layer)
        elif any(weight.dtype.is_floating for weight in layer.weights):
            left_out[layer.name] = _reason(layer)
    if not kernels:
        raise ConfigError(
            "prune: expected a model with dense, convolutional or recurrent layers, got none. Leave the section out, "
            "or change the model."
        )
    return PrunableKernels(kernels, left_out)


def layer_sparsity(model: Any) -> list[dict[str, Any]]:
    """Counts the zeros of each prunable kernel.

    Args:
        model: a built Keras model.

    Returns:
        One entry a kernel: `name`, `weights` and `nonzero` (counts), `sparsity` (fraction of zeros).
    """
    rows = []
    for name, kernel in prunable_kernels(model).kernels.items():
        weights = kernel.numpy()
        nonzero = int(np.count_nonzero(weights))
        rows.append(
            {"name": name, "weights": weights.size, "nonzero": nonzero, "sparsity": 1.0 - nonzero / weights.size}
        )
    return rows


def _reason(layer: Any) -> str:
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return "depthwise kernels hold few weights, and each is a large share of its channel"
    if isinstance(layer, keras.layers.BatchNormalization):
        return "batch normalization has no kernel; it is folded into the layer before it on conversion"
    if isinstance(layer, keras.Model):
        return "a nested model; its layers cannot be pruned one by one"
    return f"layers of type {type(layer).__name__} have no kernel that is pruned"

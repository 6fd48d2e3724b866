"""L1, L2 and elastic net: penalties on a network's kernels.

Biases and batch normalization's scales are left alone: they do not multiply inputs, and shrinking
them costs fit without making the network simpler (Goodfellow et al. 2016, section 7.1).
"""

from __future__ import annotations

from typing import Any

from data.contract import ConfigError
from models.config import RegularizationConfig
from models.legacy_keras import keras, tf
from models.recurrent import is_recurrent, recurrent_kernels

KERNEL_ATTRIBUTES = ("kernel", "depthwise_kernel")
_PENALIZED = (keras.layers.Dense, keras.layers.Conv2D, keras.layers.DepthwiseConv2D)


def kernels_of(model: Any) -> list[Any]:
    """Lists the kernels that a penalty acts on, in the order of the layers.

    Args:
        model: a built Keras model.

    Returns:
        The kernels of its Dense, Conv2D and DepthwiseConv2D layers, and both kernels of its LSTM, GRU and SimpleRNN
        layers, in a Bidirectional wrapper too: one tf.Variable each.
    """
    return [kernel for layer in model.layers for kernel in _kernels(layer)]


def _kernels(layer: Any) -> list[Any]:
    if isinstance(layer, keras.layers.Bidirectional):
        return [*_kernels(layer.forward_layer), *_kernels(layer.backward_layer)]
    if is_recurrent(layer):
        return list(recurrent_kernels(layer).values())
    if not isinstance(layer, _PENALIZED):
        return []
    return [getattr(layer, next(name for name in reversed(KERNEL_ATTRIBUTES) if hasattr(layer, name)))]


def require_kernels(config: RegularizationConfig, kernels: list[Any]) -> None:
    """Checks that a penalty has something to act on.

    Raises:
        ConfigError: a strength is above 0 and there is no kernel.
    """
    if (config.l1 > 0.0 or config.l2 > 0.0) and not kernels:
        raise ConfigError(
            "train.regularization: expected a model with dense, convolutional or recurrent layers, got none. "
            "Leave the section out."
        )


def l1_penalty(strength: float, kernels: list[Any]) -> Any:
    """The part of the elastic net without a derivative, `strength * sum |w|` over all kernels together.

    It is told, not differentiated: a proximal step after each update answers for it (`models.proximal`).

    Args:
        strength: above 0.
        kernels: variables or tensors, float32, at least one.

    Returns:
        Scalar float32 tensor, >= 0.

    Reference:
        Zou & Hastie 2005, Regularization and variable selection via the elastic net, eq. (3).
    """
    return strength * tf.add_n([tf.reduce_sum(tf.abs(kernel)) for kernel in kernels])


def l2_penalty(strength: float, kernels: list[Any]) -> Any:
    """The smooth part of the elastic net, `strength * sum w^2` over all kernels together; as `l1_penalty`."""
    return strength * tf.add_n([tf.reduce_sum(tf.square(kernel)) for kernel in kernels])

"""L1, L2 and elastic net: penalties on a network's kernels.

Biases and batch normalization's scales are left alone: they do not multiply inputs, and shrinking
them costs fit without making the network simpler (Goodfellow et al. 2016, section 7.1).
"""

from __future__ import annotations

from typing import Any

from data.contract import ConfigError
from models.config import RegularizationConfig
from models.legacy_keras import keras, tf

KERNEL_ATTRIBUTES = ("kernel", "depthwise_kernel")


def kernels_of(model: Any) -> list[Any]:
    """Lists the kernels that a penalty acts on, in the order of the layers.

    Args:
        model: a built Keras model.

    Returns:
        The kernels of its Dense, Conv2D and DepthwiseConv2D layers: one tf.Variable each.
    """
    penalized = (keras.layers.Dense, keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
    layers = [layer for layer in model.layers if isinstance(layer, penalized)]
    names = [next(name for name in reversed(KERNEL_ATTRIBUTES) if hasattr(layer, name)) for layer in layers]
    return [getattr(layer, name) for layer, name in zip(layers, names, strict=True)]


def penalty(config: RegularizationConfig, kernels: list[Any]) -> Any:
    """Elastic net: `l1 * sum |w| + l2 * sum w^2` over all kernels together.

    Args:
        config: the two strengths; a strength of 0 adds no operation.
        kernels: variables or tensors, float32.

    Returns:
        Scalar float32 tensor, >= 0.

    Raises:
        ConfigError: a strength is above 0 and there is no kernel to act on.

    Reference:
        Zou & Hastie 2005, Regularization and variable selection via the elastic net, eq. (3).
    """
    if (config.l1 > 0.0 or config.l2 > 0.0) and not kernels:
        raise ConfigError(
            "train.regularization: expected a model with Dense, Conv2D or DepthwiseConv2D layers, got none. "
            "Leave the section out."
        )
    terms = []
    if config.l1 > 0.0:
        terms += [config.l1 * tf.reduce_sum(tf.abs(kernel)) for kernel in kernels]
    if config.l2 > 0.0:
        terms += [config.l2 * tf.reduce_sum(tf.square(kernel)) for kernel in kernels]
    return tf.add_n(terms) if terms else tf.constant(0.0)

"""The multilayer perceptron: dense layers on a flat input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from data.contract import derive_seed
from models.config import MlpConfig
from models.legacy_keras import keras

RECTIFIERS = ("relu", "relu6")


def features(config: MlpConfig, inputs: Any, seed: int) -> Any:
    """Lays dense layers `dense_1`, `dense_2`, … on the inputs, flattened first where they are images.

    Args:
        config: units and activation.
        inputs: symbolic tensor (rows, features) or (rows, height, width, channels).
        seed: seed of the initial weights.

    Returns:
        Symbolic tensor (rows, config.units[-1]).
    """
    flat = keras.layers.Flatten(name="flatten")(inputs) if len(inputs.shape) > 2 else inputs
    return dense_stack(flat, config.units, config.activation, seed)


def dense_stack(inputs: Any, units: Sequence[int], activation: str, seed: int) -> Any:
    """Lays activated dense layers `dense_1`, `dense_2`, … one on the other.

    Args:
        inputs: symbolic tensor (rows, features).
        units: neurons of each layer; none: the inputs are returned.
        activation: of every layer.
        seed: seed of the initial weights.

    Returns:
        Symbolic tensor (rows, units[-1]).
    """
    hidden = inputs
    for index, count in enumerate(units, start=1):
        name = f"dense_{index}"
        initializer = kernel_initializer(activation, derive_seed(seed, name))
        hidden = keras.layers.Dense(count, activation=activation, kernel_initializer=initializer, name=name)(hidden)
    return hidden


def kernel_initializer(activation: str, seed: int) -> Any:
    """Chooses how a kernel starts: He for rectifiers, Glorot for what saturates.

    Args:
        activation: what follows the kernel.
        seed: seed of the draw.

    Returns:
        A keras initializer.

    Reference:
        He et al. 2015, Delving deep into rectifiers, eq. (10); Glorot & Bengio 2010, eq. (16).
    """
    if activation in RECTIFIERS:
        return keras.initializers.HeUniform(seed=seed)
    return keras.initializers.GlorotUniform(seed=seed)

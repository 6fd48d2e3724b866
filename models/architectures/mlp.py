"""The multilayer perceptron: dense layers on a flat input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from data.contract import derive_seed
from models.activations import RECTIFIERS
from models.activations import activation as keras_activation
from models.architectures.dropout import StatelessDropout
from models.config import MlpConfig
from models.legacy_keras import keras


def features(config: MlpConfig, inputs: Any, seed: int) -> Any:
    """Lays dense layers `dense_1`, `dense_2`, … on the inputs, flattened first where they are images or series.

    Args:
        config: units and activation.
        inputs: symbolic tensor (rows, features), (rows, steps, channels) or (rows, height, width, channels).
        seed: seed of the initial weights.

    Returns:
        Symbolic tensor (rows, config.units[-1]).
    """
    return dense_stack(flat(inputs), config.units, config.activation, seed, config.dropout_fraction)


def flat(inputs: Any) -> Any:
    """Returns symbolic inputs as (rows, features): images and series through a layer `flatten`, vectors as they are."""
    return keras.layers.Flatten(name="flatten")(inputs) if len(inputs.shape) > 2 else inputs


def dense_stack(inputs: Any, units: Sequence[int], activation: str, seed: int, dropout_fraction: float = 0.0) -> Any:
    """Lays activated dense layers `dense_1`, `dense_2`, … one on the other.

    Args:
        inputs: symbolic tensor (rows, features).
        units: neurons of each layer; none: the inputs are returned.
        activation: of every layer.
        seed: seed of the initial weights and of dropout.
        dropout_fraction: chance of each answer of a layer to be left out while training, by layers `dense_1_dropout`, …

    Returns:
        Symbolic tensor (rows, units[-1]).
    """
    hidden = inputs
    for index, count in enumerate(units, start=1):
        name = f"dense_{index}"
        initializer = kernel_initializer(activation, derive_seed(seed, name))
        function = keras_activation(activation)
        hidden = keras.layers.Dense(count, activation=function, kernel_initializer=initializer, name=name)(hidden)
        hidden = dropped(hidden, dropout_fraction, name, seed)
    return hidden


def dropped(features: Any, fraction: float, name: str, seed: int) -> Any:
    """Returns features with a layer `<name>_dropout` behind them; as they are for a fraction of 0."""
    if fraction == 0.0:
        return features
    name = f"{name}_dropout"
    return StatelessDropout(fraction, derive_seed(seed, name), name=name)(features)


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

"""What the tasks' output layers and losses have in common. TensorFlow is imported where a layer or a loss is made."""

from __future__ import annotations

from typing import Any

from models.config import LossConfig


def dense_output(units: int, activation: str, seed: int) -> Any:
    """Makes a dense layer named `output`.

    Args:
        units: columns of its answers.
        activation: `softmax` or `linear`.
        seed: of the kernel's Glorot uniform draw.
    """
    from models.legacy_keras import keras

    return keras.layers.Dense(
        units, activation=activation, name="output", kernel_initializer=keras.initializers.GlorotUniform(seed=seed)
    )


def of_errors(errors: Any, config: LossConfig) -> Any:
    """Loss of each error e: `mse`: e²; `mae`: |e|; `huber`: e² / 2 up to the delta d, then d (|e| - d / 2).

    Args:
        errors: float32 tensor.
        config: which of them; squared errors where it names none.

    Returns:
        A tensor of the same shape, >= 0.

    Reference:
        Huber 1964, Robust estimation of a location parameter, eq. (1.2).
    """
    from models.legacy_keras import tf

    if config.name == "mae":
        return tf.abs(errors)
    if config.name == "huber":
        delta, size = config.huber_delta, tf.abs(errors)
        return tf.where(size <= delta, 0.5 * tf.square(errors), delta * (size - 0.5 * delta))
    return tf.square(errors)


def weighted_mean(losses: Any, weights: Any | None) -> Any:
    """Returns the mean of `weights * losses` over the rows, (rows,) both; None: all weights are 1."""
    from models.legacy_keras import tf

    return tf.reduce_mean(losses if weights is None else losses * weights)

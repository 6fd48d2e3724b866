"""Series turned around in time."""

from __future__ import annotations

from typing import Any

from models.legacy_keras import keras, tf


@keras.saving.register_keras_serializable(package="penjing")
class TimeReversed(keras.layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """Turns series around, the last step first.

    A recurrent layer's own `go_backwards` would keep the converter from making one operator of it.
    """

    def call(self, inputs: Any) -> Any:
        """Returns (rows, steps, channels) with the steps in reverse order."""
        return tf.reverse(inputs, [1])

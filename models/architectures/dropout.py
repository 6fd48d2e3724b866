"""Dropout that is a function of (seed, step) alone, so that a resumed training draws what it would have drawn."""

from __future__ import annotations

from typing import Any

from models.legacy_keras import keras, tf
from models.shares import current_share, here


@keras.saving.register_keras_serializable(package="penjing")
class StatelessDropout(keras.layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """Sets a fraction of its inputs to zero while training and scales the others up; passes all of them otherwise.

    Keras's own layer draws from a generator whose state no checkpoint keeps. This one counts its steps in a variable
    of the model. Replicas that share a batch draw for all of its rows, and each takes its own: the same rows lose the
    same entries, however many replicas there are.

    Args:
        fraction: chance of each input to be zeroed, in (0, 1).
        seed: of the draws, in [0, 2**31 - 1].

    Reference:
        Srivastava et al. 2014, Dropout, section 4 (here in its inverted form: nothing is scaled at inference).
    """

    def __init__(self, fraction: float, seed: int, **others: Any) -> None:
        super().__init__(**others)
        self.fraction, self.seed = fraction, seed

    def build(self, input_shape: Any) -> None:
        """Adds the counter of steps."""
        self.steps = self.add_weight(name="steps", shape=(), dtype=tf.int32, initializer="zeros", trainable=False)
        super().build(input_shape)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Returns the inputs, of any shape, thinned out where a network is trained."""
        if not training:
            return inputs
        steps, share = here(self.steps), current_share()
        shape = tf.shape(inputs)
        seed = tf.stack([self.seed, steps.read_value()])
        if share is None:
            draw = tf.random.stateless_uniform(shape, seed)
        else:
            whole = tf.random.stateless_uniform(tf.concat([[share.total], shape[1:]], 0), seed)
            draw = whole[share.first : share.first + shape[0]]
        steps.assign_add(1)
        return tf.where(draw >= self.fraction, inputs / (1.0 - self.fraction), 0.0)

    def get_config(self) -> dict[str, Any]:
        """Returns what makes the layer again."""
        config: dict[str, Any] = super().get_config()
        return config | {"fraction": self.fraction, "seed": self.seed}

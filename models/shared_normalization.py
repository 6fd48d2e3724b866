"""Batch normalization over the rows of all replicas: what each alone would see is another network."""

from __future__ import annotations

import math
from typing import Any

from data.contract import ConfigError
from models.legacy_keras import keras, tf
from models.shares import RowShare, current_share, here


class SharedBatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]  # Keras ships no types
    """Keras's layer, whose mean and variance while training are those of the whole batch.

    With n_r numbers of mean m_r and sum of squared deviations S_r in each replica r, and N = sum n_r,

        m = sum n_r m_r / N        v = (sum S_r + sum n_r (m_r - m)²) / N

    which loses no digits where the mean is large against the deviation, as E[x²] - m² would.

    Reference:
        Chan, Golub & LeVeque 1983, Algorithms for computing the sample variance, eq. (2.1).
    """

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        """Normalizes; see Keras. A frozen layer, and one that is not trained, uses its moving statistics.

        Raises:
            ConfigError: rows have masks.
        """
        share = current_share()
        if share is None or not training or not self.trainable:
            return super().call(inputs, training=training)
        if mask is not None:
            raise ConfigError(
                f"train.workers: expected a model whose batch normalization sees no masks, got one in '{self.name}'. "
                "Take the Masking layer out, or train with one worker."
            )
        axes = [axis for axis in range(inputs.shape.rank) if axis not in self.axis]
        mean, variance, count = _moments(inputs, axes, share)
        self._remember(tf.reshape(mean, [-1]), tf.reshape(variance, [-1]), count)
        shape = mean.shape
        scale = tf.math.rsqrt(variance + self.epsilon)
        if self.scale:
            scale *= tf.reshape(self.gamma, shape)
        answer = (inputs - mean) * scale
        return answer + tf.reshape(self.beta, shape) if self.center else answer

    def _remember(self, mean: Any, variance: Any, count: Any) -> None:
        """Moves the moving statistics; the fused kernel that images take otherwise remembers N / (N - 1) times v."""
        if self.fused:
            variance *= count / tf.maximum(count - 1.0, 1.0)
        for moving, value in ((here(self.moving_mean), mean), (here(self.moving_variance), variance)):
            moving.assign_sub((moving - tf.reshape(value, moving.shape)) * (1.0 - self.momentum))


def _moments(inputs: Any, axes: list[int], share: RowShare) -> tuple[Any, Any, Any]:
    """Returns mean and variance over the rows of all replicas, of the rank of the inputs, and how many numbers each."""
    places = math.prod(inputs.shape[axis] for axis in axes[1:])
    counts = tf.cast(share.row_counts * places, tf.float32)
    mean = tf.reduce_mean(inputs, axes, keepdims=True)
    deviations = tf.reduce_sum(tf.square(inputs - mean), axes, keepdims=True)
    found = share.gathered(tf.stack([mean, deviations]))
    means, sums = found[:, 0], found[:, 1]
    weights = tf.reshape(counts, [-1, *[1] * inputs.shape.rank])
    total = tf.reduce_sum(counts)
    whole = tf.reduce_sum(weights * means, 0) / total
    # A replica without a row of its own looked at one that does not count.
    sums = tf.where(weights > 0.0, sums, 0.0)
    variance = (tf.reduce_sum(sums, 0) + tf.reduce_sum(weights * tf.square(means - whole), 0)) / total
    return whole, variance, total

"""Learning from another model's answers besides the labels.

Reference:
    Hinton, Vinyals & Dean 2015, Distilling the Knowledge in a Neural Network, section 2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.compression_config import DistillationConfig
from models.legacy_keras import tf
from models.tasks import Task

_LEAST_PROBABILITY = 1e-7


class Distillation:
    """A task's objective, with a teacher's answers in the targets; see `distilled_targets`.

    Classification: `(1 - a) H(y, p) + a T² sum_k q_k log(q_k / p_k)`, with q and p the softmax of the teacher's and the
    student's logits over T. Logits are logarithms of probabilities, up to a constant that the softmax takes out.
    Regression: `(1 - a) (y - f)² + a (t - f)²`.

    Args:
        task: what is learned.
        config: a, the fraction, and T, the temperature.
        class_weights: weight of each class code in the labels' loss; None: all 1.
    """

    def __init__(self, task: Task, config: DistillationConfig, class_weights: tuple[float, ...] | None) -> None:
        self._task = task
        self._config = config
        self._class_weights = class_weights
        self.metric = task.metric

    def loss(self, y_true: Any, outputs: Any, weights: Any | None) -> Any:
        """Mean loss of a batch.

        Args:
            y_true: (rows, 1 + outputs) float32, as `distilled_targets` makes them.
            outputs: (rows, outputs) float32 of the student.
            weights: None; class weights are this objective's own.

        Raises:
            ValueError: weights are given.
        """
        if weights is not None:
            raise ValueError("distillation: expected no weights of rows, got some. Give class weights to Distillation.")
        labels, teacher = y_true[:, 0], y_true[:, 1:]
        fraction = self._config.fraction
        if self._task.name == "regression":
            own, distance = self._task.loss(labels, outputs, None), tf.reduce_mean(tf.square(teacher - outputs))
        else:
            codes = tf.cast(labels, tf.int32)
            row_weights = None if self._class_weights is None else tf.gather(tf.constant(self._class_weights), codes)
            own, distance = self._task.loss(codes, outputs, row_weights), self._divergence(teacher, outputs)
        return (1.0 - fraction) * own + fraction * distance

    def _divergence(self, teacher: Any, outputs: Any) -> Any:
        temperature = self._config.temperature
        q, p = (
            tf.nn.log_softmax(tf.math.log(tf.maximum(each, _LEAST_PROBABILITY)) / temperature)
            for each in (teacher, outputs)
        )
        return temperature**2 * tf.reduce_mean(tf.reduce_sum(tf.exp(q) * (q - p), axis=-1))

    def score(self, y: NDArray[Any], outputs: NDArray[Any]) -> float:
        """The task's own score; `y` are plain targets."""
        return self._task.score(y, outputs)


def distilled_targets(y: NDArray[Any], teacher: NDArray[np.float32]) -> NDArray[np.float32]:
    """Puts a teacher's answers beside the targets.

    Args:
        y: (rows,) class codes or numbers.
        teacher: (rows, outputs) its answers to the same rows.

    Returns:
        (rows, 1 + outputs) float32, which holds class codes up to 2**24 exactly.
    """
    return np.concatenate([np.asarray(y, np.float32)[:, None], teacher], axis=1)

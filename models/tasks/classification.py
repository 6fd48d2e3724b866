"""One of two or more classes."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from data.contract import Schema
from models.config import METRICS, LossConfig, MetricName
from models.tasks.losses import dense_output, weighted_mean


class Classification:
    """One of two or more classes; softmax outputs, also for two.

    Args:
        loss: cross-entropy or focal loss.
        metric: what a score is; accuracy if None.
    """

    name = "classification"
    judged_by: Literal["labels", "inputs"] = "labels"
    chooses = True

    def __init__(self, loss: LossConfig | None = None, metric: MetricName | None = None) -> None:
        self._loss = LossConfig() if loss is None else loss
        self.metric = METRICS["classification"][0] if metric is None else metric

    def output_layer(self, schema: Schema, seed: int) -> Any:
        """Makes a softmax over the classes.

        Args:
            schema: names the classes.
            seed: of the kernel's Glorot uniform draw.

        Returns:
            A keras Dense layer named `output`; outputs (rows, num_classes) are probabilities.
        """
        return dense_output(schema.num_classes, "softmax", seed)

    def loss(self, y_true: Any, outputs: Any, weights: Any | None) -> Any:
        """Mean cross-entropy or focal loss, computed from the logits below the softmax.

        Cross-entropy is `-mean(w_i * sum_k t_ik log p_ik)`, where t is 1 for the true class and 0 for the others, or
        with smoothing by e, `1 - e + e / classes` and `e / classes`. The focal loss is
        `-mean(w_i * (1 - q_i)^gamma * log q_i)` with the probability q of the true class.

        Args:
            y_true: (rows,) integer class codes.
            outputs: (rows, num_classes) float32 probabilities.
            weights: (rows,) float32 weight of each row, or None for 1. The mean divides by the
                number of rows, as Keras does, not by the sum of the weights.

        Returns:
            Scalar float32 tensor, >= 0.

        Reference:
            Szegedy et al. 2016, Rethinking the Inception architecture, section 7 (smoothing); Lin et al. 2017, Focal
            loss for dense object detection, eq. (4).
        """
        from models.legacy_keras import keras, tf

        smoothing = self._loss.label_smoothing_fraction
        if smoothing > 0.0:
            classes = outputs.shape[-1]
            true = tf.one_hot(y_true, classes) * (1.0 - smoothing) + smoothing / classes
            return weighted_mean(keras.losses.categorical_crossentropy(true, outputs), weights)
        losses = keras.losses.sparse_categorical_crossentropy(y_true, outputs)
        if self._loss.name == "focal":
            losses *= tf.pow(1.0 - tf.exp(-losses), self._loss.focal_gamma)
        return weighted_mean(losses, weights)

    def score(self, y: NDArray[Any], outputs: NDArray[Any]) -> float:
        """Judges the most probable class of each row.

        `accuracy`: the fraction of rows where it is the true one. `balanced_accuracy`: the mean of that fraction over
        the classes. `macro_f1`: the mean over the classes of `2 TP / (2 TP + FP + FN)`. Means are over the classes
        that `y` holds.

        Args:
            y: (rows,) class codes.
            outputs: (rows, num_classes), anything that argmax can rank.

        Returns:
            A fraction in [0, 1].
        """
        true, decided = np.asarray(y), self.decide(outputs)
        if self.metric == "accuracy":
            return float(np.mean(decided == true))
        codes = np.unique(true)
        hits = np.array([np.sum((true == code) & (decided == code)) for code in codes], np.float64)
        present = np.array([np.sum(true == code) for code in codes], np.float64)
        if self.metric == "balanced_accuracy":
            return float(np.mean(hits / present))
        answered = np.array([np.sum(decided == code) for code in codes], np.float64)
        return float(np.mean(2.0 * hits / (present + answered)))

    def decide(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """The most probable class; the first of equals.

        Args:
            outputs: (rows, num_classes).

        Returns:
            (rows,) int64 class codes.
        """
        codes: NDArray[np.int64] = np.argmax(np.asarray(outputs), axis=-1)
        return codes

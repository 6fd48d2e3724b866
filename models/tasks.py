"""What a task asks of a network: its output layer, loss, score and decision rule.

Importing this module is cheap: TensorFlow is imported where a layer or a loss is made. Scores and
decisions are NumPy, so that they also judge what LiteRT and TFLite Micro answer.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from data.contract import ConfigError, Schema
from models.config import LOSSES, METRICS, LossConfig, MetricName


class Task(Protocol):
    """What is learned, and how an answer is judged."""

    @property
    def name(self) -> str:
        """Name of the task in a config."""

    @property
    def metric(self) -> str:
        """Name of the score, one of `models.config.METRICS`; higher is better, 1 is perfect."""

    def output_layer(self, schema: Schema, seed: int) -> Any:
        """Makes the last layer, named `output`, its kernel drawn from `seed`."""

    def loss(self, y_true: Any, outputs: Any, weights: Any | None) -> Any:
        """Returns the mean loss of a batch, a float32 scalar tensor."""

    def score(self, y: NDArray[Any], outputs: NDArray[Any]) -> float:
        """Returns the score of a model's answers."""

    def decide(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """Turns a model's answers into decisions."""


class Classification:
    """One of two or more classes; softmax outputs, also for two.

    Args:
        loss: cross-entropy or focal loss.
        metric: what a score is; accuracy if None.
    """

    name = "classification"

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
        return _dense_output(schema.num_classes, "softmax", seed)

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
            return _mean(keras.losses.categorical_crossentropy(true, outputs), weights)
        losses = keras.losses.sparse_categorical_crossentropy(y_true, outputs)
        if self._loss.name == "focal":
            losses *= tf.pow(1.0 - tf.exp(-losses), self._loss.focal_gamma)
        return _mean(losses, weights)

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


class Regression:
    """One number; targets are standardized by the schema's mean and scale.

    Args:
        loss: squared, absolute or Huber's error.
        metric: what a score is; R² if None.
    """

    name = "regression"

    def __init__(self, loss: LossConfig | None = None, metric: MetricName | None = None) -> None:
        self._loss = LossConfig() if loss is None else loss
        self.metric = METRICS["regression"][0] if metric is None else metric

    def output_layer(self, schema: Schema, seed: int) -> Any:  # noqa: ARG002 - one unit whatever the schema
        """Makes one linear unit.

        Args:
            schema: not needed here.
            seed: of the kernel's Glorot uniform draw.

        Returns:
            A keras Dense layer named `output`; outputs (rows, 1) are standardized values.
        """
        return _dense_output(1, "linear", seed)

    def loss(self, y_true: Any, outputs: Any, weights: Any | None) -> Any:
        """Mean error `mean(w_i * l(y_i - f_i))` on standardized targets.

        `mse`: l(e) = e²; `mae`: |e|; `huber`: e² / 2 up to the delta d, then d (|e| - d / 2).

        Args:
            y_true: (rows,) float32.
            outputs: (rows, 1) float32.
            weights: (rows,) float32 weight of each row, or None for 1.

        Returns:
            Scalar float32 tensor, >= 0.

        Reference:
            Huber 1964, Robust estimation of a location parameter, eq. (1.2).
        """
        from models.legacy_keras import tf

        errors = y_true - outputs[:, 0]
        if self._loss.name == "mae":
            return _mean(tf.abs(errors), weights)
        if self._loss.name == "huber":
            delta, size = self._loss.huber_delta, tf.abs(errors)
            return _mean(tf.where(size <= delta, 0.5 * tf.square(errors), delta * (size - 0.5 * delta)), weights)
        return _mean(tf.square(errors), weights)

    def score(self, y: NDArray[Any], outputs: NDArray[Any]) -> float:
        """R², `1 - sum (y - f)^2 / sum (y - mean y)^2`, or D², `1 - sum |y - f| / sum |y - median y|`.

        Both are the same in standardized and in real units.

        Args:
            y: (rows,) true values.
            outputs: (rows,) or (rows, 1), in the unit of `y`.

        Returns:
            At most 1; 0 for a model that answers the mean, or the median.

        Reference:
            Hastie, Tibshirani & Wainwright 2015, Statistical learning with sparsity, eq. (3.11) (D²).
        """
        if self.metric == "d2":
            return d2(np.asarray(y).reshape(len(y)), np.asarray(outputs).reshape(len(y)))
        return r2(np.asarray(y).reshape(len(y), 1), np.asarray(outputs).reshape(len(y), 1))

    def decide(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """The values themselves.

        Args:
            outputs: (rows, 1) or (rows,).

        Returns:
            (rows,) values of the type of `outputs`.
        """
        return np.asarray(outputs).reshape(len(outputs))


def r2(y: NDArray[Any], outputs: NDArray[Any]) -> float:
    """Fraction of the variance of `y` about its column means that `outputs` explain.

    Args:
        y: (rows, columns) true values.
        outputs: (rows, columns) answers.

    Returns:
        `1 - sum (y - f)^2 / sum (y - mean)^2`, over all columns together, in float64. Where `y` does
        not vary: 1 for answers without an error, else 0 (scikit-learn's convention).
    """
    true = np.asarray(y, dtype=np.float64)
    residual = float(np.sum(np.square(true - np.asarray(outputs, dtype=np.float64))))
    total = float(np.sum(np.square(true - true.mean(axis=0, keepdims=True))))
    if total == 0.0:
        return 1.0 if residual == 0.0 else 0.0
    return 1.0 - residual / total


def d2(y: NDArray[Any], outputs: NDArray[Any]) -> float:
    """Fraction of the absolute deviation of `y` from its median that `outputs` explain; arguments and edges as `r2`.

    Returns:
        `1 - sum |y - f| / sum |y - median|`, in float64.
    """
    true = np.asarray(y, dtype=np.float64)
    residual = float(np.sum(np.abs(true - np.asarray(outputs, dtype=np.float64))))
    total = float(np.sum(np.abs(true - np.median(true))))
    if total == 0.0:
        return 1.0 if residual == 0.0 else 0.0
    return 1.0 - residual / total


TASKS: tuple[type[Classification] | type[Regression], ...] = (Classification, Regression)


def task_for(name: str, loss: LossConfig | None = None, metric: MetricName | None = None) -> Task:
    """Makes a task by its name in a config.

    Args:
        name: `classification` or `regression`.
        loss: what is minimized; the task's first one if None.
        metric: what a score is; the task's first one if None.

    Returns:
        The task.

    Raises:
        ConfigError: there is no such task, or the loss or the metric is another's.
    """
    for task in TASKS:
        if task.name != name:
            continue
        if loss is not None and loss.name is not None and loss.name not in LOSSES[name]:
            raise ConfigError(f"train.loss.name: expected one of {', '.join(LOSSES[name])}, got {loss.name}.")
        if metric is not None and metric not in METRICS[name]:
            raise ConfigError(f"metric: expected one of {', '.join(METRICS[name])}, got {metric}.")
        return task(loss, metric)
    names = " or ".join(task.name for task in TASKS)
    raise ConfigError(f"task: expected {names}, got {name!r}. Other tasks are not built yet.")


def _dense_output(units: int, activation: str, seed: int) -> Any:
    from models.legacy_keras import keras

    return keras.layers.Dense(
        units, activation=activation, name="output", kernel_initializer=keras.initializers.GlorotUniform(seed=seed)
    )


def _mean(losses: Any, weights: Any | None) -> Any:
    from models.legacy_keras import tf

    return tf.reduce_mean(losses if weights is None else losses * weights)

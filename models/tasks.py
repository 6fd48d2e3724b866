"""What a task asks of a network: its output layer, loss, score and decision rule.

Importing this module is cheap: TensorFlow is imported where a layer or a loss is made. Scores and
decisions are NumPy, so that they also judge what LiteRT and TFLite Micro answer.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from data.contract import ConfigError, Schema


class Task(Protocol):
    """What is learned, and how an answer is judged."""

    @property
    def name(self) -> str:
        """Name of the task in a config."""

    @property
    def metric(self) -> str:
        """Name of the score: `accuracy` or `r2`; higher is better, 1 is perfect."""

    def output_layer(self, schema: Schema, seed: int) -> Any:
        """Makes the last layer, named `output`, its kernel drawn from `seed`."""

    def loss(self, y_true: Any, outputs: Any, weights: Any | None) -> Any:
        """Returns the mean loss of a batch, a float32 scalar tensor."""

    def score(self, y: NDArray[Any], outputs: NDArray[Any]) -> float:
        """Returns the score of a model's answers."""

    def decide(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """Turns a model's answers into decisions."""


class Classification:
    """One of two or more classes; softmax outputs, also for two."""

    name = "classification"
    metric = "accuracy"

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
        """Mean cross-entropy, `-mean(w_i * log p_i[y_i])`, computed from the logits below the softmax.

        Args:
            y_true: (rows,) integer class codes.
            outputs: (rows, num_classes) float32 probabilities.
            weights: (rows,) float32 weight of each row, or None for 1. The mean divides by the
                number of rows, as Keras does, not by the sum of the weights.

        Returns:
            Scalar float32 tensor, >= 0.
        """
        from models.legacy_keras import keras

        return _mean(keras.losses.sparse_categorical_crossentropy(y_true, outputs), weights)

    def score(self, y: NDArray[Any], outputs: NDArray[Any]) -> float:
        """Accuracy: the fraction of rows whose most probable class is the true one.

        Args:
            y: (rows,) class codes.
            outputs: (rows, num_classes), anything that argmax can rank.

        Returns:
            A fraction in [0, 1].
        """
        return float(np.mean(self.decide(outputs) == np.asarray(y)))

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
    """One number; targets are standardized by the schema's mean and scale."""

    name = "regression"
    metric = "r2"

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
        """Mean squared error, `mean(w_i * (y_i - f_i)^2)`, on standardized targets.

        Args:
            y_true: (rows,) float32.
            outputs: (rows, 1) float32.
            weights: (rows,) float32 weight of each row, or None for 1.

        Returns:
            Scalar float32 tensor, >= 0.
        """
        from models.legacy_keras import tf

        return _mean(tf.square(y_true - outputs[:, 0]), weights)

    def score(self, y: NDArray[Any], outputs: NDArray[Any]) -> float:
        """R²: `1 - sum (y - f)^2 / sum (y - mean y)^2`; the same in standardized and in real units.

        Args:
            y: (rows,) true values.
            outputs: (rows,) or (rows, 1), in the unit of `y`.

        Returns:
            At most 1; 0 for a model that answers the mean.
        """
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


TASKS: tuple[Task, ...] = (Classification(), Regression())


def task_for(name: str) -> Task:
    """Finds a task by its name in a config.

    Args:
        name: `classification` or `regression`.

    Returns:
        The task.

    Raises:
        ConfigError: there is no such task.
    """
    for task in TASKS:
        if task.name == name:
            return task
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

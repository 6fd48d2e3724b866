"""A number."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from data.contract import Schema
from models.config import METRICS, LossConfig, MetricName
from models.tasks.losses import dense_output, of_errors, weighted_mean
from models.tasks.scores import d2, r2


class Regression:
    """One number; targets are standardized by the schema's mean and scale.

    Args:
        loss: squared, absolute or Huber's error.
        metric: what a score is; R² if None.
    """

    name = "regression"
    judged_by: Literal["labels", "inputs"] = "labels"
    chooses = False

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
        return dense_output(1, "linear", seed)

    def loss(self, y_true: Any, outputs: Any, weights: Any | None) -> Any:
        """Mean error `mean(w_i * l(y_i - f_i))` on standardized targets; l as `losses.of_errors`.

        Args:
            y_true: (rows,) float32.
            outputs: (rows, 1) float32.
            weights: (rows,) float32 weight of each row, or None for 1.

        Returns:
            Scalar float32 tensor, >= 0.
        """
        return weighted_mean(of_errors(y_true - outputs[:, 0], self._loss), weights)

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

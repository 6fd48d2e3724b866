"""Giving the input back: what an autoencoder learns."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from data.contract import Schema
from models.config import METRICS, LossConfig, MetricName
from models.tasks.losses import dense_output, of_errors, weighted_mean
from models.tasks.scores import r2


class Reconstruction:
    """The input itself, flattened, in the unit the model eats it in.

    Args:
        loss: squared, absolute or Huber's error.
        metric: what a score is; R² if None.
    """

    name = "reconstruction"
    judged_by: Literal["labels", "inputs"] = "inputs"
    chooses = False

    def __init__(self, loss: LossConfig | None = None, metric: MetricName | None = None) -> None:
        self._loss = LossConfig() if loss is None else loss
        self.metric = METRICS["reconstruction"][0] if metric is None else metric

    def output_layer(self, schema: Schema, seed: int) -> Any:
        """Makes a linear unit for each entry of an input.

        Args:
            schema: shape of an input.
            seed: of the kernel's Glorot uniform draw.

        Returns:
            A keras Dense layer named `output`; outputs (rows, entries) are in the unit of the model's input.
        """
        return dense_output(math.prod(schema.input_shape), "linear", seed)

    def loss(self, y_true: Any, outputs: Any, weights: Any | None) -> Any:
        """Mean error over rows and columns, `mean(w_i * mean_j l(x_ij - f_ij))`; l as `losses.of_errors`.

        Args:
            y_true: (rows, columns) float32, the inputs, flattened.
            outputs: (rows, columns) float32.
            weights: (rows,) float32 weight of each row, or None for 1.

        Returns:
            Scalar float32 tensor, >= 0.
        """
        from models.legacy_keras import tf

        return weighted_mean(tf.reduce_mean(of_errors(y_true - outputs, self._loss), axis=-1), weights)

    def score(self, y: NDArray[Any], outputs: NDArray[Any]) -> float:
        """R²: the fraction of the inputs' variance that the reconstruction explains, over all columns together.

        Args:
            y: (rows, columns) the inputs, flattened.
            outputs: (rows, columns).

        Returns:
            At most 1; 0 for an answer of each column's mean.
        """
        return r2(y, outputs)

    def decide(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """The reconstruction itself; which rows are abnormal, `models.anomaly` says of its error.

        Args:
            outputs: (rows, columns).
        """
        return np.asarray(outputs)

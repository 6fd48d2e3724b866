"""Which rows belong together: what an encoder with clusters on top answers."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from data.contract import Schema
from models.config import METRICS, LossConfig, MetricName
from models.tasks.losses import dense_output, weighted_mean
from models.tasks.silhouette import silhouette


class Clustering:
    """One of several clusters, which no label names.

    A model is made by `models.deep_clustering`; whoever trains it on, compressed, holds it to the clusters that the
    dense model decided.

    Args:
        loss: of the reconstruction that the encoder learns first; not of this task's own.
        metric: what a score is; the silhouette if None.
        num_clusters: outputs of a new model.
    """

    name = "clustering"
    judged_by: Literal["labels", "inputs"] = "inputs"
    chooses = True

    def __init__(
        self, loss: LossConfig | None = None, metric: MetricName | None = None, num_clusters: int | None = None
    ) -> None:
        self.reconstruction_loss = LossConfig() if loss is None else loss
        self.metric = METRICS["clustering"][0] if metric is None else metric
        self._num_clusters = num_clusters

    def output_layer(self, schema: Schema, seed: int) -> Any:  # noqa: ARG002 - clusters are no part of the schema
        """Makes a softmax over the clusters.

        Args:
            schema: not needed here.
            seed: of the kernel's Glorot uniform draw.

        Returns:
            A keras Dense layer named `output`; outputs (rows, num_clusters) are the clusters' shares.

        Raises:
            ValueError: the task was made without a number of clusters.
        """
        if self._num_clusters is None:
            raise ValueError("num_clusters: expected a number to make an output layer, got None. Give it to the task.")
        return dense_output(self._num_clusters, "softmax", seed)

    def loss(self, y_true: Any, outputs: Any, weights: Any | None) -> Any:
        """Mean cross-entropy `-mean(w_i log p_i)` of the clusters that another model decided.

        Args:
            y_true: (rows,) integer clusters.
            outputs: (rows, clusters) float32 shares.
            weights: (rows,) float32 weight of each row, or None for 1.

        Returns:
            Scalar float32 tensor, >= 0.
        """
        from models.legacy_keras import keras

        return weighted_mean(keras.losses.sparse_categorical_crossentropy(y_true, outputs), weights)

    def score(self, y: NDArray[Any], outputs: NDArray[Any]) -> float:
        """Silhouette of the decided clusters in the space of the inputs, which no model can bend to its liking.

        Args:
            y: (rows, columns) the inputs, flattened; of more than 1,000 rows a fixed choice is looked at.
            outputs: (rows, clusters), anything that argmax can rank.

        Returns:
            In [-1, 1]; -1 where all rows are in one cluster.
        """
        return silhouette(y, self.decide(outputs))

    def decide(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """The cluster of the largest share; the first of equals.

        Args:
            outputs: (rows, clusters).

        Returns:
            (rows,) int64 clusters, from 0.
        """
        clusters: NDArray[np.int64] = np.argmax(np.asarray(outputs), axis=-1)
        return clusters

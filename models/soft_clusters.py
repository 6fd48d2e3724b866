"""The pieces of Deep Embedded Clustering: soft assignment, target distribution, divergence; centers and their layer.

Reference:
    Xie, Girshick & Farhadi 2016, Unsupervised deep embedding for clustering analysis, section 3.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from data.contract import ConfigError
from models.legacy_keras import keras, tf
from models.task_config import ClusteringConfig

_LEAST_VARIANCE = 1e-12
_LEAST_SHARE = 1e-12

ROWS_AT_ONCE = 8192
"""Rows that are assigned in one piece: it takes rows x clusters x dimensions of memory."""


class StudentClusters(keras.layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """Soft assignment of embeddings to clusters by Student's t kernel of one degree of freedom, eq. (1).

    Args:
        centers: (clusters, dimensions) float32, where they start; they are trained.
    """

    def __init__(self, centers: NDArray[np.float32], **others: Any) -> None:
        super().__init__(**others)
        self._start = centers

    def build(self, input_shape: Any) -> None:
        """Adds the centers."""
        start = keras.initializers.Constant(self._start)
        self.centers = self.add_weight("centers", shape=self._start.shape, initializer=start)
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        """Returns (rows, clusters) assignments, each row summing to 1, of (rows, dimensions) embeddings."""
        distances = tf.reduce_sum(tf.square(inputs[:, None, :] - self.centers[None, :, :]), axis=-1)
        kernel = 1.0 / (1.0 + distances)
        return kernel / tf.reduce_sum(kernel, axis=-1, keepdims=True)


def soft_assignment(z: NDArray[np.float32], centers: NDArray[np.float32]) -> NDArray[np.float32]:
    """Computes q of eq. (1) as `StudentClusters` does.

    Args:
        z: (rows, dimensions) embeddings.
        centers: (clusters, dimensions).

    Returns:
        (rows, clusters), each row summing to 1.
    """
    return assigned(StudentClusters(centers), z)


def assigned(clusters: StudentClusters, z: NDArray[np.float32]) -> NDArray[np.float32]:
    """Computes q of eq. (1) for any number of rows, `ROWS_AT_ONCE` at a time.

    Args:
        clusters: the layer with the centers.
        z: (rows, dimensions) embeddings.

    Returns:
        (rows, clusters), each row summing to 1.
    """
    starts = range(0, len(z), ROWS_AT_ONCE)
    return np.concatenate([clusters(tf.constant(z[start : start + ROWS_AT_ONCE])).numpy() for start in starts])


def target_distribution(q: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Sharpens soft assignments, rare clusters counting more: p of eq. (3).

    Args:
        q: (rows, clusters) soft assignments of the whole training split.

    Returns:
        (rows, clusters), each row summing to 1.
    """
    wide = np.asarray(q, np.float64)
    weighted = wide**2 / np.maximum(wide.sum(axis=0, keepdims=True), _LEAST_SHARE)
    return np.asarray(weighted / weighted.sum(axis=1, keepdims=True), np.float32)


def kl_divergence(p: Any, q: Any) -> Any:
    """Mean over rows of `sum_k p_k log (p_k / q_k)`, eq. (2); a p of 0 adds nothing.

    Args:
        p: (rows, clusters) float32.
        q: (rows, clusters) float32.

    Returns:
        Scalar float32 tensor, >= 0 up to rounding.
    """
    ratio = tf.math.log(tf.maximum(p, _LEAST_SHARE)) - tf.math.log(tf.maximum(q, _LEAST_SHARE))
    return tf.reduce_mean(tf.reduce_sum(p * ratio, axis=-1))


def kmeans_centers(z: NDArray[np.float32], config: ClusteringConfig, seed: int) -> NDArray[np.float32]:
    """Finds where the clusters start: k-means of the embedding, the best of several starts.

    Args:
        z: (rows, dimensions) embeddings of the training rows.
        config: number of clusters and of starts.
        seed: of the starts (k-means++).

    Returns:
        (clusters, dimensions), in the order k-means gives them.

    Raises:
        ConfigError: there are fewer distinct embeddings than clusters.

    Reference:
        Arthur & Vassilvitskii 2007, k-means++: the advantages of careful seeding.
    """
    from sklearn.cluster import KMeans

    distinct = len(np.unique(z, axis=0))
    if distinct < config.num_clusters:
        raise ConfigError(
            f"clustering.num_clusters: expected at most {distinct}, the distinct embeddings of {len(z)} training rows, "
            f"got {config.num_clusters}. Ask for fewer clusters, or train the autoencoder for longer."
        )
    # On several threads sums come in another order each time, and the centers' last bits with them.
    with threadpool_limits(1):
        found = KMeans(config.num_clusters, n_init=config.kmeans_starts, random_state=seed % 2**32).fit(z)
    return np.asarray(found.cluster_centers_, np.float32)


def in_unit_of_spread(bottleneck: Any, z: NDArray[np.float32], centers: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scales a linear layer so that its answers are 1 from their centers in each dimension, root mean square.

    Args:
        bottleneck: a linear dense layer; its kernel and bias are divided by that root.
        z: (rows, dimensions) its answers to the training rows before.
        centers: (clusters, dimensions), where k-means of them ended.

    Returns:
        The centers in the new unit; each row is nearest to the same one.
    """
    spread = np.sqrt(_variance(z, centers, _nearest(z, centers)))
    bottleneck.set_weights([(weight / spread).astype(np.float32) for weight in bottleneck.get_weights()])
    scaled: NDArray[np.float32] = (centers / spread).astype(np.float32)
    return scaled


def _nearest(z: NDArray[np.float32], centers: NDArray[np.float32]) -> NDArray[np.int64]:
    nearest: NDArray[np.int64] = soft_assignment(z, centers).argmax(axis=1)
    return nearest


def _variance(z: NDArray[np.float32], centers: NDArray[np.float32], nearest: NDArray[np.int64]) -> float:
    """Mean of |z_i - μ_k(i)|² over rows and dimensions."""
    errors = z.astype(np.float64) - centers.astype(np.float64)[nearest]
    return max(float(np.mean(errors**2)), _LEAST_VARIANCE)


def put_clusters(output: Any, z: NDArray[np.float32], centers: NDArray[np.float32]) -> list[int]:
    """Sets a dense softmax to decide for the nearest center, whose q of eq. (1) is the largest.

        softmax_k(-|z - μ_k|² / 2σ²) = softmax_k(z · (μ_k - m) / σ² - (|μ_k|² - |m|²) / 2σ²),

    for |z|², z · m and |m|² are the same for all k. With m the mean of the centers, logits are as small as the clusters
    are near each other, wherever they lie: neither float32 nor int8 spends its digits on an offset that all of them
    share. σ² is the mean of |z_i - μ_k(i)|² over rows and dimensions: shares are then the chances of a mixture of equal
    round Gaussians (Bishop 2006, Pattern recognition and machine learning, section 9.3.2), whatever the embedding's
    unit.

    Args:
        output: the layer, (dimensions, clusters) and bias.
        z: (rows, dimensions) embeddings of the training rows.
        centers: (clusters, dimensions).

    Returns:
        Training rows of each cluster; clusters are put in the order of their sizes, the largest first.
    """
    nearest = _nearest(z, centers)
    sizes = np.bincount(nearest, minlength=len(centers))
    order = np.argsort(-sizes, kind="stable")
    variance = _variance(z, centers, nearest)
    sorted_centers = centers.astype(np.float64)[order]
    mean = sorted_centers.mean(axis=0)
    apart = sorted_centers - mean
    kernel = apart.T / variance
    bias = -np.sum(apart * (sorted_centers + mean), axis=1) / (2.0 * variance)
    output.set_weights([kernel.astype(np.float32), bias.astype(np.float32)])
    return [int(size) for size in sizes[order]]

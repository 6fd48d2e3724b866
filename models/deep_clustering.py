"""Deep Embedded Clustering: clusters of an autoencoder's embedding, and both refined together.

With the embedding z_i of row i and the center μ_k of cluster k, in Euclidean distance:

    q_ik = (1 + |z_i - μ_k|²)^-1 / sum_l (1 + |z_i - μ_l|²)^-1                     soft assignment, eq. (1)
    p_ik = (q_ik² / f_k) / sum_l (q_il² / f_l),   f_k = sum_i q_ik                 target distribution, eq. (3)
    L    = KL(P || Q) = sum_i sum_k p_ik log (p_ik / q_ik)                         loss, eq. (2)

Centers start where k-means of the embedding ends. The kernel of eq. (1) has a width of 1, whatever the embedding's
unit: much nearer than that, all clusters are alike to a row and the refinement falls apart. So the embedding is put in
a unit first in which rows are 1 from their center in each dimension, root mean square; the paper leaves that to the
scale of its data. (On digits the normalized mutual information with the labels went from 0.65 to 0.66 as the embedding
was, 0.37 from the centers in square, and to 0.72 in that unit.) Every so many steps P is worked out anew from the whole training
split and then held fixed, while encoder and centers descend L (here its mean over rows, so that the rate does not
depend on the batch); it ends when fewer than a fraction of the rows change their cluster between two such looks.

Reference:
    Xie, Girshick & Farhadi 2016, Unsupervised deep embedding for clustering analysis, section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from data.contract import Batches, Checkpoints, ConfigError, Progress
from models.architectures.autoencoder import BOTTLENECK
from models.legacy_keras import keras, tf
from models.task_config import ClusteringConfig
from models.tasks import Task
from models.training import TrainingResult, TrainingSettings, train

STOPPED = "clustering.tolerance_fraction"
"""What a refinement says it was stopped by where its rows stay in their clusters."""

_LEAST_VARIANCE = 1e-12
_LEAST_SHARE = 1e-12

Embed = Callable[[], NDArray[np.float32]]
"""Gives the embedding of all training rows, in their order."""


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
    q: NDArray[np.float32] = StudentClusters(centers)(tf.constant(z)).numpy()
    return q


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
    return (centers / spread).astype(np.float32)


def _nearest(z: NDArray[np.float32], centers: NDArray[np.float32]) -> NDArray[np.int64]:
    nearest: NDArray[np.int64] = soft_assignment(z, centers).argmax(axis=1)
    return nearest


def _variance(z: NDArray[np.float32], centers: NDArray[np.float32], nearest: NDArray[np.int64]) -> float:
    """Mean of |z_i - μ_k(i)|² over rows and dimensions."""
    errors = z.astype(np.float64) - centers.astype(np.float64)[nearest]
    return max(float(np.mean(errors**2)), _LEAST_VARIANCE)


class TargetDistribution:
    """P as the training holds it fixed, and looks at it anew every so many steps; a `WeightConstraint` on no weight.

    Args:
        embed: gives the embedding of all training rows.
        clusters: the layer with the centers.
        steps: after which P is worked out anew, rising.
        tolerance_fraction: rows that may still change their cluster between two looks when it ends.
    """

    settled_step = 0

    def __init__(
        self, embed: Embed, clusters: StudentClusters, steps: Sequence[int], tolerance_fraction: float
    ) -> None:
        self._embed, self._clusters, self._tolerance = embed, clusters, tolerance_fraction
        self.update_steps = steps
        q = self._assigned()
        self.p = tf.Variable(target_distribution(q), trainable=False, name="target_distribution")
        self._decided = tf.Variable(q.argmax(axis=1).astype(np.int32), trainable=False, name="decided")
        self._changed = tf.Variable(np.full(len(steps), np.nan, np.float32), trainable=False, name="changed")

    @property
    def variables(self) -> list[Any]:
        """P, the clusters of the rows, and what changed at each look: all that a resumed training needs."""
        return [self.p, self._decided, self._changed]

    @property
    def changed(self) -> list[float]:
        """Fraction of the rows that changed their cluster, at each look so far."""
        return [float(value) for value in self._changed.numpy() if np.isfinite(value)]

    @property
    def stopped_by(self) -> str | None:
        """The rule that ends the training, once fewer rows than the tolerance changed; None before."""
        changed = self.changed
        return STOPPED if changed and changed[-1] < self._tolerance else None

    def update(self, step: int) -> None:
        """Works out P anew after a step."""
        q = self._assigned()
        decided = q.argmax(axis=1).astype(np.int32)
        place = list(self.update_steps).index(step)
        changed = self._changed.numpy()
        changed[place] = np.mean(decided != self._decided.numpy())
        self._changed.assign(changed)
        self._decided.assign(decided)
        self.p.assign(target_distribution(q))

    def apply(self) -> None:
        """Adds nothing: no weight is constrained."""

    def _assigned(self) -> NDArray[np.float32]:
        z = self._embed()
        q: NDArray[np.float32] = self._clusters(tf.constant(z)).numpy()
        return q


class _Objective:
    """KL(P || Q), averaged over rows; judged by the task's score."""

    def __init__(self, task: Task, target: TargetDistribution) -> None:
        self._task, self._target = task, target
        self.metric = task.metric

    def loss(self, y_true: Any, outputs: Any, weights: Any | None) -> Any:  # noqa: ARG002 - rows weigh alike
        """Mean loss of a batch.

        Args:
            y_true: (rows,) int32 positions in the training split.
            outputs: (rows, clusters) float32, q.
            weights: not used.
        """
        return kl_divergence(tf.gather(self._target.p, y_true), outputs)

    def score(self, y: NDArray[Any], outputs: NDArray[Any]) -> float:
        """The task's own score; `y` are what it holds answers against."""
        return self._task.score(y, outputs)


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


@dataclass(frozen=True)
class Refinement:
    """What came of clustering an embedding.

    Attributes:
        training: how the refinement went; None where there was none.
        changed: fraction of the training rows that changed their cluster, at each look.
        sizes: training rows of each cluster.
    """

    training: TrainingResult | None
    changed: list[float]
    sizes: list[int]


def embedding_of(model: Any) -> Any:
    """Returns the part of a model from its input to its bottleneck, sharing its layers."""
    return keras.Model(model.inputs, model.get_layer(BOTTLENECK).output, name="embedding")


def refine(
    model: Any,
    embed: Embed,
    batches: Batches,
    validation: tuple[Any, NDArray[Any]],
    task: Task,
    config: ClusteringConfig,
    centers: NDArray[np.float32],
    settings: TrainingSettings,
    *,
    checkpoints: Checkpoints | None = None,
    progress: Progress | None = None,
) -> Refinement:
    """Refines an encoder and its clusters together, in place, and puts the clusters into the output layer.

    The model ends with the weights of the last epoch: it ends where the clusters stand still, and no score without
    labels says which epoch before that was better. Given the same arguments the same bits come out, also where a killed
    refinement was resumed from its checkpoints.

    Args:
        model: an encoder with a layer `bottleneck` and a softmax `output` on it, as `build` makes it for the task.
        embed: gives the embedding of all training rows by the model as it then is.
        batches: training rows; targets are their positions in the training split.
        validation: (x, y) as `train` takes them, y as the task scores it.
        task: the clustering, for its score.
        config: looks at the target distribution, and when to stop.
        centers: (clusters, dimensions), where the clusters start.
        settings: epochs, optimizer, seed and label of the training; with 0 epochs nothing is refined.
        checkpoints: where the training keeps its state.
        progress: told of each epoch.

    Returns:
        How it went.

    Raises:
        TrainingError: as `train`.
    """
    layer = StudentClusters(centers, name="clusters")
    refined = keras.Model(model.inputs, layer(model.get_layer(BOTTLENECK).output), name="refinement")
    result, changed = None, []
    if settings.epochs > 0:
        every = batches.num_batches if config.update_steps is None else config.update_steps
        steps = range(every, settings.num_steps(batches.num_batches) + 1, every)
        target = TargetDistribution(embed, layer, steps, config.tolerance_fraction)
        lasting = replace(settings, keep_last=True)
        objective = _Objective(task, target)
        result = train(
            refined,
            batches,
            validation,
            objective,
            lasting,
            constraint=target,
            checkpoints=checkpoints,
            progress=progress,
        )
        changed = target.changed
    sizes = put_clusters(model.get_layer("output"), embed(), layer.centers.numpy())
    return Refinement(result, changed, sizes)


def put_clusters(output: Any, z: NDArray[np.float32], centers: NDArray[np.float32]) -> list[int]:
    """Sets a dense softmax to decide for the nearest center, whose q of eq. (1) is the largest.

        softmax_k(-|z - μ_k|² / 2σ²) = softmax_k(z · μ_k / σ² - |μ_k|² / 2σ²),

    for |z|² is the same for all k. σ² is the mean of |z_i - μ_k(i)|² over rows and dimensions: shares are then the
    chances of a mixture of equal round Gaussians (Bishop 2006, Pattern recognition and machine learning, section
    9.3.2), whatever the embedding's unit.

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
    kernel = sorted_centers.T / variance
    bias = -np.sum(sorted_centers**2, axis=1) / (2.0 * variance)
    output.set_weights([kernel.astype(np.float32), bias.astype(np.float32)])
    return [int(size) for size in sizes[order]]

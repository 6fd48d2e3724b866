"""Deep Embedded Clustering: clusters of an autoencoder's embedding, and both refined together.

With the embedding z_i of row i and the center μ_k of cluster k, in Euclidean distance:

    q_ik = (1 + |z_i - μ_k|²)^-1 / sum_l (1 + |z_i - μ_l|²)^-1                     soft assignment, eq. (1)
    p_ik = (q_ik² / f_k) / sum_l (q_il² / f_l),   f_k = sum_i q_ik                 target distribution, eq. (3)
    L    = KL(P || Q) = sum_i sum_k p_ik log (p_ik / q_ik)                         loss, eq. (2)

Centers start where k-means of the embedding ends. The kernel of eq. (1) has a width of 1, whatever the embedding's
unit: much nearer than that, all clusters are alike to a row and the refinement falls apart. So the embedding is put in
a unit first in which rows are 1 from their center in each dimension, root mean square; the paper leaves that to the
scale of its data. (On digits the normalized mutual information with the labels went from 0.65 to 0.66 as the embedding
was, 0.37 from the centers in square, and to 0.72 in that unit.)

Every so many steps P is worked out anew from the whole training split and then held fixed, while encoder and centers
descend L (here its mean over rows, so that the rate does not depend on the batch); it ends when fewer than a fraction
of the rows change their cluster between two such looks.

Reference:
    Xie, Girshick & Farhadi 2016, Unsupervised deep embedding for clustering analysis, section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.contract import Batches, Checkpoints, Progress
from models.architectures.autoencoder import BOTTLENECK
from models.legacy_keras import keras, tf
from models.soft_clusters import StudentClusters, assigned, kl_divergence, put_clusters, target_distribution
from models.task_config import ClusteringConfig
from models.tasks import Task
from models.training import TrainingResult, TrainingSettings, train

STOPPED = "clustering.tolerance_fraction"
"""What a refinement says it was stopped by where its rows stay in their clusters."""

Embed = Callable[[], NDArray[np.float32]]
"""Gives the embedding of all training rows, in their order."""


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
        return assigned(self._clusters, self._embed())


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

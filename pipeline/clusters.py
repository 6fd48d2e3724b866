"""Clusters of a run: how a model comes to them, what they are worth, and what the report shows of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.contract import Batches
from data.dataset import Dataset
from models.architectures.autoencoder import BOTTLENECK
from models.deep_clustering import Refinement, embedding_of, refine
from models.soft_clusters import in_unit_of_spread, kmeans_centers, put_clusters
from models.task_config import ClusteringConfig, check_refinement
from models.tasks import Clustering, Reconstruction
from models.tasks.silhouette import silhouette
from models.training import TrainingResult, TrainingSettings, predict, train
from pipeline.artifacts import SavedModel
from pipeline.data_checks import check_num_clusters
from pipeline.decisions import shown_row
from pipeline.lessons import training_batches, validation
from pipeline.retraining import parts_of
from pipeline.workspace import Workspace

MAX_EXAMPLES = 6
"""Rows that are shown of each cluster, the surest first."""

MAX_POINTS = 600
"""Rows on the map of the embedding."""


@dataclass(frozen=True)
class Learned:
    """What came of learning clusters.

    Attributes:
        model: the encoder with the clusters on top.
        reconstruction: how the autoencoder learned.
        refinement: how encoder and clusters were refined.
        before: figures of the validation rows after k-means, see `figures`.
        after: the same after the refinement.
    """

    model: Any
    reconstruction: TrainingResult
    refinement: Refinement
    before: dict[str, float | None]
    after: dict[str, float | None]


def learn_clusters(
    dataset: Dataset,
    start: SavedModel,
    task: Clustering,
    settings: TrainingSettings,
    batch_size: Any,
    config: ClusteringConfig,
    workspace: Workspace,
) -> Learned:
    """Trains the autoencoder, clusters its embedding by k-means, and refines both together.

    Args:
        dataset: the rows; labels are looked at by the figures alone.
        start: the untrained encoder and autoencoder.
        task: the clustering; its loss is the autoencoder's.
        settings: of the autoencoder's training.
        batch_size: of that training.
        config: clusters and refinement.
        workspace: the stage's.

    Raises:
        ConfigError: there are fewer training rows, or fewer distinct embeddings, than clusters; the refinement has
            fewer steps than it is asked for.
        TrainingError: the loss is not finite any more.
    """
    check_num_clusters(config, dataset)
    to_refine = _rows_to_refine(dataset, config, workspace)
    model, autoencoder, giving_back = start.load(), start.load_autoencoder(), Reconstruction(task.reconstruction_loss)
    checkpoints, progress = workspace.checkpoints, workspace.progress
    batches = training_batches(dataset, giving_back, batch_size, workspace.seed_for("train", "shuffle"))
    rows = validation(dataset, task)
    reconstruction = train(
        autoencoder, batches, rows, giving_back, settings, checkpoints=checkpoints("train"), progress=progress
    )
    encoder = embedding_of(model)
    for layer in encoder.layers:
        layer.set_weights(autoencoder.get_layer(layer.name).get_weights())

    def embed() -> NDArray[np.float32]:
        return np.concatenate([predict(encoder, part) for part in parts_of(dataset, "train")])

    z = embed()
    centers = kmeans_centers(z, config, workspace.seed_for("train", "k_means"))
    centers = in_unit_of_spread(model.get_layer(BOTTLENECK), z, centers)
    put_clusters(model.get_layer("output"), embed(), centers)
    before = figures(dataset, "validation", task.decide(predict(model, rows[0])), predict(encoder, rows[0]))
    refinement = refine(
        model,
        embed,
        to_refine,
        rows,
        task,
        config,
        centers,
        TrainingSettings(
            config.refine_epochs,
            config.optimizer,
            workspace.seed_for("train", "refine"),
            label="refine",
            section="clustering",
        ),
        checkpoints=checkpoints("refine"),
        progress=progress,
    )
    after = figures(dataset, "validation", task.decide(predict(model, rows[0])), predict(encoder, rows[0]))
    return Learned(model, reconstruction, refinement, before, after)


def _rows_to_refine(dataset: Dataset, config: ClusteringConfig, workspace: Workspace) -> Batches:
    """Training rows with their positions as targets; refused, before anything is trained, where they are too few steps.

    Raises:
        ConfigError: as `check_refinement`.
    """
    positions = np.arange(len(dataset.split("train")), dtype=np.int32)
    batches = dataset.batches("train", config.batch_size, workspace.seed_for("train", "refine", "shuffle"), positions)
    check_refinement(config, config.refine_epochs * batches.num_batches)
    return batches


def figures(
    dataset: Dataset, split: str, decided: NDArray[Any], embedded: NDArray[np.float32]
) -> dict[str, float | None]:
    """Says what clusters are worth.

    Args:
        dataset: the rows as the model eats them; with labels or without.
        split: which of its splits.
        decided: (rows,) their clusters.
        embedded: (rows, dimensions) their embeddings.

    Returns:
        `silhouette` in the space of the inputs, `embedding_silhouette`, and against the labels `nmi` (normalized mutual
        information, arithmetic mean) and `ari` (adjusted Rand index), None where there are none.

    Reference:
        Vinh, Epps & Bailey 2010, Information theoretic measures for clusterings comparison, table 2 (NMI sum); Hubert &
        Arabie 1985, Comparing partitions, eq. (5).
    """
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    x = dataset.inputs(split)
    found: dict[str, float | None] = {
        "silhouette": silhouette(x.reshape(len(x), -1), decided),
        "embedding_silhouette": silhouette(embedded, decided),
        "nmi": None,
        "ari": None,
    }
    if dataset.schema.class_names:
        labels = np.asarray(dataset.split(split).y)
        found["nmi"] = float(normalized_mutual_info_score(labels, decided))
        found["ari"] = float(adjusted_rand_score(labels, decided))
    return found


def cluster_summary(
    dataset: Dataset, outputs: NDArray[np.float32], baseline: NDArray[np.float32], embedded: NDArray[np.float32]
) -> dict[str, Any]:
    """Returns the fields of `ClusteringFigures`.

    Args:
        dataset: whose test split was clustered.
        outputs: (rows, clusters) shares, of `model.tflite`.
        baseline: (rows, clusters) shares, of the dense float model.
        embedded: (rows, dimensions) embeddings, of the Keras model.
    """
    decided, before = outputs.argmax(axis=1), baseline.argmax(axis=1)
    ours, dense = (figures(dataset, "test", clusters, embedded) for clusters in (decided, before))
    return {
        "num_clusters": outputs.shape[1],
        "sizes": np.bincount(decided, minlength=outputs.shape[1]).tolist(),
        "embedding_silhouette": ours["embedding_silhouette"],
        "nmi": ours["nmi"],
        "ari": ours["ari"],
        "baseline_nmi": dense["nmi"],
        "baseline_ari": dense["ari"],
    }


def told_clusters(dataset: Dataset, outputs: NDArray[np.float32], embedded: NDArray[np.float32]) -> dict[str, Any]:
    """Tells of the test rows what the report draws.

    Args:
        dataset: whose test split was clustered.
        outputs: (rows, clusters) shares, of `model.tflite`.
        embedded: (rows, dimensions) embeddings, of the Keras model.

    Returns:
        `sizes` (rows of each cluster), `classes` and `contingency` (rows by class, then cluster; empty without labels),
        `examples` (rows of each cluster, the surest first), and `map` (a few rows in the plane of the two principal
        components of the embedding).
    """
    decided, classes = outputs.argmax(axis=1), list(dataset.schema.class_names)
    num_clusters = outputs.shape[1]
    labels = np.asarray(dataset.split("test").y)
    contingency = [
        np.bincount(decided[labels == code], minlength=num_clusters).tolist() for code in range(len(classes))
    ]
    surest = outputs.max(axis=1)
    examples = []
    for cluster in range(num_clusters):
        members = np.flatnonzero(decided == cluster)
        chosen = members[np.argsort(-surest[members], kind="stable")][:MAX_EXAMPLES]
        examples.append(
            [
                {**shown_row(dataset, int(place)), "class": classes[int(labels[place])] if classes else None}
                for place in chosen
            ]
        )
    return {
        "sizes": np.bincount(decided, minlength=num_clusters).tolist(),
        "classes": classes,
        "contingency": contingency,
        "examples": examples,
        "map": _map(embedded, decided),
    }


def _map(embedded: NDArray[np.float32], decided: NDArray[Any]) -> dict[str, list[Any]]:
    """The plane that holds most of the embedding's variance; signs are fixed by the largest entry of each direction."""
    places = np.linspace(0, len(embedded) - 1, min(MAX_POINTS, len(embedded))).astype(np.int64)
    centered = embedded.astype(np.float64) - embedded.mean(axis=0, dtype=np.float64)
    _, directions = np.linalg.eigh(centered.T @ centered)
    plane = directions[:, ::-1][:, :2]
    plane = plane * np.sign(plane[np.abs(plane).argmax(axis=0), np.arange(plane.shape[1])])
    points = centered[places] @ plane
    second = points[:, 1] if points.shape[1] > 1 else np.zeros(len(points))
    return {
        "x": [float(f"{value:.4g}") for value in points[:, 0]],
        "y": [float(f"{value:.4g}") for value in second],
        "cluster": decided[places].tolist(),
    }

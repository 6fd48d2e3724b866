"""Stage cluster: a model -> one whose kernels hold few distinct values each, zeros kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from data.dataset import Dataset
from models.clustering import cluster as cluster_weights
from models.clustering import distinct_values, plan_clusters
from models.compression_config import ClusterConfig
from models.legacy_keras import use_determinism
from pipeline.artifacts import SavedModel, save_model
from pipeline.measure import measure
from pipeline.retraining import reasons, retraining
from pipeline.stages.train import training_details
from pipeline.workspace import Outcome, Workspace


@dataclass(frozen=True)
class Inputs:
    """What the stage takes: the rows, the model before any compression, and the one to go on with."""

    dataset: Dataset
    dense: SavedModel
    pruned: SavedModel


@dataclass(frozen=True)
class Config:
    """Sections of the config that are read."""

    cluster: ClusterConfig


def cluster(inputs: Inputs, config: Config, workspace: Workspace) -> Outcome:
    """Chooses each kernel's values by k-means and trains them; masks and counts of values go on with the model.

    Raises:
        ConfigError: no layer has enough weights for so many clusters.
        TrainingError: the loss is not finite any more.
    """
    section = config.cluster
    use_determinism(workspace.seed_for("cluster"))
    model, dataset = inputs.pruned.load(), inputs.pruned.rows(inputs.dataset)
    seed = workspace.seed_for("cluster", "k_means")
    plan = plan_clusters(model, section.clusters, section.initialization, section.min_layer_weights, seed)
    around = retraining("cluster", dataset, inputs.dense, section, section.epochs, section.distillation, workspace)
    result = cluster_weights(
        model,
        plan,
        around.batches,
        around.validation,
        around.objective,
        around.settings,
        checkpoints=workspace.checkpoints("cluster"),
        progress=workspace.progress,
    )
    found = distinct_values(result.model, list(plan.layers))
    record = inputs.pruned.record
    save_model(workspace.output, result.model, record, inputs.pruned.masks(), clusters=found)
    training: dict[str, Any] = {"history": []} if result.training is None else training_details(result.training)
    details = {
        "clusters": section.clusters,
        "layers": [
            {"name": name, "values": values, "weights": int(plan.layers[name].keep.size)}
            for name, values in found.items()
        ],
        "left_out": reasons(plan.left_out),
        **training,
    }
    return Outcome((measure("cluster", result.model, dataset, record.as_task()),), details)

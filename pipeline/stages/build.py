"""Stage build: schema -> an untrained model."""

from __future__ import annotations

from dataclasses import dataclass

from data.dataset import Dataset
from models.architectures.builder import build as build_network
from models.config import MetricName, ModelConfig, TaskName
from models.legacy_keras import use_determinism
from pipeline.artifacts import ModelRecord, save_model
from pipeline.measure import measure
from pipeline.workspace import Outcome, Workspace


@dataclass(frozen=True)
class Inputs:
    """What the stage takes."""

    dataset: Dataset


@dataclass(frozen=True)
class Config:
    """Sections of the config that are read."""

    task: TaskName
    metric: MetricName | None
    model: ModelConfig
    num_clusters: int | None = None


def build(inputs: Inputs, config: Config, workspace: Workspace) -> Outcome:
    """Builds the network that fits the data's schema, with seeded initial weights.

    Raises:
        ConfigError: a layer does not fit the shape it would get.
    """
    use_determinism(workspace.seed_for("build"))
    schema = inputs.dataset.schema
    seed = workspace.seed_for("build")
    model = build_network(config.model, schema, config.task, seed, config.num_clusters)
    autoencoder = build_network(config.model, schema, "reconstruction", seed) if config.task == "clustering" else None
    record = ModelRecord(task=config.task, data_schema=schema, metric=config.metric)
    save_model(workspace.output, model, record, autoencoder=autoencoder)
    row = measure("build", model, inputs.dataset, record.as_task())
    layers = [
        {
            "name": layer.name,
            "type": type(layer).__name__,
            "output_shape": list(layer.output_shape[1:]) if isinstance(layer.output_shape, tuple) else [],
            "parameters": int(layer.count_params()),
        }
        for layer in (model if autoencoder is None else autoencoder).layers[1:]
    ]
    return Outcome((row,), {"family": config.model.family, "layers": layers})

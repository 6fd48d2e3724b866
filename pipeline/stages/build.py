"""Stage build: schema -> an untrained model; or the user's own, trained or not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from data.contract import Schema
from data.dataset import Dataset
from models.adoption import adopt
from models.architectures.builder import build as build_network
from models.config import MetricName, NetworkConfig, TaskName
from models.legacy_keras import use_determinism
from models.measurements import count_parameters
from models.own_model_config import BuilderModelConfig, FileModelConfig
from pipeline.artifacts import ModelRecord, save_model
from pipeline.measure import measure
from pipeline.own_model.building import call_builder
from pipeline.own_model.foreign_layers import refuse_foreign_layers
from pipeline.own_model.loading import load_own_model
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
    model: NetworkConfig
    num_clusters: int | None = None


def build(inputs: Inputs, config: Config, workspace: Workspace) -> Outcome:
    """Builds the network that fits the data's schema, with seeded initial weights; or takes in the user's own.

    Raises:
        ConfigError: a layer does not fit the shape it would get; or the user's model cannot be loaded or built, may not
            be, or does not fit the data and the task.
    """
    use_determinism(workspace.seed_for("build"))
    schema = inputs.dataset.schema
    made = _made(config, schema, workspace)
    record = ModelRecord(
        task=config.task,
        data_schema=schema,
        metric=config.metric,
        foreign_layers=tuple(made.details.get("foreign_layers", ())),
    )
    save_model(workspace.output, made.model, record, autoencoder=made.autoencoder)
    row = measure("build", made.model, inputs.dataset, record.as_task())
    layers = [
        {
            "name": layer.name,
            "type": type(layer).__name__,
            "output_shape": list(layer.output_shape[1:]) if isinstance(layer.output_shape, tuple) else [],
            "parameters": count_parameters(layer),
        }
        for layer in (made.model if made.autoencoder is None else made.autoencoder).layers[1:]
    ]
    return Outcome((row,), {"family": config.model.family, "layers": layers, **made.details})


@dataclass(frozen=True)
class _Made:
    """A network, what the report tells of where it comes from, and of a clustering what its encoder learns in."""

    model: Any
    details: dict[str, Any] = field(default_factory=dict)
    autoencoder: Any | None = None


def _made(config: Config, schema: Schema, workspace: Workspace) -> _Made:
    """Builds a network of a family, loads one from a file, or has one built by a function of the user's."""
    section, seed = config.model, workspace.seed_for("build")
    if isinstance(section, FileModelConfig):
        loaded = load_own_model(section, workspace.scratch)
        adopted = adopt(loaded.model, schema, config.task, "model.file", seed, section.output)
        details = {
            "format": loaded.architecture.format,
            "keras_version": loaded.architecture.keras_version,
            "foreign_layers": list(loaded.foreign_layers),
            "renamed": adopted.renamed,
        }
    elif isinstance(section, BuilderModelConfig):
        model = call_builder(section, schema)
        refuse_foreign_layers(model)
        adopted = adopt(model, schema, config.task, "model.builder", seed)
        details = {"builder": section.builder, "renamed": adopted.renamed}
    else:
        learned_in = build_network(section, schema, "reconstruction", seed) if config.task == "clustering" else None
        network = build_network(section, schema, config.task, seed, config.num_clusters)
        return _Made(network, autoencoder=learned_in)
    if adopted.renamed:
        told = ", ".join(f"{old} is {new}" for old, new in adopted.renamed.items())
        workspace.progress.note(f"build: layers are renamed: {told}")
    return _Made(adopted.model, details)

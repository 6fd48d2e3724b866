"""Stage train: the model so far -> a model trained end to end on labeled rows.

Trials of `tune` are this same stage under another section.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from data.contract import Part, Schema
from data.dataset import Dataset
from models.coefficients import input_coefficients, kernel_zeros
from models.config import TrainConfig
from models.legacy_keras import use_determinism
from models.replicas import Replicas, replicas_on_gpus
from models.task_config import ClusteringConfig
from models.tasks import Clustering
from models.training import TrainingResult, TrainingSettings
from models.training import train as train_network
from pipeline.artifacts import ModelRecord, SavedModel, save_model
from pipeline.class_weights import class_weights
from pipeline.clusters import learn_clusters
from pipeline.lessons import training_batches, validation
from pipeline.measure import measure
from pipeline.workspace import Desk, Outcome, Workspace


@dataclass(frozen=True)
class Inputs:
    """What the stage takes: the rows, and the model that training starts from."""

    dataset: Dataset
    start: SavedModel


@dataclass(frozen=True)
class Config:
    """Sections of the config that are read."""

    train: TrainConfig
    clustering: ClusteringConfig | None = None


def train(inputs: Inputs, config: Config, workspace: Workspace) -> Outcome:
    """Trains by gradient descent; the best weights on validation are kept. For a clustering, see `_train_clusters`.

    Raises:
        ConfigError: `class_weights` names a class that the data does not have; more clusters than rows are apart.
        TrainingError: the loss is not finite any more.
    """
    section = config.train
    if config.clustering is not None:
        use_determinism(workspace.seed_for("train"))
        record = _record(inputs, section)
        return _train_clusters(inputs, record, section, config.clustering, workspace)
    if section.workers > 1:
        if workspace.team is None:
            raise ValueError(f"workspace.team: expected one that trains on {section.workers} workers, got None.")
        workspace.team.train("train", section.workers)
    # Where workers trained, their checkpoint is at its end: the model is taken from there, and no step is made.
    model, record, result = learn(inputs, section, workspace)
    task = record.as_task()
    save_model(workspace.output, model, record)
    row = measure("train", model, inputs.dataset, task)
    weights_left = weights_details(model, inputs.dataset.schema)
    return Outcome((row,), {"metric": task.metric, **training_details(result), "weights": weights_left})


def learn(
    inputs: Inputs, section: TrainConfig, desk: Desk, replicas: Replicas | None = None
) -> tuple[Any, ModelRecord, TrainingResult]:
    """Trains the network of the stage, alone or as one of several workers, each of which calls this.

    Args:
        inputs: as for the stage.
        section: the section `train`.
        desk: what the training is lent.
        replicas: the other workers, and this one's part of each batch; None: this process, with all its GPUs.

    Returns:
        The trained keras.Model, what has to be known of it, and how it went.

    Raises:
        ConfigError: `class_weights` names a class that the data does not have.
        TrainingError: the loss is not finite any more.
    """
    use_determinism(desk.seed_for("train"))
    model, record = inputs.start.load(), _record(inputs, section)
    task, seed = record.as_task(), desk.seed_for("train", "shuffle")
    if replicas is None and section.workers == 1:
        replicas = replicas_on_gpus()
    part = Part() if replicas is None else replicas.part
    result = train_network(
        model,
        training_batches(inputs.dataset, task, section.batch_size, seed, part=part),
        validation(inputs.dataset, task),
        task,
        training_settings(section, record, desk),
        checkpoints=desk.checkpoints("train"),
        progress=desk.progress,
        replicas=replicas,
    )
    return model, record, result


def _record(inputs: Inputs, section: TrainConfig) -> ModelRecord:
    """Returns what has to be known of the model once it is trained: penalty, class weights and loss are the stage's."""
    weights = class_weights(section.class_weights, inputs.dataset)
    learned = {"class_weights": weights, "regularization": section.regularization, "loss": section.loss}
    return inputs.start.record.model_copy(update=learned)


def training_settings(section: TrainConfig, record: ModelRecord, desk: Desk) -> TrainingSettings:
    """Returns how the stage trains.

    Args:
        section: the section `train`.
        record: of the model as it will be saved: its penalty and class weights hold.
        desk: lends the seed.
    """
    return TrainingSettings(
        epochs=section.epochs,
        optimizer=section.optimizer,
        stop=section.stop,
        seed=desk.seed_for("train"),
        regularization=record.regularization,
        class_weights=record.class_weights,
        label="train",
    )


def weights_details(model: Any, schema: Schema) -> dict[str, Any]:
    """Returns what the report tells of what a penalty left: weights, exact zeros, and what each feature weighs."""
    count, zeros = kernel_zeros(model)
    found = input_coefficients(model, schema.feature_names)
    return {"count": count, "zeros": zeros, "coefficients": None if found is None else asdict(found)}


def _train_clusters(
    inputs: Inputs, record: ModelRecord, section: TrainConfig, config: ClusteringConfig, workspace: Workspace
) -> Outcome:
    """Trains an autoencoder as the section says, then its clusters; the model is the encoder with these on top."""
    task = Clustering(record.loss, record.metric)
    settings = training_settings(section, record, workspace)
    learned = learn_clusters(inputs.dataset, inputs.start, task, settings, section.batch_size, config, workspace)
    save_model(workspace.output, learned.model, record)
    row = measure("train", learned.model, inputs.dataset, task)
    refined = learned.refinement
    nothing = {"history": [], "stopped_by": "epochs", "best_epoch": 0}
    details = {
        "metric": task.metric,
        **(nothing if refined.training is None else training_details(refined.training)),
        "weights": weights_details(learned.model, inputs.dataset.schema),
        "clustering": {
            "reconstruction": {"metric": "r2", **training_details(learned.reconstruction)},
            "before": learned.before,
            "after": learned.after,
            "changed": refined.changed,
            "sizes": refined.sizes,
        },
    }
    return Outcome((row,), details)


def training_details(result: TrainingResult) -> dict[str, Any]:
    """Returns what the report tells of a training: its history, and the rule that stopped it."""
    return {
        "history": [asdict(record) for record in result.history],
        "stopped_by": result.stopped_by,
        "best_epoch": result.best_epoch,
    }

"""Stage prune: a trained model -> one with most of its weights at zero, retrained around them."""

from __future__ import annotations

from dataclasses import dataclass

from data.dataset import Dataset
from models.config import PruneConfig
from models.legacy_keras import use_determinism
from models.pruning.weights import MagnitudePruning, layer_sparsity, prunable_kernels
from models.tasks import task_for
from models.training import TrainingSettings
from models.training import train as train_network
from pipeline.artifacts import SavedModel, save_model
from pipeline.measure import measure
from pipeline.stages.train import training_details
from pipeline.workspace import Outcome, Workspace


@dataclass(frozen=True)
class Inputs:
    """What the stage takes: the rows, and the dense model."""

    dataset: Dataset
    dense: SavedModel


@dataclass(frozen=True)
class Config:
    """Sections of the config that are read."""

    prune: PruneConfig


def prune(inputs: Inputs, config: Config, workspace: Workspace) -> Outcome:
    """Raises sparsity step by step while training goes on, then lets the model recover.

    The loss stays what the dense model was trained with: its class weights, and the penalty that `train` or
    `tune` found best.

    Raises:
        ConfigError: the sparsity cannot be had above the floor of each layer.
        TrainingError: the loss is not finite any more.
    """
    section = config.prune
    use_determinism(workspace.seed_for("prune"))
    record = inputs.dense.record
    task = task_for(record.task)
    model = inputs.dense.load()
    batches = inputs.dataset.batches("train", section.batch_size, workspace.seed_for("prune", "shuffle"))
    prunable = prunable_kernels(model)
    pruning = MagnitudePruning(prunable.kernels, section, batches.num_batches)
    settings = TrainingSettings(
        epochs=section.epochs + section.recovery_epochs,
        optimizer=section.optimizer,
        seed=workspace.seed_for("prune"),
        regularization=record.regularization,
        class_weights=record.class_weights,
        label="prune",
    )
    result = train_network(
        model,
        batches,
        (inputs.dataset.inputs("validation"), inputs.dataset.split("validation").y),
        task,
        settings,
        constraint=pruning,
        checkpoints=workspace.checkpoints("prune"),
        progress=workspace.progress,
    )
    save_model(workspace.output, model, record, pruning.masks())
    row = measure("prune", model, inputs.dataset, task)
    details = {
        "scope": section.scope,
        "sparsity": section.sparsity,
        "layers": layer_sparsity(model),
        "left_out": [{"name": name, "reason": reason} for name, reason in prunable.left_out.items()],
        "schedule": pruning.schedule,
        **training_details(result),
    }
    return Outcome((row,), details)

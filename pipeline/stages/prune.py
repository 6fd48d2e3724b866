"""Stage prune: a trained model -> one without the nodes or weights that matter least, retrained around them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.dataset import Dataset
from models.compression_config import PruneConfig
from models.legacy_keras import use_determinism
from models.pruning.gradual import prune_nodes
from models.pruning.inputs import constant_inputs, remove_constant_inputs
from models.pruning.kernels import layer_sparsity, prunable_kernels
from models.pruning.sensitivity import Sensitivity, node_sensitivity, scorer, weight_sensitivity
from models.pruning.weights import MagnitudePruning
from models.training import train as train_network
from pipeline.artifacts import SavedModel, save_model
from pipeline.ledger import LedgerRow
from pipeline.measure import measure
from pipeline.retraining import Retraining, parts_of, reasons, retraining
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
    """Raises sparsity step by step while training goes on, then lets the model recover; nodes first, then weights.

    The loss stays what the dense model was trained with: its class weights, and the penalty that `train` or
    `tune` found best.

    Raises:
        ConfigError: the sparsity cannot be had above the floor of each layer, or the criterion has nothing to look at.
        TrainingError: the loss is not finite any more.
    """
    section = config.prune
    use_determinism(workspace.seed_for("prune"))
    model, kept, told = _take_inputs(inputs, section)
    record = inputs.dense.record.model_copy(update={"kept_inputs": kept})
    dataset = inputs.dataset.keeping(kept)
    epochs = section.epochs + section.recovery_epochs
    around = retraining("prune", dataset, inputs.dense, section, epochs, section.distillation, workspace)
    parts: list[dict[str, Any]] = []
    rows: list[LedgerRow] = []
    masks = None
    for unit in section.units:
        if unit == "node":
            model, details = _prune_nodes(model, _of_nodes(section), around)
        else:
            masks, details = _prune_weights(model, _of_weights(section), around)
        parts.append({"unit": unit, **details})
        rows.append(measure("prune", model, dataset, record.as_task()))
    if len(rows) > 1:
        rows[0] = rows[0].model_copy(update={"variant": "keras, nodes"})
    save_model(workspace.output, model, record, masks)
    return Outcome(tuple(rows), {"parts": parts, "inputs": told})


def _take_inputs(inputs: Inputs, section: PruneConfig) -> tuple[Any, tuple[int, ...] | None, dict[str, int] | None]:
    """Loads the model, constant inputs taken out where that is asked; returns too which stay, and how many."""
    model = inputs.dense.load()
    if section.inputs == "all":
        return model, None, None
    found = constant_inputs(parts_of(inputs.dataset, "train"))
    model, kept = remove_constant_inputs(model, found)
    before = len(found.constant)
    return model, kept, {"before": before, "after": before if kept is None else len(kept)}


def _of_nodes(section: PruneConfig) -> PruneConfig:
    """The section as pruning of nodes reads it: where weights follow, the model recovers after these."""
    return section if len(section.units) == 1 else section.model_copy(update={"recovery_epochs": 0})


def _of_weights(section: PruneConfig) -> PruneConfig:
    """The section as pruning of weights reads it."""
    return (
        section if section.weight_sparsity is None else section.model_copy(update={"sparsity": section.weight_sparsity})
    )


def _prune_nodes(model: Any, section: PruneConfig, around: Retraining) -> tuple[Any, dict[str, Any]]:
    score, progress = scorer(around.validation, around.objective), around.workspace.progress
    found: list[Sensitivity] = []
    if section.sparsity == "auto":
        found = node_sensitivity(model, around.batches, around.objective, score, section, progress)
    sparsities = _by_sensitivity(found, score, model, section)
    result = prune_nodes(
        model,
        around.batches,
        around.validation,
        around.objective,
        section,
        around.settings,
        sparsities=sparsities,
        checkpoints=around.workspace.checkpoints,
        progress=progress,
    )
    total, left = sum(result.before.values()), sum(result.after.values())
    details = {
        "scope": section.scope if sparsities is None else "auto",
        "criterion": section.criterion,
        "sparsity": section.sparsity,
        "removed_fraction": 1.0 - left / total,
        "layers": [
            {"name": name, "before": before, "after": result.after[name]} for name, before in result.before.items()
        ],
        "left_out": reasons(result.left_out),
        "removals": [asdict(removal) for removal in result.removals],
        "sensitivity": [asdict(each) for each in found],
        "history": [asdict(record) for record in result.history],
        "stopped_by": "epochs",
        "best_epoch": result.best_epoch,
    }
    return result.model, details


def _prune_weights(
    model: Any, section: PruneConfig, around: Retraining
) -> tuple[dict[str, NDArray[np.bool_]], dict[str, Any]]:
    """Prunes the weights of a model in place."""
    score, progress = scorer(around.validation, around.objective), around.workspace.progress
    prunable = prunable_kernels(model)
    found: list[Sensitivity] = []
    if section.sparsity == "auto":
        found = weight_sensitivity(model, score, section, progress)
    sparsities = _by_sensitivity(found, score, model, section)
    pruning = MagnitudePruning(prunable.kernels, section, around.batches.num_batches, sparsities)
    if section.epochs == 0:
        pruning.update(0)
    training: dict[str, Any] = {"history": []}
    if around.settings.epochs > 0:
        result = train_network(
            model,
            around.batches,
            around.validation,
            around.objective,
            around.settings,
            constraint=pruning,
            checkpoints=around.workspace.checkpoints("prune"),
            progress=progress,
        )
        training = training_details(result)
    details = {
        "scope": section.scope if sparsities is None else "auto",
        "sparsity": pruning.sparsity,
        "layers": layer_sparsity(model),
        "left_out": reasons(prunable.left_out),
        "schedule": pruning.schedule,
        "sensitivity": [asdict(each) for each in found],
        **training,
    }
    return pruning.masks(), details


def _by_sensitivity(
    found: Sequence[Sensitivity], score: Callable[[Any], float], model: Any, section: PruneConfig
) -> dict[str, float] | None:
    """Returns each layer's own sparsity; None where the config gives a number for all."""
    if section.sparsity != "auto":
        return None
    whole, drop = score(model), section.sensitivity.max_score_drop
    return {each.name: each.sparsity(whole, drop) for each in found}

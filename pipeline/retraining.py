"""What the stages that train a network on with compression in place have in common: rows, loss, settings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.contract import Batches
from data.dataset import Dataset
from models.compression_config import DistillationConfig
from models.config import GradientDescentFields
from models.distillation import Distillation, distilled_targets
from models.training import Objective, TrainingSettings, predict
from pipeline.artifacts import SavedModel
from pipeline.lessons import training_batches, validation
from pipeline.workspace import Workspace

_ROWS_AT_ONCE = 8192


@dataclass(frozen=True)
class Retraining:
    """What `models.training.train` is given, and whom it tells.

    Attributes:
        batches: training rows; targets are distilled ones where that is asked for.
        validation: inputs and targets.
        objective: loss and score.
        settings: epochs, optimizer, seed, and the penalty and class weights of the model's last training.
        workspace: for checkpoints and progress.
    """

    batches: Batches
    validation: tuple[Any, NDArray[Any]]
    objective: Objective
    settings: TrainingSettings
    workspace: Workspace


def retraining(
    stage: str,
    dataset: Dataset,
    dense: SavedModel,
    section: GradientDescentFields,
    epochs: int,
    distillation: DistillationConfig | None,
    workspace: Workspace,
) -> Retraining:
    """Prepares a stage's training; the loss stays what the dense model was trained with.

    Of a clustering, what the dense model decided of the training rows takes the place of labels.

    Args:
        stage: its name, which seeds and progress are named after.
        dataset: the rows as the model eats them.
        dense: the model before any compression; the teacher, where there is one.
        section: batch size and optimizer.
        epochs: passes over the training rows.
        distillation: how to learn from `dense`; None: from labels alone.
        workspace: the stage's.
    """
    record = dense.record
    task = record.as_task()
    objective: Objective = task
    class_weights, targets = record.class_weights, None
    if distillation is not None:
        objective = Distillation(task, distillation, class_weights)
        answers = _answers(dense.load(), dense.rows(dataset))
        labels = task.decide(answers) if task.name == "clustering" else dataset.split("train").y
        targets = distilled_targets(labels, answers)
        class_weights = None
    elif task.name == "clustering":
        targets = task.decide(_answers(dense.load(), dense.rows(dataset))).astype(np.int32)
    settings = TrainingSettings(
        epochs=epochs,
        optimizer=section.optimizer,
        seed=workspace.seed_for(stage),
        regularization=record.regularization,
        class_weights=class_weights,
        label=stage,
        section="quantize.aware" if stage == "quantize" else stage,
    )
    return Retraining(
        batches=training_batches(dataset, task, section.batch_size, workspace.seed_for(stage, "shuffle"), targets),
        validation=validation(dataset, task),
        objective=objective,
        settings=settings,
        workspace=workspace,
    )


def reasons(left_out: dict[str, str]) -> list[dict[str, str]]:
    """Returns why layers are left out, as a stage's details tell it."""
    return [{"name": name, "reason": reason} for name, reason in left_out.items()]


def parts_of(dataset: Dataset, name: str) -> Iterator[NDArray[np.float32]]:
    """Yields model input of all rows of a split, in parts that fit into memory."""
    for start in range(0, len(dataset.split(name)), _ROWS_AT_ONCE):
        yield dataset.inputs(name, slice(start, start + _ROWS_AT_ONCE))


def _answers(model: Any, dataset: Dataset) -> NDArray[np.float32]:
    """Answers to all training rows."""
    return np.concatenate([predict(model, part) for part in parts_of(dataset, "train")])

"""Stage fit: rows -> a classical model, fitted by scikit-learn, where a run has no network."""

from __future__ import annotations

from dataclasses import dataclass

from data.dataset import Dataset
from models.classical.c_source import check_size
from models.classical_config import ClassicalConfig
from models.config import MetricName, TaskName
from pipeline.classical_artifacts import ClassicalRecord, save_classical
from pipeline.classical_fit import fit_model, fit_notes
from pipeline.classical_measure import measure_classical
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
    model: ClassicalConfig


def fit(inputs: Inputs, config: Config, workspace: Workspace) -> Outcome:
    """Fits the model on the training split and keeps it as plain arrays.

    Raises:
        ConfigError: `class_weights` names a class that the data does not have.
        ConversionError: the model is too large for plain C, or a number of it is beyond float32.
    """
    dataset, family = inputs.dataset, config.model.family
    fitted, weights = fit_model(config.model, dataset, workspace.seed)
    check_size(fitted.form, family)
    record = ClassicalRecord(
        name=family,
        task=config.task,
        metric=config.metric,
        data_schema=dataset.schema,
        class_weights=weights,
        num_rows=fitted.num_rows,
    )
    task = record.as_task()
    save_classical(workspace.output, fitted.form, record)
    row = measure_classical("fit", family, fitted, dataset, task)
    num_rows = len(dataset.split("train"))
    for note in fit_notes(family, fitted, num_rows, "model.max_rows"):
        workspace.progress.note(note)
    details = {
        "family": family,
        "metric": task.metric,
        "num_rows": fitted.num_rows,
        "training_rows": num_rows,
        "warnings": list(fitted.warnings),
    }
    return Outcome((row,), details)

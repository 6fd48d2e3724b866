"""Stage baselines: the same rows -> classical models to hold the network against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from data.dataset import Dataset
from models.classical.fitting import fit
from models.classical_config import BASELINES, BaselinesConfig, ClassWeights, baseline_config
from models.config import MetricName, TaskName
from models.tasks import task_for
from pipeline.class_weights import class_weights as weights_of
from pipeline.classical_artifacts import ClassicalRecord, save_classical
from pipeline.classical_fit import fit_notes
from pipeline.classical_measure import measure_classical
from pipeline.ledger import ClassicalRow
from pipeline.workspace import Outcome, Workspace


@dataclass(frozen=True)
class Inputs:
    """What the stage takes."""

    dataset: Dataset


@dataclass(frozen=True)
class Config:
    """Sections of the config that are read; class weights are those that the run's own model learns with."""

    task: TaskName
    metric: MetricName | None
    baselines: BaselinesConfig
    class_weights: ClassWeights | None


def baselines(inputs: Inputs, config: Config, workspace: Workspace) -> Outcome:
    """Fits each baseline on the training split, scores it on validation and measures it.

    Raises:
        ConfigError: `class_weights` names a class that the data does not have.
    """
    dataset, asked = inputs.dataset, config.baselines
    task = task_for(config.task, None, config.metric)
    weights = weights_of(config.class_weights, dataset)
    x, y = dataset.inputs("train"), dataset.split("train").y
    names = BASELINES[config.task] if asked.models is None else asked.models
    rows: list[ClassicalRow] = []
    told: list[dict[str, Any]] = []
    for done, name in enumerate(names, start=1):
        workspace.progress.step("baselines", done - 1, len(names), {"model": name})  # a fit may take minutes
        settings = baseline_config(name, asked.max_rbf_rows, config.class_weights)
        seed = workspace.seed_for("baselines", name)
        fitted = fit(settings, x, y, dataset.schema.num_classes, weights, seed)
        row = measure_classical("baselines", name, fitted, dataset, task)
        folder = workspace.output / name
        folder.mkdir()
        record = ClassicalRecord(
            name=name,
            task=config.task,
            metric=config.metric,
            data_schema=dataset.schema,
            class_weights=weights,
            num_rows=fitted.num_rows,
        )
        save_classical(folder, fitted.form, record)
        rows.append(row)
        told.append({"name": name, "num_rows": fitted.num_rows, "warnings": list(fitted.warnings)})
        workspace.progress.step("baselines", done, len(names), {"model": name, task.metric: row.score})
        for note in fit_notes(name, fitted, len(x), "baselines.max_rbf_rows"):
            workspace.progress.note(note)
    return Outcome(tuple(rows), {"metric": task.metric, "training_rows": len(x), "models": told})

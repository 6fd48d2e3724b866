"""Stage baselines: the same rows -> classical models to hold the network against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from data.contract import Checkpoints
from data.dataset import Dataset
from models.classical.fitting import fit
from models.classical.forms import Form, pack, unpack
from models.classical_config import BASELINES, BaselineName, BaselinesConfig, ClassWeights, baseline_config
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

    What is finished is kept in the scratch folder: a run that is killed goes on with the next one.

    Raises:
        ConfigError: `class_weights` names a class that the data does not have.
    """
    dataset, asked = inputs.dataset, config.baselines
    task = task_for(config.task, None, config.metric)
    weights = weights_of(config.class_weights, dataset)
    x, y = dataset.inputs("train"), dataset.split("train").y
    names = BASELINES[config.task] if asked.models is None else asked.models
    kept = _Kept(workspace.checkpoints("baselines"))

    def fit_one(name: BaselineName) -> _Finished:
        settings = baseline_config(name, asked.max_rbf_rows, config.class_weights)
        fitted = fit(settings, x, y, dataset.schema.num_classes, weights, workspace.seed_for("baselines", name))
        row = measure_classical("baselines", name, fitted, dataset, task)
        told = {"name": name, "num_rows": fitted.num_rows, "warnings": list(fitted.warnings)}
        return _Finished(fitted.form, row, told, fit_notes(name, fitted, len(x), "baselines.max_rbf_rows"))

    for done, name in enumerate(names, start=1):
        workspace.progress.step("baselines", done - 1, len(names), {"model": name})  # a fit may take minutes
        if name not in kept.finished:
            kept.add(name, fit_one(name), next_one=names[min(done, len(names) - 1)])
        finished = kept.finished[name]
        folder = workspace.output / name
        folder.mkdir()
        record = ClassicalRecord(
            name=name,
            task=config.task,
            metric=config.metric,
            data_schema=dataset.schema,
            class_weights=weights,
            num_rows=finished.row.num_rows,
        )
        save_classical(folder, finished.form, record)
        workspace.progress.step("baselines", done, len(names), {"model": name, task.metric: finished.row.score})
        for note in finished.notes:
            workspace.progress.note(note)
    all_of_them = [kept.finished[name] for name in names]
    details = {"metric": task.metric, "training_rows": len(x), "models": [each.told for each in all_of_them]}
    return Outcome(tuple(each.row for each in all_of_them), details)


@dataclass(frozen=True)
class _Finished:
    """A fitted baseline: its numbers, what was measured, what the report tells, and what the user is told."""

    form: Form
    row: ClassicalRow
    told: dict[str, Any]
    notes: list[str]


class _Kept:
    """The baselines that are finished, in this run or in one that was killed: arrays and JSON, and a digest of both."""

    def __init__(self, checkpoints: Checkpoints) -> None:
        self._checkpoints = checkpoints
        found = checkpoints.load()
        arrays, state = ({}, {"models": {}}) if found is None else found
        self.finished = {
            name: _Finished(
                unpack(model["form"], {part: arrays[f"{name}.{part}"] for part in model["arrays"]}),
                ClassicalRow.model_validate(model["row"]),
                model["told"],
                model["notes"],
            )
            for name, model in state["models"].items()
        }

    def add(self, name: str, finished: _Finished, *, next_one: str) -> None:
        """Keeps one more; `next_one` is where a run that is killed goes on."""
        self.finished[name] = finished
        arrays: dict[str, NDArray[Any]] = {}
        models: dict[str, Any] = {}
        for each, model in self.finished.items():
            described, parts = pack(model.form)
            arrays |= {f"{each}.{part}": array for part, array in parts.items()}
            row = model.row.model_dump(mode="json")
            told = {"row": row, "told": model.told, "notes": model.notes}
            models[each] = {"form": described, "arrays": list(parts), **told}
        self._checkpoints.save(arrays, {"models": models, "resumes_at": next_one})

"""Stage tune: other penalties on the kernels, tried from where training started; the best model wins."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from typing import Any

from data.contract import TrainingError
from data.dataset import Dataset
from models.config import RegularizationConfig, TrainConfig, TuneConfig
from models.legacy_keras import use_determinism
from models.task_config import ClusteringConfig
from models.tasks import Task
from pipeline.artifacts import SavedModel
from pipeline.ledger import LedgerRow
from pipeline.measure import measure
from pipeline.oracles import Proposal, RegularizationOracle
from pipeline.workspace import Outcome, Workspace


@dataclass(frozen=True)
class Inputs:
    """What the stage takes: the rows, the model that training started from, and the one it ended with."""

    dataset: Dataset
    start: SavedModel
    trained: SavedModel


@dataclass(frozen=True)
class Config:
    """Sections of the config that are read."""

    train: TrainConfig
    tune: TuneConfig
    clustering: ClusteringConfig | None = None


@dataclass
class _Search:
    """The trials so far, and the best model among them; trial 0 is the model that came in."""

    best_model: SavedModel
    trials: list[dict[str, Any]]
    best: int = 0
    parents: list[tuple[str, str]] = field(default_factory=list)
    training: dict[str, Any] = field(default_factory=dict)

    @property
    def best_score(self) -> float:
        return float(self.trials[self.best]["score"])


def tune(inputs: Inputs, config: Config, workspace: Workspace) -> Outcome:
    """Searches for the penalty whose model scores best on validation; never worse than the model that came in.

    Each trial is the stage `train` under another penalty: an artifact like any other, so that a
    killed or a wider search repeats none that is finished.
    """
    use_determinism(workspace.seed_for("tune"))
    task = inputs.trained.record.as_task()
    incoming = measure("tune", inputs.trained.load(), inputs.dataset, task)
    own = config.train.regularization
    search = _Search(inputs.trained, [_entry(0, _kind_of(own), own, incoming.score, "done", 0.0)])
    oracle = RegularizationOracle(config.tune, workspace.seed_for("tune", "oracle"))
    for number in range(1, config.tune.trials + 1):
        proposal = oracle.ask()
        if proposal is None:
            workspace.progress.note(f"tune: the search space is exhausted after {number - 1} trials")
            break
        oracle.tell(proposal, _try(search, number, proposal, config, workspace))
        score = search.trials[-1]["score"]
        figures = {task.metric: "failed" if score is None else score, "best": search.best_score}
        workspace.progress.step("tune", number, config.tune.trials, figures)
    return _outcome(search, inputs, task, workspace)


def _try(search: _Search, number: int, proposal: Proposal, config: Config, workspace: Workspace) -> float | None:
    """Runs one trial and notes it; returns its score, None where training failed."""
    section = config.train.model_copy(
        update={
            "regularization": proposal.regularization,
            "epochs": config.train.epochs if config.tune.epochs is None else config.tune.epochs,
        }
    )
    roles = {"dataset": "dataset", "start": "start"}
    try:
        artifact = workspace.trials.run("train", roles, {"train": section, "clustering": config.clustering})
    except TrainingError as error:
        workspace.progress.note(f"tune: trial {number} failed: {error}")
        search.trials.append(_entry(number, proposal.kind, proposal.regularization, None, "failed", 0.0))
        return None
    score, seconds = artifact.manifest.ledger[0].score, artifact.manifest.seconds
    search.trials.append(_entry(number, proposal.kind, proposal.regularization, score, "done", seconds))
    search.parents.append((artifact.manifest.stage, artifact.manifest.key))
    if score > search.best_score:
        search.best, search.best_model = number, SavedModel.open(artifact.folder, "train")
        # The learning curve of the model that is handed on; trial 0's is that of `train`.
        search.training = artifact.manifest.details
    return score


def _outcome(search: _Search, inputs: Inputs, task: Task, workspace: Workspace) -> Outcome:
    """Copies the best model into the stage's output."""
    for file in search.best_model.folder.glob("model.*"):
        shutil.copyfile(file, workspace.output / file.name)
    row: LedgerRow = measure("tune", search.best_model.load(), inputs.dataset, task)
    details = {**search.training, "metric": task.metric, "trials": search.trials, "best": search.best}
    return Outcome((row,), details, tuple(search.parents))


def _kind_of(regularization: RegularizationConfig) -> str:
    """Names a penalty by the strengths that are not zero."""
    if regularization.l1 > 0 and regularization.l2 > 0:
        return "elastic_net"
    return "l1" if regularization.l1 > 0 else "l2" if regularization.l2 > 0 else "none"


def _entry(
    number: int, kind: str, regularization: RegularizationConfig, score: float | None, state: str, seconds: float
) -> dict[str, Any]:
    return {
        "trial": number,
        "kind": kind,
        "l1": regularization.l1,
        "l2": regularization.l2,
        "score": score,
        "state": state,
        "seconds": seconds,
    }

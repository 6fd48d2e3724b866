"""Stage tune: other penalties, rates and networks, each trained as `train` does; the best model wins."""

from __future__ import annotations

import shutil
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from data.contract import ConfigError, TrainingError
from data.dataset import Dataset
from models.compression_config import PruneConfig
from models.config import MetricName, ModelConfig, PretrainConfig, RegularizationConfig, TaskName, TrainConfig
from models.legacy_keras import use_determinism
from models.task_config import ClusteringConfig
from models.tasks import Task
from models.tuning_config import TuneConfig
from pipeline.artifacts import SavedModel
from pipeline.ledger import LedgerRow
from pipeline.measure import measure
from pipeline.oracles import Proposal, TuningOracle
from pipeline.stages.train import weights_details
from pipeline.trials import TrialLostError
from pipeline.tuning_chain import Chain, Out, Trained
from pipeline.tuning_path import coefficient_paths
from pipeline.tuning_space import brackets, described, grid_size, num_trainings, own_values
from pipeline.workspace import Outcome, Workspace


@dataclass(frozen=True)
class Inputs:
    """What the stage takes: the rows, the model that training started from, and the one it ended with."""

    dataset: Dataset
    start: SavedModel
    trained: SavedModel


@dataclass(frozen=True)
class Config:
    """Sections of the config that are read; those below `tune` say what a trial runs besides `train`."""

    train: TrainConfig
    tune: TuneConfig
    task: TaskName
    metric: MetricName | None
    model: ModelConfig
    pretrain: PretrainConfig | None
    at_once: PruneConfig | None
    clustering: ClusteringConfig | None = None

    @property
    def epochs(self) -> int:
        """Epochs of the longest trial."""
        return self.train.epochs if self.tune.epochs is None else self.tune.epochs


@dataclass
class _Search:
    """The trials so far, and the best model among them; trial 0 is the model that came in."""

    objective: str
    best_model: SavedModel
    trials: list[dict[str, Any]]
    best: int = 0
    parents: list[tuple[str, str]] = field(default_factory=list)
    training: dict[str, Any] = field(default_factory=dict)

    @property
    def best_merit(self) -> float:
        """What the best trial so far is judged by."""
        return float(self.trials[self.best][self.objective])


def tune(inputs: Inputs, config: Config, workspace: Workspace) -> Outcome:
    """Searches for the training whose model is judged best on validation; never worse than the model that came in.

    Each trial is the stage `train` under another section, behind a `build` of its own where the network differs: an
    artifact like any other, so that a killed or a wider search repeats none that is finished.

    Raises:
        ConfigError: the model that came in cannot be pruned as `tune.objective: pruned_score` asks.
    """
    use_determinism(workspace.seed_for("tune"))
    task = inputs.trained.record.as_task()
    chain = Chain(config, workspace)
    search = _begun(inputs, config, chain, task)
    _try_all(search, config, chain, task)
    _say_what_is_kept(search, task, workspace)
    return _outcome(search, inputs, config, task, workspace)


def _begun(inputs: Inputs, config: Config, chain: Chain, task: Task) -> _Search:
    """Trial 0: the model that came in, judged as every other."""
    model = inputs.trained.load()
    incoming = measure("tune", model, inputs.dataset, task)
    pruned, parents = chain.pruned_score("trained")
    entry = {
        **_entry(0, config.train.regularization),
        "values": own_values(config.tune.space, config.train, config.model),
        "epochs": config.train.epochs,
        "state": "done",
        "score": incoming.score,
        "pruned_score": pruned,
        "weights": weights_details(model, inputs.dataset.schema),
    }
    return _Search(config.tune.objective, inputs.trained, [entry], parents=parents)


def _try_all(search: _Search, config: Config, chain: Chain, task: Task) -> None:
    """Puts trials out, `tune.batch_trials` at a time, and tells the oracle of them in the order it proposed them.

    What it knows when it proposes one then depends on neither how many run at once nor which of them ends first.
    """
    progress = chain.workspace.progress
    oracle = TuningOracle(config.tune, chain.workspace.seed_for("tune", "oracle"), config.epochs)
    total = _planned(config, chain.workspace)
    out: deque[tuple[Proposal, dict[str, Any], Out]] = deque()
    put_out = 0
    while True:
        while put_out < total and len(out) < config.tune.batch_trials and (proposal := oracle.ask()) is not None:
            put_out += 1
            entry = _proposed(put_out, proposal, config)
            out.append((proposal, entry, chain.start(proposal, entry["epochs"], f"trial {put_out}")))
        if not out:
            break
        proposal, entry, trial = out.popleft()
        oracle.tell(proposal, _ended(search, entry, trial, chain))
        merit = entry[search.objective]
        judged = task.metric if search.objective == "score" else f"pruned {task.metric}"
        figures = {"tried": described(entry), judged: "failed" if merit is None else merit}
        progress.step("tune", entry["trial"], total, figures | {"best": search.best_merit})
        following = min(entry["trial"] + 1, total)
        chain.workspace.checkpoints("trials").save({}, {"resumes_at": f"trial {following}"})  # told by `plan`
    if put_out < total:
        progress.note(f"tune: the search space is exhausted after {put_out} trials")


def _proposed(number: int, proposal: Proposal, config: Config) -> dict[str, Any]:
    """What is told of a trial that is put out."""
    own = config.train.regularization
    entry = _entry(number, own if proposal.regularization is None else proposal.regularization)
    epochs = config.epochs if proposal.epochs is None else proposal.epochs
    entry |= {"values": proposal.values, "epochs": epochs, "short": epochs < config.epochs}
    if proposal.regularization is not None:
        entry["kind"] = proposal.kind
    return entry


def _ended(search: _Search, entry: dict[str, Any], trial: Out, chain: Chain) -> float | None:
    """Waits for a trial and notes it; returns what it is judged by, None where it failed."""
    search.trials.append(entry)
    try:
        made = trial.result()
    except (ConfigError, TrainingError, TrialLostError) as error:
        chain.workspace.progress.note(f"tune: trial {entry['trial']} failed ({described(entry)}): {error}")
        entry["cause"] = str(error)
        return None
    manifest = made.trained.manifest
    entry |= {"state": "done", "score": manifest.ledger[0].score, "pruned_score": made.pruned_score}
    entry |= {"seconds": made.seconds, "weights": manifest.details["weights"]}
    if made.losses:
        entry["losses"] = list(made.losses)
    search.parents += made.parents
    if entry[search.objective] > search.best_merit:
        _keep(search, entry["trial"], made)
    merit: float = entry[search.objective]
    return merit


def _keep(search: _Search, number: int, made: Trained) -> None:
    allow_code = search.best_model.allow_code  # as of trial 0: all are trained from one model
    search.best_model = SavedModel.open(made.trained.folder, "train", allow_code=allow_code)
    search.best = number
    # How the model that is handed on learned, and its clusters if it has some; trial 0's is told by `train`.
    shown = ("history", "stopped_by", "best_epoch")
    told = made.trained.manifest.details
    search.training = {name: told[name] for name in (*shown, "clustering") if name in told}
    if made.built is not None:
        details = made.built.manifest.details
        search.training["network"] = {name: details[name] for name in ("family", "layers")}


def _entry(number: int, penalty: RegularizationConfig) -> dict[str, Any]:
    """What is told of a trial; the rest is filled in as it goes."""
    entry: dict[str, Any] = {"trial": number, "kind": _kind_of(penalty), "l1": penalty.l1, "l2": penalty.l2}
    return entry | {"score": None, "pruned_score": None, "state": "failed", "seconds": 0.0}


def _kind_of(regularization: RegularizationConfig) -> str:
    """Names a penalty by the strengths that are not zero."""
    if regularization.l1 > 0 and regularization.l2 > 0:
        return "elastic_net"
    return "l1" if regularization.l1 > 0 else "l2" if regularization.l2 > 0 else "none"


def _planned(config: Config, workspace: Workspace) -> int:
    """Says what a grid or Hyperband will try; returns how many trials there will be at most."""
    section = config.tune
    if section.oracle == "grid":
        size = grid_size(section)
        tried = "all are tried" if size <= section.trials else f"the first {section.trials} are tried (tune.trials)"
        workspace.progress.note(f"tune: the grid has {size} combinations; {tried}")
        return min(size, section.trials)
    if section.oracle == "hyperband":
        planned = brackets(section.trials, config.epochs, section.factor)
        rounds = "; then ".join(", ".join(f"{size} of {epochs}" for epochs, size in bracket) for bracket in planned)
        workspace.progress.note(f"tune: Hyperband's trainings, and the epochs of each: {rounds}")
        return sum(map(num_trainings, planned))
    return section.trials


def _say_what_is_kept(search: _Search, task: Task, workspace: Workspace) -> None:
    kept = search.trials[search.best]
    judged = "" if search.objective == "score" else " pruned at once"
    told = f"{task.metric}{judged} {kept[search.objective]:.4f}"
    if search.best == 0:
        workspace.progress.note(f"tune: no trial is better than trial 0, train's own model: {told}")
    else:
        gain = kept[search.objective] - search.trials[0][search.objective]
        workspace.progress.note(f"tune: trial {search.best} is kept: {described(kept)}: {told} ({gain:+.4f})")


def _outcome(search: _Search, inputs: Inputs, config: Config, task: Task, workspace: Workspace) -> Outcome:
    """Copies the best model into the stage's output."""
    for file in search.best_model.folder.glob("model.*"):
        shutil.copyfile(file, workspace.output / file.name)
    row: LedgerRow = measure("tune", search.best_model.load(), inputs.dataset, task)
    details = {
        **search.training,
        "metric": task.metric,
        "objective": search.objective,
        "oracle": config.tune.oracle,
        "space": [] if config.tune.space is None else list(config.tune.space.given),
        "best": search.best,
        "coefficients": coefficient_paths(search.trials),
        "trials": [_told(trial) for trial in search.trials],
    }
    return Outcome((row,), details, tuple(dict.fromkeys(search.parents)))


def _told(trial: dict[str, Any]) -> dict[str, Any]:
    """A trial without the weights of its features: the paths hold those that are drawn."""
    weights = trial.get("weights")
    if weights is None:
        return trial
    return trial | {"weights": {name: weights[name] for name in ("count", "zeros")}}

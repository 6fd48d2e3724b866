"""Stage search: one trained model -> the smallest compressed one that meets the config's target.

Every candidate is a chain of the stages `prune` and `convert` under another config, run as trials: artifacts like any
other, so that a killed or a wider search repeats none that is finished.
"""

from __future__ import annotations

import math
import shutil
from collections import deque
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from data.contract import ConfigError, ConversionError, TrainingError
from data.dataset import Dataset
from models.compression_config import (
    AwareConfig,
    ClusterConfig,
    ConvertConfig,
    PruneConfig,
    QuantizeConfig,
    SearchConfig,
)
from models.legacy_keras import use_determinism
from models.tasks import Task
from models.training import predict
from pipeline.artifacts import SavedModel
from pipeline.candidates import (
    SPARSITY_STEP,
    Candidate,
    Trial,
    alike,
    aware_section,
    cluster_section,
    excess,
    file_bytes,
    front,
    named,
    prune_section,
)
from pipeline.config import TargetConfig
from pipeline.lessons import validation
from pipeline.search_oracle import CompressionOracle
from pipeline.targets import judge
from pipeline.trials import Pending, Source, Step, TrialLostError
from pipeline.workspace import Outcome, Workspace

TRIED_STAGES = (
    "pipeline.stages.prune", "pipeline.stages.cluster", "pipeline.stages.quantize", "pipeline.stages.convert",
)  # fmt: skip
"""Modules that candidates run: named here, their code is in the key of the search."""

DEFAULT_MAX_SCORE_DROP = 0.01
"""Where the target names no score: how far it may fall. The smallest model of all knows nothing."""

if TYPE_CHECKING:
    from pipeline.store import Artifact


@dataclass(frozen=True)
class Inputs:
    """What the stage takes: the rows, and the model before any compression."""

    dataset: Dataset
    dense: SavedModel


@dataclass(frozen=True)
class Config:
    """Sections of the config that are read; `prune`, `cluster` and `aware` say what all candidates share."""

    search: SearchConfig
    prune: PruneConfig | None
    cluster: ClusterConfig | None
    aware: AwareConfig | None
    convert: ConvertConfig
    target: TargetConfig


def search(inputs: Inputs, config: Config, workspace: Workspace) -> Outcome:
    """Looks at candidates, the cheap way first, and hands over the smallest that meets the target; else the nearest.

    Raises:
        ConfigError: no candidate could be made at all.
    """
    use_determinism(workspace.seed_for("search"))
    task = inputs.dense.record.as_task()
    run = _Search(inputs, config, workspace, task, _dense_score(inputs, task))
    run.look_at_all()
    done = [trial for trial in run.trials if trial.state == "done"]
    if not done:
        raise ConfigError("search: expected one candidate or more that can be made, got none. See the notes above.")
    best = min(done, key=lambda trial: trial.rank)
    return run.outcome(best)


def _dense_score(inputs: Inputs, task: Task) -> float:
    x, y = validation(inputs.dataset, task)
    return task.score(y, predict(inputs.dense.load(), x))


@dataclass(frozen=True)
class _Out:
    """A candidate that is out."""

    candidate: Candidate
    pending: Pending


class _Search:
    """The search as it goes: what was tried, and what is tried next."""

    def __init__(self, inputs: Inputs, config: Config, workspace: Workspace, task: Task, dense_score: float) -> None:
        self.inputs, self.config, self.workspace, self.task = inputs, config, workspace, task
        self.dense_score = dense_score
        self.trials: list[Trial] = []
        target = config.target
        self.held_drop: float | None = None
        if target.max_score_drop is None and target.min_score is None:
            self.held_drop = DEFAULT_MAX_SCORE_DROP
            target = target.model_copy(update={"max_score_drop": self.held_drop})
            workspace.progress.note(
                f"search: target names no score; the smallest model is sought whose validation {task.metric} is at "
                f"most {self.held_drop:g} below the dense model's (set target.max_score_drop to choose)"
            )
        self.target = target
        # One at a time where latency decides: a machine that does other work meanwhile would time them wrongly.
        self.at_once = config.search.candidates if target.max_latency_us is None else 1

    def look_at_all(self) -> None:
        """The dense model first, then what the oracle asks for, then the best chain at other sparsities."""
        self._look([Candidate("none", "global", 0.0, precision, "full") for precision in self.config.search.precision])
        self._look_as_asked()
        for _ in range(self.config.search.refinements):
            refined = self._refinement()
            if refined is None:
                break
            self._look([refined])

    def _look_as_asked(self) -> None:
        """All candidates of a round are out at once; the oracle is told of them in the order it asked for them."""
        search = self.config.search
        oracle = CompressionOracle(search, self.workspace.seed_for("search", "oracle"))
        out: deque[tuple[Any, _Out]] = deque()
        put_out = 0
        while True:
            while put_out < search.candidates and len(out) < self.at_once and (asked := oracle.ask()) is not None:
                put_out += 1
                out.append((asked[1], self._put_out(asked[0], len(self.trials) + len(out))))
            if not out:
                return
            handle, candidate = out.popleft()
            oracle.tell(handle, self._merit(self._ended(candidate)))

    def _refinement(self) -> Candidate | None:
        """The best chain at a sparsity between the highest that meets the target and the next that does not.

        None where the two are a step apart.
        """
        pruned = [each for each in self.trials if each.state == "done" and each.candidate.changed]
        whole = [trial for trial in pruned if trial.candidate.look == "full" and trial.candidate.sparsity > 0]
        if not whole:
            best = max(pruned, key=lambda trial: self._merit(trial) or 0.0, default=None)
            return None if best is None else replace(best.candidate, look="full")
        family = min(whole, key=lambda trial: trial.rank).candidate
        tried = {each.candidate.sparsity: each.met for each in whole if alike(each.candidate, family)}
        low = max(
            (sparsity for sparsity, met in tried.items() if met),
            default=self.config.search.min_sparsity - SPARSITY_STEP,
        )
        beyond = self.config.search.max_sparsity + SPARSITY_STEP
        high = min((sparsity for sparsity, met in tried.items() if not met and sparsity > low), default=beyond)
        between = round(round((low + high) / 2 / SPARSITY_STEP) * SPARSITY_STEP, 4)
        return replace(family, sparsity=between) if low < between < high and between not in tried else None

    def _merit(self, trial: Trial) -> float | None:
        """Halvings of the size, less what the score lacks; None where the trial failed."""
        if trial.state != "done":
            return None
        lacking = sum(excess(target) for target in trial.targets if "score" in target["name"])
        largest = max(float(each.measured["max_model_bytes"] or 1) for each in self.trials if each.state == "done")
        return math.log2(largest / float(trial.measured["max_model_bytes"] or 1)) - lacking

    def _look(self, candidates: list[Candidate]) -> None:
        """Makes candidates, measures them and keeps what was found."""
        for start in range(0, len(candidates), self.at_once):
            first = len(self.trials)
            chosen = candidates[start : start + self.at_once]
            for each in [self._put_out(candidate, first + place) for place, candidate in enumerate(chosen)]:
                self._ended(each)

    def _put_out(self, candidate: Candidate, number: int) -> _Out:
        return _Out(candidate, self.workspace.trials.start(self._steps(candidate), f"candidate {number}"))

    def _ended(self, out: _Out) -> Trial:
        """Waits for a candidate, measures it and keeps what was found."""
        try:
            made = out.pending.result()
            trial = replace(self._measured(out.candidate, made.artifacts), losses=made.losses)
        except (ConfigError, ConversionError, TrainingError, TrialLostError) as error:
            self.workspace.progress.note(f"search: {named(out.candidate)} failed: {error}")
            trial = Trial(out.candidate, cause=str(error))
        self.trials.append(trial)
        figures: dict[str, float | str] = {"candidate": named(out.candidate), "state": trial.state}
        if trial.state == "done":
            figures |= {self.task.metric: float(trial.measured["min_score"] or 0), "bytes": file_bytes(trial)}
        total = self.config.search.candidates + len(self.config.search.precision) + self.config.search.refinements
        self.workspace.progress.step("search", len(self.trials), max(total, len(self.trials)), figures)
        self.workspace.checkpoints("candidates").save({}, {"resumes_at": f"candidate {len(self.trials)}"})
        return trial

    def _steps(self, candidate: Candidate, *, final: bool = False) -> list[Step]:
        """The candidate's stages; `final`: with every variant that the config asks for."""
        config = self.config
        steps: list[Step] = []
        short_epochs = config.search.short_epochs

        def add(stage: str, model_role: str | None, sections: dict[str, Any]) -> None:
            roles: dict[str, Source] = {"dataset": "dataset"}
            roles |= {"dense": "dense"} if stage != "convert" else {}
            roles |= {} if model_role is None else {model_role: len(steps) - 1 if steps else "dense"}
            steps.append(Step(stage, roles, sections))

        if candidate.unit != "none":
            add("prune", None, {"prune": prune_section(candidate, config.prune, short_epochs)})
        if candidate.clusters:
            add("cluster", "pruned", {"cluster": cluster_section(candidate, config.cluster, short_epochs)})
        aware = aware_section(candidate, config.aware, short_epochs)
        if aware is not None:
            rows = config.convert.calibration_rows
            add("quantize", "clustered", {"quantize.aware": aware, "convert.calibration_rows": rows})
        bits = QuantizeConfig(precision=candidate.precision, encoding=candidate.encoding, aware=aware)
        variants = config.convert.variants if final else (bits.variant,)
        sections = {
            "quantize": None if candidate.precision == "float32" else bits,
            "convert": config.convert.model_copy(update={"variants": variants}),
            "target.max_arena_bytes": config.target.max_arena_bytes,
        }
        add("convert", "model", sections)
        return steps

    def _measured(self, candidate: Candidate, chain: tuple[Artifact, ...]) -> Trial:
        details = chain[-1].manifest.details
        variant = next(each for each in details["variants"] if each["precision"] == details["chosen"])
        measured: dict[str, float | None] = {
            "max_score_drop": self.dense_score - variant["score"],
            "min_score": variant["score"],
            "max_model_bytes": variant["bytes"],
            "max_gzip_bytes": variant["gzip_bytes"],
            "max_arena_bytes": variant["arena_bytes"],
            "max_latency_us": variant["latency_us"],
        }
        return Trial(candidate, measured, tuple(judge(self.target, measured)), chain, "done")

    def outcome(self, best: Trial) -> Outcome:
        """Writes the best model and its variants into the stage's output."""
        chain = self.workspace.trials.start(self._steps(best.candidate, final=True), "the chosen").result().artifacts
        made = chain[-2] if len(chain) > 1 else None
        model = self.inputs.dense if made is None else SavedModel.open(made.folder, made.manifest.stage)
        model.copy_to(self.workspace.output)
        for path in sorted(chain[-1].folder.glob("*.tflite")):
            shutil.copyfile(path, self.workspace.output / path.name)
        rows = tuple(row for artifact in chain for row in artifact.manifest.ledger)
        parents = [artifact for trial in self.trials for artifact in trial.chain] + list(chain)
        details = {
            "chosen": chain[-1].manifest.details["chosen"],
            "metric": self.task.metric,
            "dense_score": self.dense_score,
            "met": best.met,
            "held_drop": self.held_drop,
            "best": self.trials.index(best),
            "trials": [_told(trial) for trial in self.trials],
            "front": front(self.trials),
            "chain": [_record(artifact) for artifact in chain],
        }
        keys = tuple(dict.fromkeys((each.manifest.stage, each.manifest.key) for each in parents))
        return Outcome(rows, details, keys)


def _told(trial: Trial) -> dict[str, Any]:
    missed = [target["name"] for target in trial.targets if not target["met"]]
    told = {**asdict(trial.candidate), "state": trial.state, "met": trial.met, "missed": missed, **trial.measured}
    told |= {} if trial.cause is None else {"cause": trial.cause}
    return told | ({"losses": list(trial.losses)} if trial.losses else {})


def _record(artifact: Artifact) -> dict[str, Any]:
    manifest = artifact.manifest
    return {
        "stage": manifest.stage,
        "key": manifest.key,
        "seconds": manifest.seconds,
        "config": manifest.parts["config"],
        "details": manifest.details,
    }

"""Executes a plan: loads the inputs of each stage, calls it, and commits what it made."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from data.contract import ConfigError, DataError, PenjingError, Progress
from pipeline.built_checks import check_built
from pipeline.code_memory import CodeMemory
from pipeline.config import RunConfig
from pipeline.executors.handle import Setup
from pipeline.executors.placement import LocalPlacement, Placement
from pipeline.executors.pooled import Engine, PooledTrials
from pipeline.executors.serial import SerialTrials
from pipeline.executors.steps import PlannedStep
from pipeline.executors.team import Team
from pipeline.lineage import load_role, refuse_planted_models
from pipeline.planner import Plan, PlannedStage, Scope, check_start, stage_key
from pipeline.refusals import explained
from pipeline.remote.addresses import localized, telling_urls
from pipeline.source_digest import raw_digest
from pipeline.stages.catalog import STAGES, Stage
from pipeline.store import Artifact, Manifest, Store
from pipeline.trials import Step, Trials
from pipeline.workspace import Outcome, Workspace

_STAGES = {stage.name: stage for stage in STAGES}


class Listener(Progress, Protocol):
    """Who is told of a run: progress within stages, and their beginnings and ends."""

    def begin(self, planned: PlannedStage) -> None:
        """A stage starts to run."""

    def end(self, planned: PlannedStage, artifact: Artifact, cached: bool) -> None:
        """A stage's artifact is there."""


class StageError(PenjingError):
    """A stage ended in an error; says which one, and keeps the error's own exit code."""

    def __init__(self, stage: str, cause: PenjingError) -> None:
        super().__init__(str(cause))
        self.stage = stage
        self.exit_code = cause.exit_code  # type: ignore[misc]  # each instance passes on its cause's code


@dataclass
class Runner:
    """Makes artifacts, or finds them.

    Args:
        store: where they are kept.
        listener: who is told.
        seed: the run's seed.
        engine: where trials run; in this process where None. Whoever made it closes it.
        placement: where the workers of one training run; where None, the engine says so, or it is this machine.
        clock: seconds, monotonic.
    """

    store: Store
    listener: Listener
    seed: int
    engine: Engine | None = None
    placement: Placement | None = None
    clock: Callable[[], float] = time.monotonic
    _verified: dict[tuple[str, str], Artifact] = field(default_factory=dict)
    _usable: set[tuple[str, str]] = field(default_factory=set)
    _current: set[tuple[str, str]] = field(default_factory=set)
    _code: CodeMemory = field(init=False)
    _memory: Path = field(init=False)

    def __post_init__(self) -> None:
        self._memory = self.store.root / ".memory" / "sources.json"
        self._code = CodeMemory(self.store.root)

    def execute(self, plan: Plan, scope: Scope) -> dict[str, tuple[Artifact, bool]]:
        """Runs what is not cached, in order.

        Args:
            plan: what to run.
            scope: the same that the plan was made with.

        Returns:
            Stage name -> (artifact, whether it was there already), for every stage of the plan.

        Raises:
            StageError: a stage raised, the data lacks what the config names, or a user's network that was built cannot
                go through a later stage; the stages before it are kept.
            ConfigError: a stage before `scope.first` is not in the store.
        """
        check_start(plan, scope)
        self._set_aside_forced(plan)
        self._current.update((planned.stage.name, planned.key) for planned in plan.stages)
        made: dict[str, tuple[Artifact, bool]] = {}
        for planned in plan.stages:
            try:
                made[planned.stage.name] = self._planned(planned)
                if planned.stage.name == "ingest":
                    _check_against_data(plan.config, made["ingest"][0])
                if planned.stage.name == "build":
                    check_built(plan, partial(self._input, "build", planned.key))
            except PenjingError as error:
                raise StageError(planned.stage.name, error) from error
        return made

    def _set_aside_forced(self, plan: Plan) -> None:
        for planned in reversed(plan.stages):
            again = planned.reason in ("forced", "its gate failed last time")
            if again and self.store.folder(planned.stage.name, planned.key).exists():
                self.store.set_aside(planned.stage.name, planned.key)

    def _planned(self, planned: PlannedStage) -> tuple[Artifact, bool]:
        stage, key = planned.stage, planned.key
        found = self._find(stage.name, key)
        if found is None:
            with self.store.lock(stage.name, key):
                found = self._find(stage.name, key)
                if found is None:
                    self.listener.begin(planned)
                    if planned.reason == "forced":  # from its beginning, not from where a run before was killed
                        self.store.discard_scratch(stage.name, key)
                    again = planned.reason == "forced"
                    artifact = self._make(stage, key, planned.parts, planned.config, planned.inputs, again=again)
                    self.listener.end(planned, artifact, False)
                    return artifact, False
        self.listener.end(planned, found, True)
        return found, True

    def _trials(self, inputs: Mapping[str, tuple[str, str]], *, again: bool) -> Trials:
        """What runs the trials of a stage; `again`: what earlier runs made of them is not taken from the store."""
        plan, engine = partial(self._planned_steps, inputs=inputs, again=again), self.engine
        return SerialTrials(plan, self.make_step) if engine is None else PooledTrials(engine, plan, self.usable)

    def _planned_steps(
        self, steps: Sequence[Step], inputs: Mapping[str, tuple[str, str]], *, again: bool
    ) -> tuple[PlannedStep, ...]:
        """Computes the keys of a trial; `inputs`: role -> (stage, key) of the stage that asks."""
        planned: list[PlannedStep] = []
        for step in steps:
            stage = _STAGES[step.stage]
            sources = {
                role: inputs[source] if isinstance(source, str)
                else planned[source].artifact if isinstance(source, int)
                else source
                for role, source in step.roles.items()
            }  # fmt: skip
            raw = raw_digest(stage.reads, step.config, self._memory)
            key, parts = stage_key(stage, step.config, sources, self.seed, raw, self._code.parts(stage.module))
            planned.append(PlannedStep(stage.name, key, parts, step.config, sources))
            self._count_as_current(stage.name, key, again=again)
        return tuple(planned)

    def _count_as_current(self, stage: str, key: str, *, again: bool) -> None:
        """Takes note that this run uses an artifact; `again`: what an earlier run made of it is set aside first."""
        if again and (stage, key) not in self._current:
            with self.store.lock(stage, key):
                self.store.set_aside(stage, key)
                self.store.discard_scratch(stage, key)
            if self.engine is not None:
                self.engine.passage.forget(stage, key)
            self._verified.pop((stage, key), None)
        self._current.add((stage, key))

    def make_step(self, planned: PlannedStep, begun: Callable[[], object] = lambda: None) -> Artifact:
        """Makes the artifact of a trial's step, or finds it.

        Args:
            planned: the step.
            begun: called once nobody else is making it.

        Raises:
            PenjingError: what the stage raised.
        """
        with self.store.lock(planned.stage, planned.key):
            begun()
            found = self.usable(planned.stage, planned.key)
            if found is not None:
                return found
            stage = _STAGES[planned.stage]
            return self._make(stage, planned.key, planned.parts, planned.config, planned.inputs, again=False)

    def _find(self, stage: str, key: str) -> Artifact | None:
        """Finds an artifact, verified once a run."""
        if (stage, key) not in self._verified:
            found = self.store.find(stage, key)
            if found is None:
                return None
            self._verified[stage, key] = found
        return self._verified[stage, key]

    def _make(
        self,
        stage: Stage,
        key: str,
        parts: dict[str, Any],
        config: Mapping[str, Any],
        inputs: Mapping[str, tuple[str, str]],
        *,
        again: bool,
    ) -> Artifact:
        """Calls a stage and commits its outcome; `again`: its trials are not taken from the store either."""
        module = import_module(stage.module)
        self._check_code(stage, parts)
        started = self.clock()
        staging = self.store.stage_folder(stage.name, key)
        scratch = self.store.scratch(stage.name, key)
        step = PlannedStep(stage.name, key, parts, config, dict(inputs))
        workspace = Workspace(
            output=staging,
            scratch=scratch,
            seed=self.seed,
            progress=self.listener,
            trials=self._trials(inputs, again=again),
            spread=None if self.engine is None else self.engine.spread,
            team=Team(self._placement(), Setup(self.store.root, self.seed), step, scratch, self.listener),
        )
        loaded = {role: load_role(self.store, role, self._input(*source)) for role, source in inputs.items()}
        with explained(staging), telling_urls(config, self.store.root):
            read = localized(config, stage.reads, self.store.root)
            asked = module.Config(**{name.rpartition(".")[2]: value for name, value in read.items()})
            outcome: Outcome = getattr(module, stage.name)(module.Inputs(**loaded), asked, workspace)
        self._check_source(stage, config, parts["source"])
        seconds = round(self.clock() - started, 3)
        # Rows of trials that a stage hands on bring their own.
        ledger = [row.model_copy(update={"seconds": row.seconds or seconds}) for row in outcome.ledger[:1]]
        manifest = Manifest(
            stage=stage.name,
            key=key,
            parts=parts,
            parents=(*inputs.values(), *outcome.parents),
            files={},
            ledger=(*ledger, *outcome.ledger[1:]),
            details=dict(outcome.details),
            seconds=seconds,
        )
        artifact = self.store.commit(staging, manifest)
        self._verified[stage.name, key] = artifact
        return artifact

    def _placement(self) -> Placement:
        """Where the workers of one training run."""
        if self.placement is not None:
            return self.placement
        lent = None if self.engine is None else self.engine.placement
        return LocalPlacement() if lent is None else lent

    def _check_code(self, stage: Stage, parts: Mapping[str, Any]) -> None:
        """Refuses to run code under the key of other code: somebody edits while a run is on.

        Raises:
            PenjingError: the stage's code is not what it was when its key was computed.
        """
        now, planned = CodeMemory(self.store.root).parts(stage.module), parts["code"]
        changed = sorted(name for name in now.keys() | planned.keys() if now.get(name) != planned.get(name))
        if changed:
            raise PenjingError(
                f"code.{stage.name}: expected the code that the run was planned with, "
                f"got changes in {', '.join(changed[:3])}. Start the run again."
            )

    def _check_source(self, stage: Stage, config: Mapping[str, Any], planned: str | None) -> None:
        """Refuses to keep rows under the digest of other rows: somebody writes the data, or a model, while it is read.

        Raises:
            DataError: the raw data is not what it was when the run was planned.
            ConfigError: a user's model or its code is not.
        """
        if raw_digest(stage.reads, config, self._memory) == planned:
            return
        if stage.reads == "data":
            raise DataError(
                "data: expected raw data that nobody changes while it is read, got other bytes than at the start of "
                "the run. Start it again."
            )
        raise ConfigError(
            "model: expected a model that nobody changes while it is read, got another than at the start of the run. "
            "Start it again."
        )

    def usable(self, stage: str, key: str) -> Artifact | None:
        """Finds an artifact whose models may be loaded.

        Raises:
            StoreError: one of them would run code as it is loaded.
        """
        found = self._find(stage, key)
        if found is not None and (stage, key) not in self._usable:
            refuse_planted_models(self.store, found)
            self._usable.add((stage, key))
        return found

    def _input(self, stage: str, key: str) -> Artifact:
        found = self.usable(stage, key)
        if found is None:
            raise PenjingError(f"store.{stage}: expected {key[:12]} to be whole, got none. Start the run again.")
        return found


def _check_against_data(config: RunConfig, artifact: Artifact) -> None:
    """See `data_checks`; the rows are opened only where a config has something to ask of them."""
    weights, clustering = config.train.class_weights, config.clustering
    if weights is None and clustering is None:
        return
    from data.dataset import Dataset
    from pipeline.data_checks import check_against_data

    check_against_data(weights, clustering, Dataset.open(artifact.folder))

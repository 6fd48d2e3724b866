"""Trials in a pool of workers: those whose artifacts are there already need none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from data.contract import PenjingError
from data.parallel import Spread
from pipeline.executors.placement import Placement
from pipeline.executors.pool import Job, WorkerPool
from pipeline.executors.steps import PlannedStep
from pipeline.store import Artifact
from pipeline.trials import Made, Step


class Passage(Protocol):
    """How artifacts pass between the run's store and where its workers are."""

    def send(self, artifacts: Iterable[Artifact]) -> None:
        """Lets workers have what trials are made from."""

    def bring(self, stage: str, key: str) -> None:
        """Puts an artifact that a worker made into the run's store, if there is such a one."""

    def forget(self, stage: str, key: str) -> None:
        """Lets no worker find what was made of an artifact earlier; it is to be made again."""


class SharedFolder:
    """Workers write into the run's own store: there is nothing to pass on; see `Passage`."""

    def send(self, artifacts: Iterable[Artifact]) -> None:
        """Does nothing; see `Passage.send`."""

    def bring(self, stage: str, key: str) -> None:
        """Does nothing; see `Passage.bring`."""

    def forget(self, stage: str, key: str) -> None:
        """Does nothing; see `Passage.forget`."""


@dataclass(frozen=True)
class Engine:
    """Where the trials of a run are made, and its training where that has several workers.

    Attributes:
        pool: the workers.
        passage: how artifacts get to them and back.
        spread: has files read there; None: the run's own process reads them.
        placement: of the workers of one training; None: this machine.
    """

    pool: WorkerPool
    passage: Passage
    spread: Spread | None = None
    placement: Placement | None = None


@dataclass(frozen=True)
class PooledTrials:
    """Runs trials in a pool; see `pipeline.trials.Trials`.

    Attributes:
        engine: the workers, and how artifacts get to them.
        plan: computes the keys of a trial's steps.
        find: the artifact of (stage, key) in the store, verified; None where it is not there.
    """

    engine: Engine
    plan: Callable[[Sequence[Step]], tuple[PlannedStep, ...]]
    find: Callable[[str, str], Artifact | None]

    def start(self, steps: Sequence[Step], label: str) -> PooledTrial:
        """Puts a trial out; one whose artifacts are all there needs no worker."""
        planned = self.plan(steps)
        if all(self.brought(each) is not None for each in planned):
            return PooledTrial(self, planned, None)
        made_on_the_way = {each.artifact for each in planned}
        needed = {source for each in planned for source in each.inputs.values()} - made_on_the_way
        found = [self.find(*each) for each in sorted(needed)]
        self.engine.passage.send(each for each in found if each is not None)
        return PooledTrial(self, planned, self.engine.pool.submit(planned, label))

    def brought(self, step: PlannedStep) -> Artifact | None:
        """Finds the artifact of a step in the store, or where workers bring what they made."""
        found = self.find(*step.artifact)
        if found is None:
            self.engine.passage.bring(*step.artifact)
            found = self.find(*step.artifact)
        return found


@dataclass(frozen=True)
class PooledTrial:
    """A trial that is out; see `pipeline.trials.Pending`."""

    trials: PooledTrials
    steps: tuple[PlannedStep, ...]
    job: Job | None

    def result(self) -> Made:
        """Waits for the trial's end; see `Pending.result`."""
        if self.job is not None:
            self.trials.engine.pool.finish(self.job)
            if self.job.error is not None:
                raise self.job.error
        found = [self.trials.brought(each) for each in self.steps]
        artifacts = tuple(each for each in found if each is not None)
        if len(artifacts) < len(self.steps):
            raise PenjingError("store: expected what a trial made to stay, got it gone. Start the run again.")
        return Made(artifacts, () if self.job is None else tuple(self.job.losses))

"""Trials in worker processes of this machine: who works at which, and what becomes of those whose worker is lost.

A worker writes artifacts into the store, as the run itself would; it is told of a trial, and tells how far it is,
over a socket that it inherits. Results do not depend on how many workers there are: which trials are out, and in
which order they are told to an oracle, is the asking stage's affair.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import data.contract
from data.contract import PenjingError, Progress
from pipeline.config import EngineConfig
from pipeline.executors.process import Loss, Setup, WorkerProcess
from pipeline.executors.steps import PlannedStep
from pipeline.store import Artifact
from pipeline.trials import Made, Step, TrialLostError

ATTEMPTS = 2
"""How often a trial is tried whose process is lost."""

_GLANCE_SECONDS = 1.0
"""How often workers that say nothing are looked at."""


@dataclass
class Job:
    """A trial that a pool works at.

    Attributes:
        label: what a user knows it by.
        steps: what is to be made.
        losses: what became of processes that worked at it: ends of sentences that begin with them.
        alone: it runs while nothing else does, since its process was killed as by a system short of memory.
        error: what ended it; None while it is not, and where all went well.
        done: whether it has come to its end.
    """

    label: str
    steps: tuple[PlannedStep, ...]
    losses: list[str] = field(default_factory=list)
    alone: bool = False
    error: PenjingError | None = None
    done: bool = False

    def meets(self, other: Job) -> bool:
        """Whether both need an artifact that is made but once."""
        return not {each.artifact for each in self.steps}.isdisjoint(each.artifact for each in other.steps)


class WorkerPool:
    """Processes that run trials; started when there is something to do, and not before.

    Args:
        setup: what each is started with, its cores left out.
        shares: cores of each process; as many processes at a time.
        silence_seconds: a worker that says nothing for so long is hung; None waits for ever.
        progress: told what they tell, and of those that are lost.
        start: starts a process.
    """

    def __init__(
        self,
        setup: Setup,
        shares: Sequence[tuple[int, ...]],
        silence_seconds: float | None,
        progress: Progress,
        start: Callable[[Setup], WorkerProcess] = WorkerProcess,
    ) -> None:
        self._start = start
        self._setup, self._shares, self._silence, self._progress = setup, list(shares), silence_seconds, progress
        self._waiting: list[Job] = []
        self._workers: dict[WorkerProcess, Job | None] = {}
        self._failed_starts = 0

    def submit(self, steps: tuple[PlannedStep, ...], label: str) -> Job:
        """Puts a trial into the queue, and to work where a process is free."""
        job = Job(label, steps)
        self._waiting.append(job)
        self._hand_out()
        return job

    def finish(self, job: Job) -> None:
        """Listens to all processes until a trial has come to its end.

        Raises:
            PenjingError: no process can be started.
        """
        while not job.done:
            self._hand_out()
            by_connection = {worker.connection: worker for worker in self._workers}
            for connection in wait(list(by_connection), timeout=_GLANCE_SECONDS):
                self._hear(by_connection[connection])  # type: ignore[index]  # what was waited for
            for worker in [each for each in self._workers if each.is_silent(self._silence)]:
                worker.end()
                self._lose(worker, Loss(f"showed no progress for {self._silence:g} s"))

    def close(self) -> None:
        """Ends all processes, whatever they are at: what they keep survives that."""
        for worker in self._workers:
            worker.end()
        self._workers.clear()

    def _hand_out(self) -> None:
        """Gives trials to free processes, and starts processes while there are trials without one."""
        while (job := self._next()) is not None:
            free = next((each for each, its in self._workers.items() if its is None), None)
            if free is None and not self._shares:
                return
            worker = self._start(replace(self._setup, cores=self._shares.pop(0))) if free is None else free
            self._waiting.remove(job)
            self._workers[worker] = job
            worker.give(job.steps)

    def _next(self) -> Job | None:
        """The first trial that may run beside those that do; one that needs what another is making would only wait."""
        running = [job for job in self._workers.values() if job is not None]
        if not self._waiting or any(job.alone for job in running):
            return None
        if self._waiting[0].alone:
            return None if running else self._waiting[0]
        return next((job for job in self._waiting if not any(map(job.meets, running))), None)

    def _hear(self, worker: WorkerProcess) -> None:
        """Takes one message of a worker."""
        message = worker.hear()
        if message is None:
            self._lose(worker, worker.gone())
            return
        job, (word, *told) = self._workers[worker], message
        if word == "ready":
            self._failed_starts = 0
        elif job is not None and word == "step":
            label, done, total, figures = told
            self._progress.step(f"{job.label}: {label}", done, total, figures)
        elif job is not None and word == "note":
            self._progress.note(f"{job.label}: {told[0]}")
        elif job is not None and word in ("made", "refused"):
            self._workers[worker] = None
            job.done, job.error = True, _error(*told) if word == "refused" else None

    def _lose(self, worker: WorkerProcess, loss: Loss) -> None:
        """Takes a process that is no more off the list, and has its trial tried once more."""
        job = self._workers.pop(worker)
        self._shares.append(worker.setup.cores)
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts >= ATTEMPTS:
                raise PenjingError(
                    f"engine.workers: expected processes that start, got one that {loss.cause}. See run.log; take the "
                    "section engine out to run trials in the process of the run itself."
                )
        elif job is not None:
            job.losses.append(loss.cause)
            job.alone = loss.killed
        if job is None:
            return
        if len(job.losses) < ATTEMPTS:
            self._waiting.insert(0, job)
            self._progress.note(f"{job.label}: its process {loss.cause}; it is tried once more")
        else:
            job.error = TrialLostError(
                f"engine: expected a process that comes to its end, got two that did not: the first {job.losses[0]}; "
                f"the second {job.losses[1]}."
            )
            job.done = True


@dataclass(frozen=True)
class LocalTrials:
    """Runs trials in a pool; see `pipeline.trials.Trials`.

    Attributes:
        pool: the processes.
        plan: computes the keys of a trial's steps.
        find: the artifact of (stage, key) in the store, verified; None where it is not there.
    """

    pool: WorkerPool
    plan: Callable[[Sequence[Step]], tuple[PlannedStep, ...]]
    find: Callable[[str, str], Artifact | None]

    def start(self, steps: Sequence[Step], label: str) -> LocalTrial:
        """Puts a trial out; one whose artifacts are all there needs no process."""
        planned = self.plan(steps)
        known = all(self.find(*each.artifact) is not None for each in planned)
        return LocalTrial(self, planned, None if known else self.pool.submit(planned, label))


@dataclass(frozen=True)
class LocalTrial:
    """A trial that is out; see `pipeline.trials.Pending`."""

    trials: LocalTrials
    steps: tuple[PlannedStep, ...]
    job: Job | None

    def result(self) -> Made:
        """Waits for the trial's end; see `Pending.result`."""
        if self.job is not None:
            self.trials.pool.finish(self.job)
            if self.job.error is not None:
                raise self.job.error
        found = [self.trials.find(*each.artifact) for each in self.steps]
        artifacts = tuple(each for each in found if each is not None)
        if len(artifacts) < len(self.steps):
            raise PenjingError("store: expected what a trial made to stay, got it gone. Start the run again.")
        return Made(artifacts, () if self.job is None else tuple(self.job.losses))


def _error(name: str, text: str) -> PenjingError:
    """The error that a worker met, of its own class."""
    kind: Any = getattr(data.contract, name, PenjingError)
    error: PenjingError = kind(text)
    return error


def shares_of(engine: EngineConfig, most_at_once: int, cores: Sequence[int]) -> list[tuple[int, ...]]:
    """Divides the cores among as many processes as an engine has.

    Args:
        engine: the section.
        most_at_once: trials that are out at a time, at most.
        cores: numbers of those that may be used.

    Returns:
        The cores of each process; empty for one that has all.

    Example:
        >>> shares_of(EngineConfig(workers=2), 8, range(5))
        [(0, 1), (2, 3, 4)]
    """
    count = len(cores)
    size = min(count, most_at_once) if engine.workers == "auto" else engine.workers
    if size == 1:
        return [()]
    if size >= count:
        return [(cores[number % count],) for number in range(size)]
    return [tuple(cores[number * count // size : (number + 1) * count // size]) for number in range(size)]


@contextmanager
def worker_pool(
    engine: EngineConfig | None, most_at_once: int, root: Path, seed: int, progress: Progress
) -> Iterator[WorkerPool | None]:
    """Lends a pool, and ends its processes whatever happens; None where there is no section `engine`.

    Args:
        engine: the section.
        most_at_once: trials that are out at a time, at most.
        root: folder of the store.
        seed: the run's seed.
        progress: told what workers tell.
    """
    if engine is None:
        yield None
        return
    cores = sorted(os.sched_getaffinity(0))
    pool = WorkerPool(Setup(root, seed), shares_of(engine, most_at_once, cores), engine.silence_seconds, progress)
    try:
        yield pool
    finally:
        pool.close()

"""Workers that make trials: who works at which, and what becomes of those whose worker is lost.

A worker is told of a trial, and tells how far it is. Results do not depend on how many workers there are: which trials
are out, and in which order they are told to an oracle, is the asking stage's affair.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import wait
from typing import Any

import data.contract
from data.contract import PenjingError, Progress
from pipeline.executors.handle import Loss, Setup, Worker
from pipeline.executors.steps import PlannedStep
from pipeline.trials import TrialLostError

ATTEMPTS = 2
"""How often a trial is tried whose process is lost."""

NODES = 5
"""How often a trial is tried whose machine is lost: it had no part in that, or else it ends them all."""

_NUMBERS = ("one", "two", "three", "four", "five", "six")
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")

_GLANCE_SECONDS = 1.0
"""How often workers that say nothing are looked at."""


@dataclass
class Job:
    """A trial that a pool works at.

    Attributes:
        label: what a user knows it by.
        steps: what is to be made.
        losses: what became of processes that worked at it: ends of sentences that begin with them.
        crashes: those of them that count as attempts.
        alone: it runs while nothing else does, since its process was killed as by a system short of memory.
        error: what ended it; None while it is not, and where all went well.
        done: whether it has come to its end.
    """

    label: str
    steps: tuple[PlannedStep, ...]
    losses: list[str] = field(default_factory=list)
    crashes: list[str] = field(default_factory=list)
    alone: bool = False
    error: PenjingError | None = None
    done: bool = False

    @property
    def given_up(self) -> bool:
        """Whether it is not tried any more."""
        return len(self.crashes) >= ATTEMPTS or len(self.losses) - len(self.crashes) >= NODES

    def meets(self, other: Job) -> bool:
        """Whether both need an artifact that is made but once."""
        return not {each.artifact for each in self.steps}.isdisjoint(each.artifact for each in other.steps)


class WorkerPool:
    """Workers that run trials; started when there is something to do, and not before.

    Args:
        setup: what each is started with, its cores left out.
        shares: cores of each worker; as many workers at a time.
        silence_seconds: a worker that says nothing for so long is hung; None waits for ever.
        progress: told what they tell, and of those that are lost.
        start: starts a worker.
    """

    def __init__(
        self,
        setup: Setup,
        shares: Sequence[tuple[int, ...]],
        silence_seconds: float | None,
        progress: Progress,
        start: Callable[[Setup], Worker],
    ) -> None:
        self._start = start
        self._setup, self._shares, self._silence, self._progress = setup, list(shares), silence_seconds, progress
        self._waiting: list[Job] = []
        self._workers: dict[Worker, Job | None] = {}
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
            for worker in list(self._workers):
                loss = worker.silence(self._silence) or worker.excess()
                if loss is not None:
                    worker.end()
                    self._lose(worker, loss)

    def close(self) -> None:
        """Ends all processes, whatever they are at: what they keep survives that."""
        for worker in self._workers:
            worker.end()
        self._workers.clear()

    def _hand_out(self) -> None:
        """Gives trials to workers that are ready for one, and starts as many as there are trials without one."""
        waiting = self._runnable()
        free = [each for each, its in self._workers.items() if its is None and each.ready]
        for job, worker in zip(waiting, free, strict=False):
            self._waiting.remove(job)
            self._workers[worker] = job
            worker.give(job.steps)
        starting = [each for each in self._workers if not each.ready]
        missing = len(waiting) - len(free) - len(starting)
        for _ in range(min(missing, len(self._shares))):
            self._workers[self._start(replace(self._setup, cores=self._shares.pop(0)))] = None
        # Nobody has begun to work at what is not placed yet, and somebody else may want the room.
        for worker in [each for each in starting if not each.placed][: max(0, -missing)]:
            del self._workers[worker]
            self._shares.append(worker.setup.cores)
            worker.end()

    def _runnable(self) -> list[Job]:
        """The trials that may run now beside those that do; one that needs what another is making would only wait."""
        running = [job for job in self._workers.values() if job is not None]
        if any(job.alone for job in running):
            return []
        if self._waiting and self._waiting[0].alone:
            return [] if running else self._waiting[:1]
        found: list[Job] = []
        for job in self._waiting:
            if not job.alone and not any(map(job.meets, [*running, *found])):
                found.append(job)
        return found

    def _hear(self, worker: Worker) -> None:
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

    def _lose(self, worker: Worker, loss: Loss) -> None:
        """Takes a worker that is no more off the list, and has its trial tried once more."""
        job = self._workers.pop(worker)
        self._shares.append(worker.setup.cores)
        if not worker.ready and not loss.node:
            self._failed_starts += 1
            if self._failed_starts >= ATTEMPTS:
                raise PenjingError(
                    f"engine.workers: expected processes that start, got one that {loss.cause}. See run.log; take the "
                    "section engine out to run trials in the process of the run itself."
                )
        if job is None:
            return
        job.losses.append(loss.cause)
        if not loss.node:
            job.crashes.append(loss.cause)
            job.alone = loss.killed
        if not job.given_up:
            self._waiting.insert(0, job)
            self._progress.note(f"{job.label}: its process {loss.cause}; it is tried once more")
        else:
            told = "; ".join(f"the {each} {cause}" for each, cause in zip(_ORDINALS, job.losses, strict=False))
            number = _NUMBERS[len(job.losses) - 1]
            job.error = TrialLostError(
                f"engine: expected a process that comes to its end, got {number} that did not: {told}."
            )
            job.done = True


def _error(name: str, text: str) -> PenjingError:
    """The error that a worker met, of its own class."""
    kind: Any = getattr(data.contract, name, PenjingError)
    error: PenjingError = kind(text)
    return error

"""One training on several worker processes: who starts them, and what becomes of it when one is lost.

All take the same steps at the same time (`models.replicas`), so none can go on without the others: where one is lost,
all are ended and start again from the last epoch that was kept. Which rows a worker is given depends on its number
alone, and so do the bits that come out.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Protocol

import data.contract
from data.contract import PenjingError, Progress, TrainingError
from pipeline.checkpoints import FileCheckpoints, resumption
from pipeline.executors.handle import Loss, Setup, Worker
from pipeline.executors.process import WorkerProcess
from pipeline.executors.steps import PlannedStep

LOSSES = 3
"""How often in a row workers may be lost without an epoch finished in between."""

SILENCE_SECONDS = 1800.0
"""A training that shows no progress for so long counts as hung."""

MEMBER = "pipeline.executors.member"
"""Module that a worker of a training runs."""

_GLANCE_SECONDS = 1.0


@dataclass(frozen=True)
class TeamStep(PlannedStep):
    """A worker's share in the training of a stage.

    Attributes:
        addresses: `host:port` of each worker; the first leads.
        index: this one's position among them.
        workers_here: how many of them share this machine and its GPUs.
    """

    addresses: tuple[str, ...]
    index: int
    workers_here: int


class Placement(Protocol):
    """Where the workers of a training run."""

    def start(self, setup: Setup, step: PlannedStep, count: int) -> Mapping[int, Worker]:
        """Starts the workers that are this process's to start, each with a `TeamStep` to work at.

        Args:
            setup: what each is started with, its cores left out.
            step: the stage that trains.
            count: workers of the training.

        Returns:
            Number of a worker -> its process.
        """


@dataclass(frozen=True)
class LocalPlacement:
    """All workers on this machine, each with a share of its cores; they meet at free ports of the loopback."""

    def start(self, setup: Setup, step: PlannedStep, count: int) -> Mapping[int, Worker]:
        """Starts all workers; see `Placement.start`."""
        addresses = tuple(f"127.0.0.1:{port}" for port in _free_ports(count))
        cores = sorted(os.sched_getaffinity(0))
        started: dict[int, Worker] = {}
        for index in range(count):
            its = Setup(setup.root, setup.seed, cores_of(index, count, cores))
            started[index] = member(its, step, addresses, index, workers_here=count)
        return started


@dataclass(frozen=True)
class ClusterPlacement:
    """One worker here; the others are started by the runs of other machines, which were told the same addresses.

    Attributes:
        addresses: `host:port` of each worker; the first leads.
        index: the one that is started here.
    """

    addresses: tuple[str, ...]
    index: int

    def start(self, setup: Setup, step: PlannedStep, count: int) -> Mapping[int, Worker]:  # noqa: ARG002 -- as many as there are addresses
        """Starts this machine's worker; see `Placement.start`."""
        return {self.index: member(setup, step, self.addresses, self.index, workers_here=1)}


def member(
    setup: Setup, step: PlannedStep, addresses: tuple[str, ...], index: int, *, workers_here: int
) -> WorkerProcess:
    """Starts one worker on this machine, and gives it its share."""
    worker = WorkerProcess(setup, MEMBER)
    share = TeamStep(step.stage, step.key, step.parts, step.config, step.inputs, addresses, index, workers_here)
    worker.give((share,))
    return worker


def cores_of(index: int, count: int, cores: Sequence[int]) -> tuple[int, ...]:
    """Returns the cores of one of several workers.

    Example:
        >>> [cores_of(index, 2, range(5)) for index in range(2)]
        [(0, 1), (2, 3, 4)]
    """
    if count >= len(cores):
        return (cores[index % len(cores)],)
    return tuple(cores[index * len(cores) // count : (index + 1) * len(cores) // count])


def _free_ports(count: int) -> list[int]:
    """Returns ports of the loopback that nobody listens at; all are held until the last is found."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@dataclass
class Losses:
    """Workers that were lost without an epoch finished in between.

    Attributes:
        name: of the training.
        reached: where it stood when the last one was lost, or at its start.
        causes: why they were lost.
    """

    name: str
    reached: str | None = None
    causes: list[str] = field(default_factory=list)

    def count(self, cause: str, reached: str | None) -> None:
        """Takes note of one more.

        Raises:
            TrainingError: it is one too many.
        """
        self.causes = [*self.causes, cause] if reached == self.reached else [cause]
        self.reached = reached
        if len(self.causes) >= LOSSES:
            raise TrainingError(
                f"{self.name}.workers: expected workers that come to the end of an epoch, got {len(self.causes)} "
                f"losses in a row: {'; '.join(self.causes)}. See run.log; what was finished is kept."
            )


@dataclass(frozen=True)
class Team:
    """The workers of the stage that is being made.

    Attributes:
        placement: where they run.
        setup: what each is started with.
        step: the stage.
        scratch: its folder for checkpoints; all workers see it.
        progress: told what the leading worker tells, and of those that are lost.
    """

    placement: Placement
    setup: Setup
    step: PlannedStep
    scratch: Path
    progress: Progress

    def train(self, name: str, count: int) -> None:
        """Has a training brought to its end; what it came to is in its checkpoints.

        Args:
            name: of its checkpoints.
            count: workers.

        Raises:
            TrainingError: workers were lost again and again without an epoch in between.
            PenjingError: what the training itself raised.
        """
        kept = FileCheckpoints(self.scratch / f"{name}.checkpoint")
        losses = Losses(name, resumption(self.scratch))
        while not is_finished(kept):
            lost = self.work(count)
            if lost is None:
                return
            if is_finished(kept):
                return  # it was lost on the way out
            reached = resumption(self.scratch)
            losses.count(lost, reached)
            self.progress.note(f"{name}: {lost}; all {count} start again at {reached or 'the beginning'}")

    def work(self, count: int, is_over: Callable[[], bool] = lambda: False) -> str | None:
        """Has workers train until the first of those that are started here is done, or one is lost.

        Args:
            count: workers of the training.
            is_over: asked now and then: whether nobody needs them any more.

        Returns:
            None where it is done, or over; else which one was lost, and why.

        Raises:
            PenjingError: what the training raised.
        """
        workers = self.placement.start(self.setup, self.step, count)
        try:
            return self._listen(workers, is_over)
        finally:
            for worker in workers.values():
                worker.end()

    def _listen(self, workers: Mapping[int, Worker], is_over: Callable[[], bool]) -> str | None:
        first = min(workers)
        numbers = {id(worker.connection): index for index, worker in workers.items()}
        while not is_over():
            lost: dict[int, Loss] = {}
            for connection in wait([worker.connection for worker in workers.values()], timeout=_GLANCE_SECONDS):
                index = numbers[id(connection)]
                message = workers[index].hear()
                if message is None:
                    lost[index] = workers[index].gone()
                elif message[0] == "made" and index == first:
                    return None
                else:
                    self._take(index, *message)
            hung = workers[first].silence(SILENCE_SECONDS) if first == 0 else None
            if hung is not None:
                lost[first] = hung
            if lost:
                # One that was killed takes the others along: it is the cause, whoever was heard first.
                index = min(lost, key=lambda each: (not lost[each].killed, each))
                return f"worker {index} {lost[index].cause}"
        return None

    def _take(self, index: int, word: str, *told: Any) -> None:
        """Takes a message; what is not the leading worker's is not told on."""
        if word == "refused":
            name, text = told
            kind: Any = getattr(data.contract, name, PenjingError)
            raise kind(text)
        if index == 0 and word == "step":
            self.progress.step(*told)
        elif index == 0 and word == "note":
            self.progress.note(*told)


def is_finished(kept: FileCheckpoints) -> bool:
    """Whether a training came to its end."""
    state = kept.state()
    return state is not None and state.get("stopped_by") is not None

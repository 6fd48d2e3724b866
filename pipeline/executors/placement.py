"""Where the workers of one training run, who starts them, and where they meet."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from pipeline.executors.handle import Setup, Worker
from pipeline.executors.process import WorkerProcess
from pipeline.executors.steps import PlannedStep

MEMBER = "pipeline.executors.member"
"""Module that a worker of a training runs."""


@dataclass(frozen=True)
class TeamStep(PlannedStep):
    """A worker's share in the training of a stage.

    Attributes:
        addresses: `host:port` of each worker; the first leads.
        index: this one's position among them.
        workers_here: how many of them share this machine and its GPUs.
        allow_code: whether layers may bring code along where the key of their model allows it.
    """

    addresses: tuple[str, ...]
    index: int
    workers_here: int
    allow_code: bool = True


class Placement(Protocol):
    """Where the workers of a training run."""

    def workers(self, setup: Setup, step: PlannedStep, count: int) -> AbstractContextManager[Mapping[int, Worker]]:
        """Lends the workers that are this process's to start, and ends them; each is given a `TeamStep` to work at.

        Args:
            setup: what each is started with, its cores left out.
            step: the stage that trains.
            count: workers of the training.

        Returns:
            Number of a worker -> what is known of it.
        """


@dataclass(frozen=True)
class LocalPlacement:
    """All workers on this machine, each with a share of its cores; they meet at free ports of the loopback."""

    @contextmanager
    def workers(self, setup: Setup, step: PlannedStep, count: int) -> Iterator[Mapping[int, Worker]]:
        """Lends all workers; see `Placement.workers`."""
        addresses = tuple(f"127.0.0.1:{port}" for port in _free_ports(count))
        cores = sorted(os.sched_getaffinity(0))
        started: dict[int, Worker] = {}
        try:
            for index in range(count):
                its = replace(setup, cores=cores_of(index, count, cores))
                started[index] = _member(its, share(step, addresses, index, workers_here=count))
            yield started
        finally:
            for worker in started.values():
                worker.end()


@dataclass(frozen=True)
class ClusterPlacement:
    """One worker here; the others are started by the runs of other machines, which were told the same addresses.

    Attributes:
        addresses: `host:port` of each worker; the first leads.
        index: the one that is started here.
        allow_code: as for `TeamStep`. A key says what it allows to who has computed it, and not to who has read it in
            the work directory.
    """

    addresses: tuple[str, ...]
    index: int
    allow_code: bool = True

    @contextmanager
    def workers(self, setup: Setup, step: PlannedStep, count: int) -> Iterator[Mapping[int, Worker]]:  # noqa: ARG002 -- as many as there are addresses
        """Lends this machine's worker; see `Placement.workers`."""
        its = replace(share(step, self.addresses, self.index, workers_here=1), allow_code=self.allow_code)
        worker = _member(setup, its)
        try:
            yield {self.index: worker}
        finally:
            worker.end()


def share(step: PlannedStep, addresses: tuple[str, ...], index: int, *, workers_here: int) -> TeamStep:
    """Returns the share of one worker in a step; the arguments are the attributes of `TeamStep`."""
    return TeamStep(step.stage, step.key, step.parts, step.config, step.inputs, addresses, index, workers_here)


def _member(setup: Setup, its: TeamStep) -> WorkerProcess:
    """Starts one worker on this machine, and gives it its share."""
    worker = WorkerProcess(setup, MEMBER)
    worker.give((its,))
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

"""One training on several worker processes: what becomes of it when one is lost.

All take the same steps at the same time (`models.replicas`), so none can go on without the others: where one is lost,
all are ended and start again from the last epoch that was kept. Which rows a worker is given depends on its number
alone, and so do the bits that come out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import data.contract
from data.contract import PenjingError, Progress, TrainingError
from pipeline.checkpoints import FileCheckpoints, resumption
from pipeline.executors.handle import Loss, Setup, Worker
from pipeline.executors.placement import Placement
from pipeline.executors.steps import PlannedStep

LOSSES = 3
"""How often in a row workers may be lost without an epoch finished in between."""

SILENCE_SECONDS = 1800.0
"""A training that shows no progress for so long counts as hung."""

_GLANCE_SECONDS = 1.0

_CAUSE_SECONDS = 10.0
"""How long is waited for the end of a worker that others have lost touch with."""


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


@dataclass
class Ends:
    """Workers of a training that came to an end, and which of them took the others along.

    Attributes:
        count: workers that are listened to.
        losses: number of one that is gone -> why.
        alone: numbers of those that said before that another was gone.
    """

    count: int
    losses: dict[int, Loss] = field(default_factory=dict)
    alone: set[int] = field(default_factory=set)
    _since: float | None = None

    def cause(self) -> str | None:
        """Returns what is to be told of a loss; None while there is none, or it may still turn out whose it was.

        A machine that is gone is known to be only after a while; what it did with the others says so at once.
        """
        if not self.losses:
            return None
        if self._since is None:
            self._since = time.monotonic()
        unsure = self.losses.keys() <= self.alone and len(self.losses) < self.count
        if unsure and time.monotonic() - self._since < _CAUSE_SECONDS:
            return None

        def by_guilt(index: int) -> tuple[bool, bool, int]:
            loss = self.losses[index]
            return index in self.alone, not (loss.killed or loss.node), index

        index = min(self.losses, key=by_guilt)
        return f"worker {index} {self.losses[index].cause}"


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
        with self.placement.workers(self.setup, self.step, count) as workers:
            return self._listen(workers, is_over)

    def _listen(self, workers: Mapping[int, Worker], is_over: Callable[[], bool]) -> str | None:
        first, ends = min(workers), Ends(len(workers))
        numbers = {id(worker.connection): index for index, worker in workers.items()}
        while not is_over():
            heard = [worker.connection for index, worker in workers.items() if index not in ends.losses]
            for connection in wait(heard, timeout=_GLANCE_SECONDS):
                index = numbers[id(connection)]
                message = workers[index].hear()
                if message is None:
                    ends.losses[index] = workers[index].gone()
                elif message[0] == "made" and index == first:
                    return None
                elif message[0] == "alone":
                    ends.alone.add(index)
                else:
                    self._take(index, *message)
            hung = workers[first].silence(SILENCE_SECONDS) if first == 0 and not ends.losses else None
            if hung is not None:
                ends.losses[first] = hung
            cause = ends.cause()
            if cause is not None:
                return cause
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

"""A worker on some node of a Ray cluster, as the run sees it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing import Pipe
from typing import Any

from data.contract import PenjingError
from pipeline.executors.handle import Loss, Worker
from pipeline.executors.ray_relay import Order, Relay
from pipeline.executors.ray_room import Waiting
from pipeline.executors.steps import PlannedStep
from pipeline.ray_messages import one_line

_LAST_SECONDS = 10.0
"""How long Ray may take to say that an actor has ended which it was told to end."""


class RayWorker(Worker):
    """A worker process on a node that Ray chooses; a thread listens to it.

    Args:
        ray: the module, connected.
        order: what is started there.
        resources: what Ray is to set apart for it: the options of an actor.
        waiting: what all workers know of the room for them.
    """

    def __init__(self, ray: Any, order: Order, resources: Mapping[str, Any], waiting: Waiting) -> None:
        super().__init__(order.setup)
        self.placed = False
        self._ray, self._waiting = ray, waiting
        self._loss = Loss("could not be reached any more")
        self.connection, self._theirs = Pipe(duplex=False)
        options = {"max_restarts": 0, "max_concurrency": 2, "scheduling_strategy": "SPREAD", **resources}
        self._actor = ray.remote(Relay).options(**options).remote(order)
        waiting.join()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def give(self, steps: tuple[PlannedStep, ...]) -> None:
        """Hands a trial over."""
        self.listen_anew()
        self._actor.give.remote(steps)

    def silence(self, seconds: float | None) -> Loss | None:
        """As `Worker.silence`; a worker that no node has room for is not silent, nor is one that waits for others."""
        if not (self.placed and self._waiting.over):
            self._waiting.check()
            return None
        return super().silence(seconds)

    def gone(self) -> Loss:
        """Clears away an actor that is no more, and says what it ended with."""
        self.end()
        return self._loss

    def end(self) -> None:
        """Has Ray kill the actor; the worker process ends with it, since its socket closes."""
        if self.connection.closed:
            return
        self._waiting.leave(placed=self.placed)
        self._ray.kill(self._actor, no_restart=True)
        self.connection.close()
        self._listener.join(_LAST_SECONDS)

    def _take(self, message: tuple[Any, ...]) -> tuple[Any, ...] | None:
        word, *told = message
        if word == "gone":
            self._loss = told[0]
            return None
        if word == "unfit":
            raise PenjingError(told[0])
        if word == "placed":
            self.placed = True
            self._waiting.placed += 1
            self.listen_anew()
            self._settle(told[-1])
            return message
        if word == "crashed":  # where what a worker of this machine says goes: the run's log
            print(told[1], file=sys.stderr)
        return super()._take(message)

    def _settle(self, address: str | None) -> None:
        """Takes note of where it listens for others, if it is to."""

    def _listen(self) -> None:
        """Passes on what the actor says, until it has ended; what Ray says of its end is the last of it."""
        with suppress(OSError), self._theirs:  # nobody listens to a worker that was told to end
            try:
                messages = self._ray.get(self._actor.begin.remote())
                while True:
                    for message in messages:
                        self._theirs.send(message)
                        if message[0] == "gone":
                            return
                    messages = self._ray.get(self._actor.hear.remote())
            except self._ray.exceptions.RayError as error:
                self._theirs.send(("gone", loss_of(self._ray.exceptions, error)))


def loss_of(exceptions: Any, error: Exception) -> Loss:
    """Returns what an error of Ray says about a worker.

    Args:
        exceptions: the module `ray.exceptions`.
        error: what a call to its actor raised.
    """
    told = str(error)
    if isinstance(error, exceptions.OutOfMemoryError):
        return Loss("was killed by Ray, since its node ran out of memory", killed=True)
    if isinstance(error, exceptions.NodeDiedError) or "its node has died" in told:
        return Loss("was lost with its node", node=True)
    if isinstance(error, exceptions.RuntimeEnvSetupError):
        return Loss(f"could not be given this project's code: {one_line(told)}")
    if isinstance(error, exceptions.ActorUnavailableError):
        return Loss("could not be reached any more", node=True)
    if isinstance(error, exceptions.RayActorError):
        detail = told.rpartition("Worker exit detail: ")[2] if "Worker exit detail: " in told else told
        return Loss(f"ended under Ray: {one_line(detail.partition(' Some common causes')[0])}")
    return Loss(f"met {type(error).__name__}: {one_line(told)}")

"""What a pool knows of a worker, wherever it runs: what it is started with, what it tells, and how it may end."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from pipeline.executors.steps import PlannedStep

START_SECONDS = 300.0
"""How long a process may take to start: it imports TensorFlow, from a slow disk perhaps."""


@dataclass(frozen=True)
class Exchange:
    """Where workers that do not see the run's store take artifacts from, and bring them.

    Attributes:
        url: a URL that fsspec opens.
        seconds: how often the checkpoints of a trial are copied there.
    """

    url: str
    seconds: float


@dataclass(frozen=True)
class Setup:
    """What a worker is started with.

    Attributes:
        root: folder of the store; on a machine that does not see the run's, of copies.
        seed: the run's seed.
        cores: numbers of the cores it computes on; all the run may use where it is empty.
        threads: of each of TensorFlow's pools; as many as the machine has cores where it is None.
        exchange: where artifacts pass between this store and the run's; None where they are one.
    """

    root: Path
    seed: int
    cores: tuple[int, ...] = ()
    threads: int | None = None
    exchange: Exchange | None = None


@dataclass(frozen=True)
class Loss:
    """Why a worker is no more.

    Attributes:
        cause: the end of a sentence that begins with its process.
        killed: it was killed, as by a system that runs out of memory.
        node: it went with the machine it was on, whatever it was at.
    """

    cause: str
    killed: bool = False
    node: bool = False


@dataclass(eq=False)
class Worker(ABC):
    """A process that makes trials, as the run that started it sees it.

    Attributes:
        setup: what it was started with.
        connection: to it; waited for by the pool.
        placed: whether there is a machine for it; until then, nothing is to be heard of it.
        ready: whether it has said that it is ready for work.
    """

    setup: Setup
    connection: Connection = field(init=False)
    placed: bool = field(init=False, default=True)
    ready: bool = field(init=False, default=False)
    _quiet_since: float | None = field(init=False, default_factory=time.monotonic)

    @abstractmethod
    def give(self, steps: tuple[PlannedStep, ...]) -> None:
        """Hands a trial over."""

    @abstractmethod
    def gone(self) -> Loss:
        """Clears away a worker that has nothing more to say, and tells why it ended."""

    @abstractmethod
    def end(self) -> None:
        """Ends it with all that it started."""

    def hear(self) -> tuple[Any, ...] | None:
        """Returns the next message; None where there will be no more.

        Raises:
            PenjingError: the worker says that trials cannot be made where it is.
        """
        try:
            message: tuple[Any, ...] = self.connection.recv()
        except (EOFError, OSError):
            return None
        # Who waits for another run's lock, or has nothing to do, is not hung; that it waits may be told in a note.
        if message[0] in ("ready", "waits", "made", "refused"):
            self._quiet_since = None
        elif message[0] != "note" or self._quiet_since is not None:
            self._quiet_since = time.monotonic()
        return self._take(message)

    def _take(self, message: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Takes note of a message before it is handed on."""
        self.ready = True
        return message

    def silence(self, seconds: float | None) -> Loss | None:
        """Returns the loss where it has something to do, and has said nothing for too long.

        Args:
            seconds: how long it may be silent once it is ready; None for ever.

        Raises:
            PenjingError: there is no machine for it.
        """
        limit = seconds if self.ready else START_SECONDS
        if limit is None or self._quiet_since is None or time.monotonic() - self._quiet_since <= limit:
            return None
        return Loss(f"showed no progress for {limit:g} s")

    def excess(self) -> Loss | None:
        """Returns the loss where it holds more memory than it may; None where nobody counts."""
        return None

    def listen_anew(self) -> None:
        """Counts silence from now on."""
        self._quiet_since = time.monotonic()

"""One worker process, as the run that started it sees it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

from pipeline.executors.steps import PlannedStep

_ROOT = Path(__file__).resolve().parents[2]

_START_SECONDS = 300.0
"""How long a process may take to start: it imports TensorFlow, from a slow disk perhaps."""

_LAST_SECONDS = 10.0
"""How long a process may take to end once its socket is closed: a system that writes a core dump takes its time."""


@dataclass(frozen=True)
class Setup:
    """What a worker is started with.

    Attributes:
        root: folder of the store.
        seed: the run's seed.
        cores: numbers of the cores it computes on; all the run may use where it is empty.
    """

    root: Path
    seed: int
    cores: tuple[int, ...] = ()


@dataclass(frozen=True)
class Loss:
    """Why a process is no more, as the end of a sentence that begins with it; and whether it was killed."""

    cause: str
    killed: bool = False


class WorkerProcess:
    """A process that makes trials, in a process group of its own: a terminal's Ctrl-C is the run's affair.

    It imports TensorFlow once, and ends, with all children of its own, when its socket is closed. What is sent
    through that socket is pickled; no other process has an end of it.

    Args:
        setup: what it is to know.
        module: what it runs.
    """

    def __init__(self, setup: Setup, module: str = "pipeline.executors.worker") -> None:
        self.setup = setup
        self.ready = False
        self._crash: str | None = None
        self._quiet_since: float | None = time.monotonic()
        self.connection, theirs = Pipe()
        self._process = subprocess.Popen(  # noqa: S603 -- this interpreter, a module of this repository
            [sys.executable, "-P", "-m", module, str(theirs.fileno())],
            env={**os.environ, "PYTHONPATH": str(_ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=2,  # what libraries print goes where their errors go, into the run's log
            pass_fds=[theirs.fileno()],
            process_group=0,
        )
        theirs.close()
        self._send(setup)

    def give(self, steps: tuple[PlannedStep, ...]) -> None:
        """Hands a trial over."""
        self._quiet_since = time.monotonic()
        self._send(steps)

    def _send(self, message: Any) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # it is gone: `hear` will say so
            self.connection.send(message)

    def hear(self) -> tuple[Any, ...] | None:
        """Returns the next message; None where there will be no more."""
        try:
            message: tuple[Any, ...] = self.connection.recv()
        except (EOFError, OSError):
            return None
        # Who waits for another run's lock, or has nothing to do, is not hung.
        self._quiet_since = None if message[0] in ("waits", "made", "refused") else time.monotonic()
        self.ready = True
        if message[0] == "crashed":
            self._crash = message[1]
        return message

    def is_silent(self, seconds: float | None) -> bool:
        """Whether it has something to do, and has said nothing for longer than so many seconds (None: for ever)."""
        limit = seconds if self.ready else _START_SECONDS
        return limit is not None and self._quiet_since is not None and time.monotonic() - self._quiet_since > limit

    def gone(self) -> Loss:
        """Clears away a process whose socket is closed, and says what it ended with."""
        deadline = time.monotonic() + _LAST_SECONDS
        # Not collected yet: as long as it is a zombie, nobody else can get the number of its process group.
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        while (ended := os.waitid(os.P_PID, self._process.pid, flags)) is None and time.monotonic() < deadline:
            time.sleep(0.01)
        self.end()
        code = self._process.returncode
        if self._crash is not None:
            return Loss(f"crashed: {self._crash}")
        if ended is None:
            return Loss("closed its socket and went on")
        if code == -signal.SIGKILL:
            return Loss("was killed (SIGKILL), as systems do that run out of memory", killed=True)
        if code < 0:
            return Loss(f"crashed with {signal.Signals(-code).name}")
        return Loss(f"ended with exit code {code}")

    def end(self) -> None:
        """Kills it and all its children."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self.connection.close()

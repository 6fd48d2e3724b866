"""One worker process on this machine, as the one that started it sees it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

from pipeline.executors.handle import Loss, Setup, Worker
from pipeline.executors.memory import held_bytes
from pipeline.executors.steps import PlannedStep

_ROOT = Path(__file__).resolve().parents[2]

_LAST_SECONDS = 10.0
"""How long a process may take to end once its socket is closed: a system that writes a core dump takes its time."""


class WorkerProcess(Worker):
    """A process that makes trials, in a process group of its own: a terminal's Ctrl-C is the run's affair.

    It imports TensorFlow once, and ends, with all children of its own, when its socket is closed. What is sent
    through that socket is pickled; no other process has an end of it.

    Args:
        setup: what it is to know.
        module: what it runs.
        environment: its variables; this process's own where it is None.
        memory_bytes: memory that it may hold, its children's counted in; None for as much as there is.
    """

    def __init__(
        self,
        setup: Setup,
        module: str = "pipeline.executors.worker",
        environment: Mapping[str, str] | None = None,
        memory_bytes: int | None = None,
    ) -> None:
        super().__init__(setup)
        self._memory_bytes = memory_bytes
        self._crash: str | None = None
        self.connection, theirs = Pipe()
        self._process = subprocess.Popen(  # noqa: S603 -- this interpreter, a module of this repository
            [sys.executable, "-P", "-m", module, str(theirs.fileno())],
            env={**(os.environ if environment is None else environment), "PYTHONPATH": str(_ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=2,  # what libraries print goes where their errors go, into the run's log
            pass_fds=[theirs.fileno()],
            process_group=0,
        )
        theirs.close()
        self._send(setup)

    def give(self, steps: tuple[PlannedStep, ...]) -> None:
        """Hands a trial over."""
        self.listen_anew()
        self._send(steps)

    def _send(self, message: Any) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # it is gone: `hear` will say so
            self.connection.send(message)

    def _take(self, message: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if message[0] == "crashed":
            self._crash = message[1]
        return super()._take(message)

    def excess(self) -> Loss | None:
        """Returns the loss where it holds more memory than it may."""
        held = 0 if self._memory_bytes is None else held_bytes(self._process.pid)
        if self._memory_bytes is None or held <= self._memory_bytes:
            return None
        cause = f"held {held:,} bytes of memory, more than the {self._memory_bytes:,} of engine.memory_bytes_per_trial"
        return Loss(cause, killed=True)

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
        """Kills it and all its children; one that was collected already has no number any more."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self.connection.close()

"""Runs of the command line in forks of a process that has imported what takes long.

Importing TensorFlow and its kin takes seven seconds of every run. A fork begins with them, is otherwise a process as
any other, and runs the whole of run_pipeline.py as `__main__`. TensorFlow makes its threads when it first computes,
which is after the fork.
"""

from __future__ import annotations

import importlib
import os
import resource
import runpy
import signal
import sys
import tempfile
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

_LIGHT = ("run_pipeline", "pandas", "plotly.graph_objects", "sklearn.datasets", "sklearn.ensemble", "sklearn.tree")
_OF_NETWORKS = ("models.legacy_keras", "tensorflow_model_optimization", "keras_tuner")
"""The first before all else that imports TensorFlow."""


@dataclass(frozen=True)
class Told:
    """How a run ended: exit code (negative: the signal that killed it), standard output, standard error."""

    code: int
    out: str
    err: str


def warm_up(*, network: bool = True) -> None:
    """Imports what runs import, so that those of `warm_run` need not.

    Args:
        network: TensorFlow too; it starts no thread by that.
    """
    for name in (*_LIGHT, *(_OF_NETWORKS if network else ())):
        importlib.import_module(name)


class WarmRun:
    """A run of the command line in a fork of this process; only the imports are not its own.

    Its standard streams are files, and its input is empty.

    Args:
        arguments: of the command line.
        cwd: folder it runs in; this process's own where None.
        most_bytes: of a file that it may write; no limit where None.
    """

    def __init__(self, *arguments: str | Path, cwd: Path | None = None, most_bytes: int | None = None) -> None:
        self._out, self._err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 -- until `wait`
        self._child = os.fork()
        if self._child == 0:
            if cwd is not None:
                os.chdir(cwd)
            if most_bytes is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
            _become(arguments, self._out.fileno(), self._err.fileno())

    def wait(self, timeout: float = 0.0) -> Told:
        """Waits for its end.

        Args:
            timeout: seconds after which it is killed; 0: it is waited for as long as it takes.
        """
        before = signal.signal(signal.SIGALRM, lambda *_: os.kill(self._child, signal.SIGKILL))
        signal.setitimer(signal.ITIMER_REAL, timeout)
        _, status = os.waitpid(self._child, 0)
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
        told = []
        for stream in (self._out, self._err):
            with stream:
                stream.seek(0)
                told.append(stream.read().decode(errors="replace"))
        return Told(os.waitstatus_to_exitcode(status), *told)


def warm_run(*arguments: str | Path, most_bytes: int | None = None) -> Told:
    """Runs the command line to its end; see `WarmRun`."""
    return WarmRun(*arguments, most_bytes=most_bytes).wait()


def _become(arguments: Sequence[str | Path], out: int, err: int) -> None:
    """Is the command line from here on, and ends this process."""
    code = 99
    try:
        for target, stream in enumerate((os.open(os.devnull, os.O_RDONLY), out, err)):
            os.dup2(stream, target)
        os.environ.update(COLUMNS="200", NO_COLOR="1")
        sys.argv = [str(ROOT / "run_pipeline.py"), *map(str, arguments)]
        runpy.run_path(sys.argv[0], run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 -- as the interpreter tells it, where a run does not
        traceback.print_exc()
        code = 1
    finally:  # what the parent began is not finished by its fork
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

"""A process that has imported what a run needs, and forks one command line after the other.

Importing TensorFlow and its kin takes seven seconds of every run. A fork begins with them, is otherwise a process as
any other, and runs the whole of run_pipeline.py as `__main__`. TensorFlow makes its threads when it first computes,
which is after the fork. Tests of what a process imports, or of how fast it answers, start one of their own.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PRELOADED = ("models.legacy_keras", "tensorflow_model_optimization", "keras_tuner", "sklearn.ensemble", "pandas")


class WarmProcess:
    """Forks command lines from one process; ended by `close`.

    Args:
        environment: of the process, and of all that it forks.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        self._server = subprocess.Popen(
            [sys.executable, __file__], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, arguments: list[str], cwd: Path, timeout: float) -> subprocess.CompletedProcess[str]:
        """Runs one command line to its end.

        Args:
            arguments: what follows `run_pipeline.py`.
            cwd: folder it runs in.
            timeout: seconds after which it is killed.
        """
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            streams = [f"/proc/{os.getpid()}/fd/{each.fileno()}" for each in (out, err)]
            order = {"arguments": arguments, "cwd": str(cwd), "streams": streams, "timeout": timeout}
            print(json.dumps(order), file=self._server.stdin, flush=True)
            code = json.loads(self._server.stdout.readline())
            out.seek(0), err.seek(0)
            return subprocess.CompletedProcess(arguments, code, out.read().decode(), err.read().decode())

    def close(self) -> None:
        """Ends the process."""
        self._server.kill()
        self._server.wait()


def serve() -> None:
    """Forks a command line for each order on standard input, and answers with its exit code."""
    sys.path[0] = str(ROOT)
    for name in PRELOADED:
        __import__(name)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            answers.close()
            return _become(order)
        signal.signal(signal.SIGALRM, lambda *_, child=child: os.kill(child, signal.SIGKILL))
        signal.alarm(int(order["timeout"]))
        _, status = os.waitpid(child, 0)
        signal.alarm(0)
        print(os.waitstatus_to_exitcode(status), file=answers)
    return None


def _become(order: dict[str, Any]) -> None:
    """Runs a command line in this process, which ends with it."""
    signal.alarm(0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    os.chdir(order["cwd"])
    for target, path in zip((1, 2), order["streams"], strict=True):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), target)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    program = str(ROOT / "run_pipeline.py")
    sys.argv = [program, *order["arguments"]]
    runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    serve()

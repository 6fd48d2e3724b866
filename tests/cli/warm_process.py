"""A process that has imported what a run needs, and forks one command line after the other; see `benchmarks.warm_runs`.

Tests that have imported TensorFlow themselves, or computed with it, cannot be forked: this process has only imported.
Tests of what a process imports, or of how fast it answers, start one of their own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import astuple
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class WarmProcess:
    """Forks command lines from one process; ended by `close`.

    Args:
        environment: of the process, and of all that it forks.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.cli.warm_process"],
            cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, arguments: list[str], cwd: Path, timeout: float) -> subprocess.CompletedProcess[str]:
        """Runs one command line to its end.

        Args:
            arguments: what follows `run_pipeline.py`.
            cwd: folder it runs in.
            timeout: seconds after which it is killed.
        """
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        print(json.dumps([arguments, str(cwd), timeout]), file=self._server.stdin, flush=True)
        return subprocess.CompletedProcess(arguments, *json.loads(self._server.stdout.readline()))

    def close(self) -> None:
        """Ends the process."""
        self._server.kill()
        self._server.wait()


def serve() -> None:
    """Forks a command line for each order on standard input, and answers with what it told."""
    from benchmarks.warm_runs import WarmRun, warm_up

    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what imports print is no answer
    warm_up()
    for line in sys.stdin:
        arguments, cwd, timeout = json.loads(line)
        print(json.dumps(astuple(WarmRun(*arguments, cwd=Path(cwd)).wait(timeout))), file=answers)


if __name__ == "__main__":
    serve()

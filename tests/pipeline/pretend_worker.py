"""A worker whose trials do what their stage is called; TensorFlow is left out, processes and signals are real."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

from data.contract import ConfigError
from pipeline.executors.handle import Setup
from pipeline.executors.steps import PlannedStep
from pipeline.executors.worker import Teller, serve


class Pretender:
    """Makes nothing; notes what it is asked for in the file `log` of the store's folder."""

    def __init__(self, setup: Setup, teller: Teller) -> None:
        self._root, self._teller = setup.root, teller
        if (self._root / "no start").exists():
            sys.exit(7)

    def make_step(self, planned: PlannedStep, begun: Callable[[], object]) -> None:
        log = self._root / "log"
        words = planned.stage.split()
        before = 0 if not log.exists() else log.read_text().split().count(planned.key)
        self._note(f"{planned.key} begins")
        if "noted" in words:  # as the store does
            self._teller.note("another run is making it; waiting")
        if "waits" in words:
            time.sleep(6.0)  # longer than tests take for hung
        begun()
        self._teller.step("work", 1, 2, {})
        # Only the first attempt comes to grief, unless it is always to.
        if before == 0 or "always" in words:
            self._happen(words)
        time.sleep(0.3)
        self._teller.step("work", 2, 2, {})
        self._note(f"{planned.key} ends")

    def _note(self, text: str) -> None:
        with (self._root / "log").open("a") as stream:
            stream.write(f"{text.replace(' ', ' @')}\n")

    def _happen(self, words: list[str]) -> None:
        if "child" in words:
            child = subprocess.Popen(["sleep", "600"])
            (self._root / "child").write_text(str(child.pid))
        if "grows" in words:
            self._grown = bytearray(os.urandom(1)) * 300_000_000
            time.sleep(600)
        if "killed" in words:
            os.kill(os.getpid(), signal.SIGKILL)
        if "crashes" in words:
            os.kill(os.getpid(), signal.SIGSEGV)
        if "raises" in words:
            raise ValueError("no\nsuch thing")
        if "exits" in words:
            os._exit(3)
        if "hangs" in words:
            os.kill(os.getpid(), signal.SIGSTOP)
        if "refuses" in words:
            raise ConfigError("prune.sparsity: expected less, got more.")


def main() -> None:
    serve(Pretender)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()

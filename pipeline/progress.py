"""How far a run is: a bar on a terminal, plain lines elsewhere, and all lines in the run's log."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from data.contract import StoreError
from pipeline.files import append_own
from pipeline.refusals import explained

_LINES = 10
"""Most lines, besides the first, that one piece of work prints where no bar can be drawn."""


def unchecked() -> None:
    """Finds nothing that speaks against going on."""


class RunProgress:
    """Draws the progress of stages on a console, and keeps what is said in a log.

    Args:
        console: where to draw; a bar if it is a terminal.
        log: file that lines are appended to; None keeps no log.
        check: called at every step; may raise to end the run.
    """

    def __init__(self, console: Console, log: Path | None = None, check: Callable[[], object] = unchecked) -> None:
        self._console = console
        self._check = check
        self._log: TextIO | None = None
        self._log_path = log or Path()
        self._bar: Progress | None = None
        self._tasks: dict[str, tuple[str, TaskID]] = {}
        self._said: dict[str, int] = {}
        if log is not None:
            self._log = TextIOWrapper(append_own(log), encoding="utf-8", errors="backslashreplace")

    def note(self, text: str) -> None:
        """Says one line that stays."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
        self._write(text)
        self._said.clear()

    def record(self, text: str) -> None:
        """Keeps lines in the log alone: what somebody else says on the console."""
        self._write(text)

    def step(self, label: str, done: int, total: int, figures: Mapping[str, float | str]) -> None:
        """Says that `done` of `total` units are finished, with figures worth seeing.

        What is said of the same unit again, as in a long epoch, is for a bar alone: lines and log would fill with it.
        Labels that begin with `trial 3: ` have a bar for each trial.
        """
        self._check()
        again = self._said.get(label) == done and done < total
        self._said[label] = done
        told = "  ".join(f"{name} {_shown(value)}" for name, value in figures.items())
        line = f"    {label} {done}/{total}  {told}"
        if not again:
            self._write(line)
        if self._console.is_terminal:
            self._draw(label, done, total, told)
        elif not again and (done == total or done == 1 or done % max(1, -(-total // _LINES)) == 0):
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def rest(self) -> None:
        """Takes the bar away, before something else is printed."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
            self._tasks.clear()

    def end_with(self, error: str, notes: Sequence[str]) -> None:
        """Tells how a run came to no end, and closes the log; what a full disk keeps the log from saying is lost to it.

        Args:
            error: kept in the log alone.
            notes: what a user is to know besides.
        """
        self.rest()
        with suppress(StoreError):
            self.record(error)
        for text in notes:
            with suppress(StoreError):  # the console has it
                self.note(text)
        with suppress(StoreError):
            self.close()

    def close(self) -> None:
        """Takes the bar away and closes the log.

        Raises:
            StoreError: no space for its last lines.
        """
        self.rest()
        if self._log is not None:
            log, self._log = self._log, None
            with explained(self._log_path):
                log.close()

    def _draw(self, label: str, done: int, total: int, told: str) -> None:
        if self._bar is None:
            # Square brackets in a label are what they are, no markup.
            label_column = TextColumn("    {task.description}", markup=False)
            columns = (label_column, BarColumn(), TextColumn("{task.fields[told]}", markup=False))
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._bar.start()
        trial, inner, _ = label.partition(": ")
        place = trial if inner else ""
        # What is said of no trial says that one has ended; those that are still on will speak up again.
        for other, (shown, task) in list(self._tasks.items()):
            if shown != label and (not place or other == place):
                self._bar.remove_task(task)
                del self._tasks[other]
        if place not in self._tasks:
            self._tasks[place] = label, self._bar.add_task(label, total=total, told="")
        task = self._tasks[place][1]
        self._bar.update(task, description=f"{label} {done}/{total}", completed=done, total=total, told=told)

    def _write(self, line: str) -> None:
        if self._log is not None:
            with explained(self._log_path):
                self._log.write(line + "\n")
                self._log.flush()


def _shown(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"

"""The standard streams of a process: closed ones, full ones, and those that nobody reads any more."""

from __future__ import annotations

import os
import sys
from typing import TextIO

from pipeline.refusals import told_elsewhere


def stdout_refuses() -> bool:
    """Hands over what is still to be printed; says so where the disk is full, and nothing to a reader that is gone."""
    try:
        sys.stdout.flush()
    except OSError as error:
        # What could not be written is tried again at the end of the process, unless it goes nowhere.
        _to_nowhere(sys.stdout)
        if not isinstance(error, BrokenPipeError):
            complain(f"error: {told_elsewhere(error)}")
        return True
    return False


def complain(text: str) -> None:
    """Prints a line to standard error; where that takes nothing, the exit code still says it."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        _to_nowhere(sys.stderr)


def _to_nowhere(stream: TextIO) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def open_what_is_closed() -> None:
    """Lets what goes to a closed stream go nowhere; else the next file that is opened would be that stream."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(descriptor, True)
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8"))

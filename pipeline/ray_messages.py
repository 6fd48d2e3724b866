"""What Ray prints goes where what libraries say goes, not between the lines that a user or a script reads."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast


class _ByThread:
    """A stream that sends to another what threads of Ray write; all else goes to where it went before.

    Args:
        before: the stream in whose place it stands.
        of_ray: takes what Ray's threads write.
    """

    def __init__(self, before: TextIO, of_ray: TextIO) -> None:
        self._before, self._of_ray = before, of_ray

    def write(self, text: str) -> int:
        target = self._of_ray if threading.current_thread().name.startswith("ray_") else self._before
        return target.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._before, name)


@contextmanager
def messages_of_ray_to_stderr() -> Iterator[None]:
    """Sends what Ray's threads print to standard error, which a run keeps in its log.

    Ray prints what it hears of lost nodes to standard output, whatever it is told of logging.
    """
    before = sys.stdout
    sys.stdout = cast(TextIO, _ByThread(before, sys.stderr))
    try:
        yield
    finally:
        sys.stdout = before


def one_line(text: str) -> str:
    """Makes one line of a text, and no long one."""
    line = " ".join(text.split())
    return line if len(line) <= 300 else f"{line[:299]}…"

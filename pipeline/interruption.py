"""Ctrl-C that cannot get lost."""

from __future__ import annotations

import signal
from types import FrameType


class Interruption:
    """Handles SIGINT: raises KeyboardInterrupt at once, and again wherever it is asked.

    Python drops an exception that is raised while it clears away objects (`__del__`, weak references), of which
    TensorFlow has many: one Ctrl-C in twenty was seen to get lost there.

    Example:
        >>> interruption = Interruption()
        >>> interruption.listen()
        >>> interruption.check()  # raises KeyboardInterrupt if there was a Ctrl-C since
    """

    def __init__(self) -> None:
        self._asked = False
        self._listening = False

    def listen(self) -> None:
        """Takes over SIGINT, unless whoever started the process has it ignored."""
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, self._interrupt)
            self._listening = True

    def check(self) -> None:
        """Raises KeyboardInterrupt if there was a Ctrl-C."""
        if self._asked:
            raise KeyboardInterrupt

    def rest(self) -> None:
        """Leaves SIGINT unheard from now on: all is said and done, and only clearing away is left.

        A handler in Python would not do: the interpreter lays it down before it has ended, and the signal would then
        be what the process ends with.
        """
        if self._listening:
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 -- what a handler is called with
        self._asked = True
        raise KeyboardInterrupt

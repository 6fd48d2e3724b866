"""A Ctrl-C that Python drops while it clears away objects is not lost."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from rich.console import Console

from pipeline.interruption import Interruption
from pipeline.progress import RunProgress


@pytest.fixture
def interruption() -> Iterator[Interruption]:
    before = signal.getsignal(signal.SIGINT)
    found = Interruption()
    found.listen()
    yield found
    signal.signal(signal.SIGINT, before)


class Clearing:
    """Is interrupted while it is cleared away."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_interrupt_that_was_dropped_ends_the_run_at_its_next_step(interruption: Interruption) -> None:
    interruption.check()
    progress = RunProgress(Console(quiet=True), check=interruption.check)
    progress.step("train", 1, 3, {})
    Clearing()
    with pytest.raises(KeyboardInterrupt):
        progress.step("train", 2, 3, {})
    progress.note("still told")


def test_interrupt_is_raised_at_once(interruption: Interruption) -> None:
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        interruption.check()


def test_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        Interruption().listen()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)

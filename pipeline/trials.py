"""Trials: chains of stages that a stage has run with other configs, and what came of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from data.contract import PenjingError

if TYPE_CHECKING:
    from pipeline.store import Artifact

Source = str | int | tuple[str, str]
"""Where a step's input comes from: a role of the stage that asks, an earlier step of the chain by its position, or
(stage, key) of an artifact."""


@dataclass(frozen=True)
class Step:
    """One stage of a trial.

    Attributes:
        stage: its name.
        roles: role of its input -> where that comes from.
        config: section name -> config object.
    """

    stage: str
    roles: Mapping[str, Source]
    config: Mapping[str, Any]


@dataclass(frozen=True)
class Made:
    """What came of a trial.

    Attributes:
        artifacts: one for each of its steps, made now or found in the store.
        losses: what became of processes that worked at it before it was done: ends of sentences that begin with them.
    """

    artifacts: tuple[Artifact, ...]
    losses: tuple[str, ...] = ()

    @property
    def keys(self) -> list[tuple[str, str]]:
        """(stage, key) of each artifact."""
        return [(each.manifest.stage, each.manifest.key) for each in self.artifacts]


class TrialLostError(PenjingError):
    """The process that worked at a trial crashed, hung or was killed, and so did the next one."""


class Pending(Protocol):
    """A trial that is out."""

    def result(self) -> Made:
        """Waits for the trial's end; to be called once.

        Raises:
            TrialLostError: its process was lost twice.
            PenjingError: what one of its stages raised.
        """


class Trials(Protocol):
    """Runs stages of the flow with other configs, on the inputs of the stage that asks."""

    def start(self, steps: Sequence[Step], label: str) -> Pending:
        """Puts a trial out; how many of those that are out run at once is the executor's affair.

        Args:
            steps: its stages, in order.
            label: what a user knows it by, as `trial 3`.
        """

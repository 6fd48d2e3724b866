"""Trials one after the other, in the process of the run itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.executors.steps import PlannedStep
from pipeline.store import Artifact
from pipeline.trials import Made, Step


@dataclass(frozen=True)
class SerialTrials:
    """The simplest executor: a trial runs when its result is asked for; see `pipeline.trials.Trials`.

    Attributes:
        plan: computes the keys of a trial's steps.
        make: makes the artifact of a step, or finds it in the store.
    """

    plan: Callable[[Sequence[Step]], tuple[PlannedStep, ...]]
    make: Callable[[PlannedStep], Artifact]

    def start(self, steps: Sequence[Step], label: str) -> SerialTrial:  # noqa: ARG002 -- nothing else is told meanwhile
        """Puts a trial out; see `Trials.start`."""
        return SerialTrial(self, tuple(steps))


@dataclass(frozen=True)
class SerialTrial:
    """A trial that waits for its turn; see `pipeline.trials.Pending`."""

    trials: SerialTrials
    steps: tuple[Step, ...]

    def result(self) -> Made:
        """Runs the trial; see `Pending.result`."""
        return Made(tuple(self.trials.make(planned) for planned in self.trials.plan(self.steps)))

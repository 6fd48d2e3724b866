"""What a report is drawn from: one run, as its manifests tell it. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from models.config import METRICS
from pipeline.ledger import AnyRow


@dataclass(frozen=True)
class StageRecord:
    """One stage of a run.

    Attributes:
        name: the stage's name, e.g. `train`.
        key: key of its artifact, hexadecimal.
        seconds: wall-clock seconds the work took when it was done.
        ledger: measurements of the models the stage yielded.
        details: what else it tells; JSON, its fields fixed by the stage.
    """

    name: str
    key: str
    seconds: float
    ledger: tuple[AnyRow, ...]
    details: dict[str, Any]


@dataclass(frozen=True)
class RunRecord:
    """One run, with any part of its stages: a run may end early, or leave stages out.

    Attributes:
        name: the run's name.
        task: `classification` or `regression`.
        config_text: the resolved config, YAML.
        seed: the run's seed.
        stages: the stages that have an artifact, in the order of the flow.
        profile: `profile.json` of the data set; empty before `ingest`.
        summary: `summary.json` of the bundle; empty before `export`.
        versions: library -> version.
        command: the command line that makes this run again.
        has_earlier_bundle: whether the run's folder still holds the bundle of an earlier config.
    """

    name: str
    task: str
    config_text: str
    seed: int
    stages: tuple[StageRecord, ...]
    profile: dict[str, Any]
    summary: dict[str, Any]
    versions: dict[str, str]
    command: str
    has_earlier_bundle: bool = False

    def stage(self, name: str) -> StageRecord | None:
        """Returns the stage of that name, or None where the run has none."""
        return next((stage for stage in self.stages if stage.name == name), None)

    def details(self, name: str) -> dict[str, Any]:
        """Returns the details of the stage of that name; empty where the run has none."""
        stage = self.stage(name)
        return {} if stage is None else stage.details

    @property
    def ledger(self) -> tuple[AnyRow, ...]:
        """The ledger of the whole run: every stage's rows, in the order of the flow."""
        return tuple(row for stage in self.stages for row in stage.ledger)

    @property
    def metric(self) -> str:
        """Name of the score, as stages record it; the task's first one where none has."""
        named = (self.details(name).get("metric") for name in ("export", "train", "fit", "baselines"))
        return next((str(name) for name in named if name), METRICS[self.task][0])

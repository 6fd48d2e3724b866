"""Stage ingest: raw files -> Dataset."""

from __future__ import annotations

from dataclasses import dataclass

from data.config import DataConfig
from data.ingest import ingest as ingest_source
from data.scratch import Scratch
from models.config import TaskName
from pipeline.workspace import Outcome, Workspace


@dataclass(frozen=True)
class Inputs:
    """Takes nothing but the raw files that its config names."""


@dataclass(frozen=True)
class Config:
    """Sections of the config that are read."""

    task: TaskName
    data: DataConfig


def ingest(inputs: Inputs, config: Config, workspace: Workspace) -> Outcome:  # noqa: ARG001 -- one signature for all
    """Reads the raw data, splits it, fits the preprocessing and writes memory-mapped arrays.

    Tables and image files are read piece by piece; killed in the middle, they are read on behind the last piece.

    Raises:
        DataError: the data cannot be used as the config asks.
    """
    scratch = Scratch(workspace.scratch, workspace.checkpoints, workspace.spread)
    seed = workspace.seed_for("ingest")
    ingest_source(config.data, config.task, workspace.output, seed, workspace.progress, scratch)
    return Outcome()

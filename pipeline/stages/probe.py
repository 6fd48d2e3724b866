"""Stage probe: what each layer gives to a linear model: untrained, pretrained, and fine-tuned."""

from __future__ import annotations

from dataclasses import dataclass

from data.dataset import Dataset
from models.legacy_keras import use_determinism
from pipeline.artifacts import SavedModel
from pipeline.probing import probed
from pipeline.workspace import Outcome, Workspace


@dataclass(frozen=True)
class Inputs:
    """What the stage takes: the rows, and the same network at three times."""

    dataset: Dataset
    built: SavedModel
    start: SavedModel
    trained: SavedModel


@dataclass(frozen=True)
class Config:
    """It reads no section of the config."""


def probe(inputs: Inputs, config: Config, workspace: Workspace) -> Outcome:  # noqa: ARG001 -- one signature for all
    """Fits a linear probe on every layer of the untrained, the pretrained and the fine-tuned network.

    It makes no model, and nothing is decided by it: it tells what each layer learned.
    """
    use_determinism(workspace.seed_for("probe"))
    task = inputs.trained.record.as_task()
    models = {"untrained": inputs.built, "pretrained": inputs.start, "fine-tuned": inputs.trained}
    found = []
    for number, (name, saved) in enumerate(models.items(), start=1):
        found.append({"network": name, **probed(saved.load(), inputs.dataset, task, workspace)})
        workspace.progress.step("probe", number, len(models), {"network": name})
    return Outcome((), {"metric": task.metric, "probes": found})

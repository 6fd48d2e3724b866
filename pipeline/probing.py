"""Linear probes of a network on the rows of a dataset: the same rows for every network of a run."""

from __future__ import annotations

from typing import Any

from data.dataset import Dataset
from models.linear_probe import TRAINING_ROWS, VALIDATION_ROWS, drawn, probe
from models.tasks import Task
from pipeline.workspace import Workspace


def probed(model: Any, dataset: Dataset, task: Task, workspace: Workspace) -> dict[str, Any]:
    """Probes every layer of a network, on rows that the run's seed draws.

    Args:
        model: an `mlp` or a `cnn`.
        dataset: labeled training rows are fitted on, validation rows scored.
        task: how a probe is scored.
        workspace: of the stage that asks; its seed draws.

    Returns:
        `training_rows` and `validation_rows` (how many), and `layers` as `models.linear_probe.probe` gives them.
    """
    found: list[Any] = []
    for name, most in (("train", TRAINING_ROWS), ("validation", VALIDATION_ROWS)):
        y = dataset.split(name).y
        chosen = drawn(len(y), most, workspace.seed_for("probe", name))
        found.append((dataset.inputs(name, chosen), y[chosen]))
    training, validation = found
    layers = probe(model, training, validation, task)
    return {"training_rows": len(training[1]), "validation_rows": len(validation[1]), "layers": layers}

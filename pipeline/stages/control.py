"""Stage control: the same untrained weights trained end to end, on the budget of pretraining and fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from data.dataset import Dataset
from models.config import StopConfig, TrainConfig
from models.legacy_keras import use_determinism
from models.measurements import count_macs
from models.training import predict
from models.training import train as train_network
from models.training_cost import control_epochs
from pipeline.artifacts import SavedModel, save_model
from pipeline.lessons import validation
from pipeline.measure import measure
from pipeline.probing import probed
from pipeline.stages.train import training_details, training_settings
from pipeline.workspace import Outcome, Workspace


@dataclass(frozen=True)
class Inputs:
    """What the stage takes: the rows, the untrained model, and the one that pretraining and fine-tuning made."""

    dataset: Dataset
    built: SavedModel
    trained: SavedModel


@dataclass(frozen=True)
class Config:
    """Sections of the config that are read."""

    train: TrainConfig


def control(inputs: Inputs, config: Config, workspace: Workspace) -> Outcome:
    """Trains end to end, with the loss, the penalty, the optimizer and the seeds of the stage `train`.

    It may take as many epochs as `models.training_cost.control_epochs` counts, whatever `train.stop` says, and keeps
    its best one: a rule that would end it early could only make the comparison easier. Its schedule spans all of them.

    Raises:
        TrainingError: the loss is not finite any more.
    """
    section, learned = config.train, inputs.trained.record
    use_determinism(workspace.seed_for("train"))
    model, task = inputs.built.load(), learned.as_task()
    batches = inputs.dataset.batches("train", section.batch_size, workspace.seed_for("train", "shuffle"))
    fine_tuning = training_settings(section, learned, workspace)
    most = -(-fine_tuning.num_steps(batches.num_batches) // batches.num_batches)
    epochs = control_epochs(most, learned.pretraining_macs or 0, count_macs(model), batches.num_rows)
    x, y = validation(inputs.dataset, task)
    result = train_network(
        model,
        batches,
        (x, y),
        task,
        replace(fine_tuning, epochs=epochs, stop=StopConfig(), label="control"),
        checkpoints=workspace.checkpoints("control"),
        progress=workspace.progress,
    )
    save_model(workspace.output, model, learned.model_copy(update={"pretraining_macs": None}))
    row = measure("control", model, inputs.dataset, task)
    details: dict[str, Any] = {
        "metric": task.metric,
        "budget": {"epochs": epochs, "fine_tuning": most, "pretraining": epochs - most},
        "score": row.score,
        "layer_wise_score": task.score(y, predict(inputs.trained.load(), x)),
        "probe": probed(model, inputs.dataset, task, workspace),
        **training_details(result),
    }
    return Outcome((row,), details)

"""Stage quantize: a model -> one trained to be right when it is rounded to int8, and the ranges it learned."""

from __future__ import annotations

from dataclasses import dataclass

from data.dataset import Dataset
from models.clustering import distinct_values
from models.compression_config import AwareConfig
from models.legacy_keras import use_determinism
from models.quantization import train_aware
from models.tflite.calibration import calibration_rows
from pipeline.artifacts import SavedModel, save_model
from pipeline.measure import measure
from pipeline.retraining import retraining
from pipeline.stages.train import training_details
from pipeline.workspace import Outcome, Workspace


@dataclass(frozen=True)
class Inputs:
    """What the stage takes: the rows, the model before any compression, and the one to go on with."""

    dataset: Dataset
    dense: SavedModel
    clustered: SavedModel


@dataclass(frozen=True)
class Config:
    """Sections of the config that are read."""

    aware: AwareConfig
    calibration_rows: int


def quantize(inputs: Inputs, config: Config, workspace: Workspace) -> Outcome:
    """Trains with rounded weights and activations; zeros stay zeros, and clustered kernels keep their few values.

    Raises:
        ConfigError: a layer cannot be trained so; it is named.
        TrainingError: the loss is not finite any more.
    """
    section, before = config.aware, inputs.clustered
    dataset = before.rows(inputs.dataset)
    use_determinism(workspace.seed_for("quantize"))
    calibration = calibration_rows(
        lambda rows: dataset.inputs("train", rows),
        len(dataset.split("train")),
        dataset.schema.input_range,
        config.calibration_rows,
        workspace.seed_for("convert", "calibration"),
    )
    around = retraining("quantize", dataset, inputs.dense, section, section.epochs, section.distillation, workspace)
    clustered = list(before.clusters())
    result = train_aware(
        before.load(),
        around.batches,
        around.validation,
        around.objective,
        around.settings,
        calibration,
        input_range=dataset.schema.input_range,
        clustered=clustered,
        checkpoints=workspace.checkpoints("quantize"),
        progress=workspace.progress,
    )
    values = distinct_values(result.model, clustered)
    save_model(workspace.output, result.model, before.record, before.masks(), clusters=values, ranges=result.ranges)
    row = measure("quantize", result.model, dataset, before.record.as_task())
    return Outcome((row,), {"ranges": result.ranges, **training_details(result.training)})

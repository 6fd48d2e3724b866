"""Stage convert: a Keras model -> TFLite variants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from data.dataset import Dataset
from models.config import ConvertConfig, QuantizeConfig
from models.legacy_keras import use_determinism
from models.tasks import task_for
from models.tflite.calibration import calibration_rows
from models.tflite.convert import convert as convert_network
from models.tflite.interpreter import LiteRT
from pipeline.artifacts import SavedModel
from pipeline.ledger import LedgerRow
from pipeline.measure import ledger_row
from pipeline.workspace import Outcome, Workspace


@dataclass(frozen=True)
class Inputs:
    """What the stage takes."""

    dataset: Dataset
    model: SavedModel


@dataclass(frozen=True)
class Config:
    """Sections of the config that are read; without `quantize`, the float32 variant is chosen."""

    quantize: QuantizeConfig | None
    convert: ConvertConfig


def convert(inputs: Inputs, config: Config, workspace: Workspace) -> Outcome:
    """Converts the model to every precision asked for, and scores each file in LiteRT on validation.

    Raises:
        ConversionError: the converter or LiteRT refuses the model.
    """
    use_determinism(workspace.seed_for("convert"))
    chosen = "float32" if config.quantize is None else config.quantize.precision
    dataset = inputs.dataset
    task = task_for(inputs.model.record.task)
    model = inputs.model.load()
    calibration = calibration_rows(
        lambda rows: dataset.inputs("train", rows),
        len(dataset.split("train")),
        dataset.schema.input_range,
        config.convert.calibration_rows,
        workspace.seed_for("convert", "calibration"),
    )
    validation = dataset.inputs("validation"), dataset.split("validation").y
    rows: list[LedgerRow] = []
    precisions = list(dict.fromkeys([*config.convert.variants, chosen]))
    for done, precision in enumerate(precisions, start=1):
        file = convert_network(model, precision, calibration)
        (workspace.output / f"{precision}.tflite").write_bytes(file)
        score = task.score(validation[1], LiteRT(file).predict(validation[0]))
        rows.append(ledger_row("convert", precision, score, model, file))
        workspace.progress.step("convert", done, len(precisions), {"bytes": len(file), task.metric: score})
    details = {
        "chosen": chosen,
        "calibration_rows": min(config.convert.calibration_rows, len(dataset.split("train"))),
        "variants": [_told(row) for row in rows],
    }
    return Outcome(tuple(rows), details)


def _told(row: LedgerRow) -> dict[str, Any]:
    return {
        "precision": row.variant,
        "file": f"{row.variant}.tflite",
        "bytes": row.tflite_bytes,
        "gzip_bytes": row.tflite_gzip_bytes,
        "score": row.score,
    }

"""Stage convert: a Keras model -> TFLite variants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.dataset import Dataset
from models.compression_config import ConvertConfig, QuantizeConfig
from models.legacy_keras import use_determinism
from models.measurements import zstd_bytes
from models.tasks import task_for
from models.tflite.calibration import calibration_rows
from models.tflite.convert import convert as convert_network
from models.tflite.interpreter import LiteRT, latency_us
from models.tflite.micro import MicroResult, run_micro
from pipeline.artifacts import SavedModel
from pipeline.ledger import LedgerRow
from pipeline.measure import ledger_row
from pipeline.workspace import Outcome, Workspace

LATENCY_REPEATS = 200
"""Timed inferences of each variant."""


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
    variants: list[dict[str, Any]] = []
    precisions = list(dict.fromkeys([*config.convert.variants, chosen]))
    for done, precision in enumerate(precisions, start=1):
        file = convert_network(model, precision, calibration)
        (workspace.output / f"{precision}.tflite").write_bytes(file)
        score = task.score(validation[1], LiteRT(file).predict(validation[0]))
        rows.append(ledger_row("convert", precision, score, model, file))
        variants.append(_told(rows[-1], file, validation[0]))
        workspace.progress.step("convert", done, len(precisions), {"bytes": len(file), task.metric: score})
    details = {
        "chosen": chosen,
        "calibration_rows": min(config.convert.calibration_rows, len(dataset.split("train"))),
        "variants": variants,
    }
    return Outcome(tuple(rows), details)


def _told(row: LedgerRow, file: bytes, x: NDArray[np.float32]) -> dict[str, Any]:
    """What a variant weighs and costs: for a device, where TFLite Micro runs it, and in LiteRT on this machine."""
    micro = run_micro(file, LiteRT(file).quantize(x[:1]))
    return {
        "precision": row.variant,
        "file": f"{row.variant}.tflite",
        "bytes": row.tflite_bytes,
        "gzip_bytes": row.tflite_gzip_bytes,
        "zstd_bytes": zstd_bytes(file),
        "score": row.score,
        "arena_bytes": micro.arena_bytes if isinstance(micro, MicroResult) else None,
        "arena_reason": None if isinstance(micro, MicroResult) else micro.reason,
        "latency_us": round(latency_us(file, x, LATENCY_REPEATS), 3),
    }

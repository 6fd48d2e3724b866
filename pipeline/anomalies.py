"""Abnormal rows of a reconstruction: the threshold from validation rows, and what it does on the test split."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.dataset import Dataset
from models.anomaly import Thresholds, error_threshold, is_abnormal, roc_auc, roc_curve, row_errors
from models.task_config import ReconstructionConfig
from models.tflite.interpreter import LiteRT
from models.training import predict
from pipeline.bundle import write_error_header
from pipeline.decisions import DRAWN_CHANNELS, shown_row, thinned

MAX_ROC_POINTS = 200
"""Points of the curve that are kept."""

HISTOGRAM_BINS = 40
"""Bars of the histogram of errors, equally wide on a log scale."""

MAX_ROWS = 12
"""Rows that are shown."""

Errors = Mapping[str, NDArray[np.float64]]
"""Who answered (`file`, `keras`, `baseline`) -> (rows,) errors."""


def find_thresholds(
    dataset: Dataset, runnable: bytes, model: Any, false_alarm_fraction: float
) -> tuple[Thresholds, float]:
    """Sets the thresholds by the errors of the validation rows, which are all normal.

    Args:
        dataset: the rows as the model eats them.
        runnable: bytes of the .tflite file that LiteRT runs.
        model: the Keras model that was converted.
        false_alarm_fraction: most validation rows above the threshold.

    Returns:
        The thresholds, and the fraction of validation rows above that of the file.
    """
    x = dataset.inputs("validation")
    errors = row_errors(x, LiteRT(runnable).predict(x))
    thresholds = Thresholds(
        file=error_threshold(errors, false_alarm_fraction),
        keras=error_threshold(row_errors(x, predict(model, x)), false_alarm_fraction),
    )
    return thresholds, float(is_abnormal(errors, thresholds.file).mean())


def exported_thresholds(
    dataset: Dataset, runnable: bytes, model: Any, config: ReconstructionConfig | None, folder: Path
) -> tuple[Thresholds | None, dict[str, float | None]]:
    """Sets the thresholds and writes the file's into a bundle.

    Args:
        dataset: the rows as the model eats them.
        runnable: bytes of the .tflite file that LiteRT runs.
        model: the Keras model that was converted.
        config: the section of the task; None: it is another task's model, and nothing is done.
        folder: the bundle.

    Returns:
        The thresholds and the fields of `ReconstructionFigures` on validation rows; None and nothing.
    """
    if config is None:
        return None, {}
    thresholds, above = find_thresholds(dataset, runnable, model, config.false_alarm_fraction)
    write_error_header(folder, runnable, thresholds.file, images=dataset.schema.kind == "image")
    return thresholds, {
        "threshold": thresholds.file,
        "false_alarm_fraction": config.false_alarm_fraction,
        "validation_false_alarm_fraction": above,
    }


def normal_rows(dataset: Dataset) -> slice | NDArray[np.bool_]:
    """Returns which test rows the score is of: the normal ones, whose like was learned; all where none are told."""
    abnormal = _abnormal(dataset)
    return slice(None) if abnormal is None else ~abnormal


def test_figures(dataset: Dataset, errors: Errors, threshold: float) -> dict[str, float | None]:
    """Says how well errors tell the abnormal rows of the test split.

    Args:
        dataset: whose classes are `normal` and `abnormal`, or that has none.
        errors: of the test rows.
        threshold: of the file.

    Returns:
        The fields of `ReconstructionFigures` on the test split; None where a kind of rows is not there, or not told.
    """
    abnormal = _abnormal(dataset)
    if abnormal is None:
        return dict.fromkeys(("false_alarms", "detected", "roc_auc", "float_roc_auc", "baseline_roc_auc"))
    called = is_abnormal(errors["file"], threshold)
    kinds = {"false_alarms": ~abnormal, "detected": abnormal}
    figures: dict[str, float | None] = {
        name: float(called[rows].mean()) if rows.any() else None for name, rows in kinds.items()
    }
    both = abnormal.any() and not abnormal.all()
    for name, who in (("roc_auc", "file"), ("float_roc_auc", "keras"), ("baseline_roc_auc", "baseline")):
        figures[name] = roc_auc(errors[who][~abnormal], errors[who][abnormal]) if both else None
    return figures


def told_errors(
    dataset: Dataset, outputs: NDArray[np.float32], errors: NDArray[np.float64], threshold: float
) -> dict[str, Any]:
    """Tells of the test rows what the report draws.

    Args:
        dataset: whose test split was reconstructed.
        outputs: (rows, entries) of `model.tflite`.
        errors: (rows,) of these.
        threshold: error above which a row is abnormal.

    Returns:
        `histogram` (edges, and rows in each bin by kind), `roc` (points; None without both kinds of rows), and `rows`:
        those decided wrongly, the furthest from the threshold first, or without labels those of the largest errors.
    """
    abnormal = _abnormal(dataset)
    kinds = {"all": np.ones(len(errors), bool)} if abnormal is None else {"normal": ~abnormal, "abnormal": abnormal}
    positive = np.maximum(errors, np.finfo(np.float32).tiny)
    low, high = float(positive.min()), float(positive.max())
    edges = np.geomspace(low, max(high, low * 1.001), HISTOGRAM_BINS + 1)
    edges[0], edges[-1] = min(low, edges[0]), max(high, edges[-1])
    counts = {name: np.histogram(positive[rows], edges)[0].tolist() for name, rows in kinds.items()}
    curve = None
    if abnormal is not None and abnormal.any() and not abnormal.all():
        alarms, detected = roc_curve(errors[~abnormal], errors[abnormal])
        kept = np.unique(np.linspace(0, len(alarms) - 1, min(MAX_ROC_POINTS, len(alarms))).astype(np.int64))
        curve = {"false_alarms": _rounded(alarms[kept]), "detected": _rounded(detected[kept])}
    return {
        "histogram": {"edges": [float(f"{edge:.6g}") for edge in edges], "rows": counts},
        "roc": curve,
        "rows": _rows(dataset, outputs, errors, threshold, abnormal),
    }


def _rows(
    dataset: Dataset,
    outputs: NDArray[np.float32],
    errors: NDArray[np.float64],
    threshold: float,
    abnormal: NDArray[np.bool_] | None,
) -> list[dict[str, Any]]:
    called = is_abnormal(errors, threshold)
    if abnormal is None:
        positions = np.argsort(-errors, kind="stable")[:MAX_ROWS]
    else:
        wrong = np.flatnonzero(called != abnormal)
        tiny = np.finfo(np.float64).tiny
        distance = np.abs(np.log(np.maximum(errors[wrong], tiny) / max(threshold, tiny)))
        positions = wrong[np.argsort(-distance, kind="stable")][:MAX_ROWS]
    return [
        {
            **shown_row(dataset, int(position)),
            "true": None if abnormal is None else _kind(bool(abnormal[position])),
            "predicted": _kind(bool(called[position])),
            "error": float(f"{errors[position]:.6g}"),
            "reconstruction": _picture(dataset, outputs[position]),
        }
        for position in positions
    ]


def _picture(dataset: Dataset, output: NDArray[np.float32]) -> list[Any] | None:
    """The reconstruction as pixels; None where rows are no images, or the model takes only some of their pixels."""
    schema = dataset.schema
    if schema.kind != "image" or dataset.kept_inputs is not None:
        return None
    pixels = np.clip(np.round(output.reshape(schema.input_shape) * schema.storage_divisor), 0, 255)
    return thinned(pixels.astype(np.uint8)) if pixels.shape[-1] in DRAWN_CHANNELS else None


def _abnormal(dataset: Dataset) -> NDArray[np.bool_] | None:
    """(rows,) which test rows are abnormal; None where the data does not say."""
    if dataset.schema.class_names != ("normal", "abnormal"):
        return None
    return np.asarray(dataset.split("test").y == 1)


def _kind(abnormal: bool) -> str:
    return "abnormal" if abnormal else "normal"


def _rounded(values: NDArray[np.float64]) -> list[float]:
    return [round(float(value), 5) for value in values]

"""Gate check of a reconstruction: LiteRT and Keras call the same rows abnormal."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.anomaly import Thresholds, row_errors
from pipeline.gate.records import Answers, Check, GateInputs

NEAR_THRESHOLD = 0.1
"""Reconstruction: rows whose error, by Keras, is within this fraction of the threshold may be decided either way."""

CLEAR_AGREEMENT = 0.99
"""Reconstruction: least fraction of the other rows that must be decided alike."""

TINIEST_ERROR = 1e-30
"""A threshold of 0, where every normal row is reconstructed exactly, is taken for this."""


def agreement(inputs: GateInputs, answers: Answers, thresholds: Thresholds) -> float:
    """Fraction of all rows that LiteRT and Keras decide alike, each by its own threshold."""
    ours, keras = _relative_errors(inputs, answers, thresholds)
    return float(np.mean((ours > 1.0) == (keras > 1.0)))


def check_decisions(inputs: GateInputs, answers: Answers, thresholds: Thresholds) -> Check:
    """LiteRT calls the rows abnormal that Keras does, each by its own threshold, but for those near it."""
    ours, keras = _relative_errors(inputs, answers, thresholds)
    clear = np.abs(keras - 1.0) > NEAR_THRESHOLD
    figure = float(((ours > 1.0) == (keras > 1.0))[clear].mean()) if clear.any() else 1.0
    passed = figure >= CLEAR_AGREEMENT
    rows = f"{int(clear.sum())} of {len(clear)} rows whose error is more than {NEAR_THRESHOLD:.0%} off the threshold"
    return Check(
        name="same decisions as Keras",
        passed=passed,
        figure=figure,
        limit=CLEAR_AGREEMENT,
        stage="convert",
        message=f"{figure:.4f} of the {rows} are decided alike."
        if passed
        else f"expected {CLEAR_AGREEMENT:g} of the {rows} to be decided alike, got {figure:.4f}. "
        "Integers cut off what lies outside the range of normal rows, and with it the error of abnormal ones: choose "
        "float32 or int16x8, or fewer epochs.",
    )


def called_normal(inputs: GateInputs, thresholds: Thresholds) -> NDArray[np.bool_]:
    """(rows,) whether Keras calls a row normal; all rows, where it calls none so."""
    normal = row_errors(inputs.x, inputs.keras_outputs) <= max(thresholds.keras, TINIEST_ERROR)
    return normal if normal.any() else np.ones_like(normal)


def _relative_errors(
    inputs: GateInputs, answers: Answers, thresholds: Thresholds
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(rows,) errors of the file's reconstruction and of Keras', each in units of its own threshold."""
    pairs = ((answers.values, thresholds.file), (inputs.keras_outputs, thresholds.keras))
    ours, keras = (row_errors(inputs.x, outputs) / max(limit, TINIEST_ERROR) for outputs, limit in pairs)
    return ours, keras

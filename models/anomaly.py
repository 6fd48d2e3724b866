"""Telling abnormal rows by the error of their reconstruction: threshold, and how well it separates.

Everything is NumPy, so that it also judges what LiteRT and TFLite Micro answer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ROWS_AT_ONCE = 4096

_COUNTING_ERROR = 1e-9
"""0.29 * 100 is 28.999…996 in floats, and still 29 rows."""


def row_errors(x: NDArray[np.float32], outputs: NDArray[np.float32]) -> NDArray[np.float64]:
    """Computes how badly each row is reconstructed: `mean_j (x_ij - f_ij)²`.

    In float32, entry by entry in their order, as `reconstruction.h` does: bit for bit the same, so that a row whose
    error is the threshold itself is decided alike.

    Args:
        x: (rows, *input_shape) as the model eats it.
        outputs: (rows, entries) reconstructions in the same unit.

    Returns:
        (rows,) in the square of that unit, >= 0; each a float32 exactly.
    """
    errors = np.empty(len(x))
    for start in range(0, len(x), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        true = np.asarray(x[part], np.float32).reshape(len(outputs[part]), -1)
        difference = true - np.asarray(outputs[part], np.float32)
        # Not `sum`, which adds in pairs.
        sums = np.add.accumulate(difference * difference, axis=1)[:, -1]
        errors[part] = sums / np.float32(true.shape[1])
    return errors


def error_threshold(errors: NDArray[np.float64], false_alarm_fraction: float) -> float:
    """Finds the lowest error above which at most a fraction of normal rows lie.

    With n rows and `k = floor(fraction * n)`, it is the error that exactly k rows may exceed: the (k + 1)-th largest.
    A row is abnormal where its error is above the threshold. Rounded to float32, upwards, as firmware holds it.

    Args:
        errors: (rows,) of normal rows, one or more, finite.
        false_alarm_fraction: in [0, 1).

    Returns:
        The threshold, a float32 exactly.
    """
    allowed = math.floor(false_alarm_fraction * len(errors) + _COUNTING_ERROR)
    exact = np.sort(errors)[len(errors) - 1 - allowed]
    nearest = np.float32(exact)
    return float(nearest if nearest >= exact else np.nextafter(nearest, np.float32(np.inf)))


@dataclass(frozen=True)
class Thresholds:
    """Errors above which a row is abnormal, each by the answers of one model to the same validation rows.

    Attributes:
        file: of `model.tflite` in LiteRT.
        keras: of the Keras model that was converted.
    """

    file: float
    keras: float


def roc_auc(normal: NDArray[np.float64], abnormal: NDArray[np.float64]) -> float:
    """Area under the ROC curve: the chance that an abnormal row's error is above a normal one's, ties counting half.

    Args:
        normal: (rows,) errors of normal rows, at least one.
        abnormal: (rows,) errors of abnormal rows, at least one.

    Returns:
        In [0, 1]; 0.5 where the error tells nothing.

    Reference:
        Hanley & McNeil 1982, The meaning and use of the area under a ROC curve, section on the Wilcoxon statistic.
    """
    ordered = np.sort(normal)
    below = np.searchsorted(ordered, abnormal, side="left")
    up_to = np.searchsorted(ordered, abnormal, side="right")
    return float(np.mean((below + up_to) / 2.0) / len(normal))


def roc_curve(
    normal: NDArray[np.float64], abnormal: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Works out the ROC curve: the fractions of both kinds of rows above each possible threshold.

    Args:
        normal: (rows,) errors of normal rows, at least one.
        abnormal: (rows,) errors of abnormal rows, at least one.

    Returns:
        (points,) fractions of false alarms and of detected rows, both rising from 0 to 1; a point for each distinct
        error, and the origin.
    """
    levels = np.unique(np.concatenate([normal, abnormal]))[::-1]
    alarms, detected = (
        1.0 - np.searchsorted(np.sort(errors), levels, side="left") / len(errors) for errors in (normal, abnormal)
    )
    return np.concatenate([[0.0], alarms]), np.concatenate([[0.0], detected])


def is_abnormal(errors: NDArray[Any], threshold: float) -> NDArray[np.bool_]:
    """Returns (rows,) True where an error is above the threshold."""
    return np.asarray(errors > threshold)

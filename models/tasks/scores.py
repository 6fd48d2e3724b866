"""Scores of numbers: how much of what varies the answers explain."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def r2(y: NDArray[Any], outputs: NDArray[Any]) -> float:
    """Fraction of the variance of `y` about its column means that `outputs` explain.

    Args:
        y: (rows, columns) true values.
        outputs: (rows, columns) answers.

    Returns:
        `1 - sum (y - f)^2 / sum (y - mean)^2`, over all columns together, in float64. Where `y` does
        not vary: 1 for answers without an error, else 0 (scikit-learn's convention).
    """
    true = np.asarray(y, dtype=np.float64)
    residual = float(np.sum(np.square(true - np.asarray(outputs, dtype=np.float64))))
    total = float(np.sum(np.square(true - true.mean(axis=0, keepdims=True))))
    if total == 0.0:
        return 1.0 if residual == 0.0 else 0.0
    return 1.0 - residual / total


def d2(y: NDArray[Any], outputs: NDArray[Any]) -> float:
    """Fraction of the absolute deviation of `y` from its median that `outputs` explain; arguments and edges as `r2`.

    Returns:
        `1 - sum |y - f| / sum |y - median|`, in float64.
    """
    true = np.asarray(y, dtype=np.float64)
    residual = float(np.sum(np.abs(true - np.asarray(outputs, dtype=np.float64))))
    total = float(np.sum(np.abs(true - np.median(true))))
    if total == 0.0:
        return 1.0 if residual == 0.0 else 0.0
    return 1.0 - residual / total

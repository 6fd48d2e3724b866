"""What a penalty leaves of a network's weights: how many are exactly zero, and what each feature of a vector weighs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from models.legacy_keras import keras
from models.regularization import kernels_of

MOST_KEPT = 64
"""Features whose weights are kept, the largest first."""

_TWO_CLASSES = 2


@dataclass(frozen=True)
class Coefficients:
    """What the first layer makes of each feature of a vector.

    Attributes:
        what: `weight`: of the one output of a linear model; `log_odds`: of a linear model of two classes, weight of the
            second less that of the first, by which a standard deviation of the feature moves the logarithm of the odds;
            `norm`: Euclidean norm of the feature's weights to all outputs or neurons, zero where the feature is unused.
        values: by name of the feature, the `MOST_KEPT` of the largest magnitude.
    """

    what: Literal["weight", "log_odds", "norm"]
    values: dict[str, float]


def kernel_zeros(model: Any) -> tuple[int, int]:
    """Counts the weights of a network's penalized kernels.

    Args:
        model: a built Keras model.

    Returns:
        (weights, those of them that are exactly zero).
    """
    arrays = [kernel.numpy() for kernel in kernels_of(model)]
    total = sum(array.size for array in arrays)
    return total, total - sum(int(np.count_nonzero(array)) for array in arrays)


def input_coefficients(model: Any, feature_names: Sequence[str]) -> Coefficients | None:
    """Reads what a network's first layer makes of the features of a vector.

    Args:
        model: a built Keras model.
        feature_names: one a feature, in order; empty for inputs without names.

    Returns:
        The coefficients; None where the inputs have no names, or no dense layer reads them.
    """
    layer = next((layer for layer in model.layers if layer.weights), None)
    if not feature_names or not isinstance(layer, keras.layers.Dense) or layer.kernel.shape[0] != len(feature_names):
        return None
    kernel = layer.kernel.numpy().astype(np.float64)
    is_linear, outputs = layer is model.layers[-1], kernel.shape[1]
    what: Literal["weight", "log_odds", "norm"]
    if is_linear and outputs == 1:
        what, values = "weight", kernel[:, 0]
    elif is_linear and outputs == _TWO_CLASSES:
        what, values = "log_odds", kernel[:, 1] - kernel[:, 0]
    else:
        what, values = "norm", np.sqrt((kernel**2).sum(axis=1))
    order = np.argsort(-np.abs(values), kind="stable")[:MOST_KEPT]
    return Coefficients(what, {feature_names[i]: float(f"{values[i]:.6g}") for i in order})

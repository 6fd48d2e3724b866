"""What a model decided on the test split, for the report: confusions, points, the worst rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.column_transforms import CategoricalColumn, NumericColumn, TableColumn
from data.dataset import Dataset
from data.series_profile import drawn
from models.tasks import Task

MAX_WRONG = 12
"""Worst rows that are kept."""

MAX_SCATTER_POINTS = 500
"""Points of a regression that are kept."""

MAX_PICTURE_SIDE = 64
"""Larger images are thinned out to at most so many pixels a side; they are looked at, not computed with."""

DRAWN_CHANNELS = (1, 3)
"""Images of other numbers of channels are not drawn."""


def decided(dataset: Dataset, task: Task, outputs: NDArray[np.float32], *, probable: bool = True) -> dict[str, Any]:
    """Tells what a model decided on the test split.

    Args:
        dataset: the rows, as the model eats them.
        task: how outputs become decisions.
        outputs: (rows, outputs) of the test split.
        probable: whether outputs of classes are probabilities; scores tell no confidence.

    Returns:
        `classes`, `confusion` or `scatter`, and the worst rows, `wrong`.
    """
    classes, y = list(dataset.schema.class_names), dataset.split("test").y
    answers = task.decide(outputs)
    if task.name == "regression":
        inverse = dataset.preprocessing.inverse_target
        true, predicted = inverse(y), inverse(answers)
        wrong = largest_errors(dataset, true, predicted)
        return {"classes": classes, "confusion": None, "scatter": scatter_points(true, predicted), "wrong": wrong}
    wrong = wrong_predictions(dataset, outputs, answers)
    return {
        "classes": classes,
        "confusion": confusion_matrix(y, answers, len(classes)),
        "scatter": None,
        "wrong": wrong if probable else [{**row, "probability": None} for row in wrong],
    }


def confusion_matrix(true: NDArray[Any], predicted: NDArray[Any], num_classes: int) -> list[list[int]]:
    """Counts rows by true (first index) and predicted class.

    Args:
        true: (rows,) class codes.
        predicted: (rows,) class codes.
        num_classes: size of the matrix.
    """
    pairs = np.asarray(true, np.int64) * num_classes + np.asarray(predicted, np.int64)
    counts = np.bincount(pairs, minlength=num_classes * num_classes)
    matrix: list[list[int]] = counts.reshape(num_classes, num_classes).tolist()
    return matrix


def scatter_points(true: NDArray[np.float64], predicted: NDArray[np.float64]) -> dict[str, list[float]]:
    """Picks points spread evenly over the rows.

    Args:
        true: (rows,) in the target's unit.
        predicted: (rows,) finite, in the target's unit.

    Returns:
        `true` and `predicted`, at most `MAX_SCATTER_POINTS` of each.
    """
    step = max(1, -(-len(true) // MAX_SCATTER_POINTS))
    return {
        "true": [_figure(value) for value in true[::step]],
        "predicted": [_figure(value) for value in predicted[::step]],
    }


def wrong_predictions(dataset: Dataset, outputs: NDArray[np.float32], predicted: NDArray[Any]) -> list[dict[str, Any]]:
    """Returns the test rows that are decided wrongly, the most confident first.

    Args:
        dataset: whose test split was predicted.
        outputs: (rows, num_classes) probabilities.
        predicted: (rows,) class codes.

    Returns:
        `{"row", "name", "true", "predicted", "probability", "pixels", "features"}` each, at most `MAX_WRONG`: `row`
        is its position in the source, from 0; `name` what the source calls it, None where it has no names. Windows of
        series have `series`, their values by channel, too.
    """
    test, names = dataset.split("test"), dataset.schema.class_names
    wrong = np.flatnonzero(np.asarray(test.y) != predicted)
    confidence = outputs[wrong, predicted[wrong]]
    worst = wrong[np.argsort(-confidence, kind="stable")][:MAX_WRONG]
    return [
        {
            **shown_row(dataset, int(position)),
            "true": names[int(test.y[position])],
            "predicted": names[int(predicted[position])],
            "probability": _figure(outputs[position, predicted[position]]),
        }
        for position in worst
    ]


def largest_errors(dataset: Dataset, true: NDArray[np.float64], predicted: NDArray[np.float64]) -> list[dict[str, Any]]:
    """Returns the test rows with the largest errors, the largest first.

    Args:
        dataset: whose test split was predicted.
        true: (rows,) in the target's unit.
        predicted: (rows,) finite, in the target's unit.

    Returns:
        As `wrong_predictions`, with numbers for `true` and `predicted`, and no `probability`.
    """
    error = np.abs(predicted - true)
    return [
        {
            **shown_row(dataset, int(position)),
            "true": _figure(true[position]),
            "predicted": _figure(predicted[position]),
            "probability": None,
        }
        for position in np.argsort(-error, kind="stable")[:MAX_WRONG]
    ]


def shown_row(dataset: Dataset, position: int) -> dict[str, Any]:
    """Tells where the source holds a test row, and what it looks like.

    Returns:
        `{"row", "name", "pixels", "features"}`, see `wrong_predictions`.
    """
    names = dataset.test_names()
    return {
        "row": int(dataset.split("test").rows[position]),
        "name": None if names is None else names[position],
        **_shown(dataset, position),
    }


def _shown(dataset: Dataset, position: int) -> dict[str, Any]:
    """What a test row looks like: its pixels, its raw values by column, or its channels step by step."""
    raw = dataset.raw("test")[position]
    if dataset.schema.kind == "series":
        return {"pixels": None, "features": None, "series": drawn(raw, dataset.schema.channel_names)}
    if dataset.schema.kind == "image":
        return {"pixels": thinned(raw) if raw.shape[-1] in DRAWN_CHANNELS else None, "features": None}
    columns = dataset.preprocessing.columns
    features = {column.name: _raw_value(column, float(value)) for column, value in zip(columns, raw, strict=True)}
    return {"pixels": None, "features": features}


def thinned(pixels: NDArray[Any]) -> list[Any]:
    """Returns (height, width, channels) pixels as lists, every so many left out where there are too many to look at."""
    step = -(-max(pixels.shape[:2]) // MAX_PICTURE_SIDE)
    kept: list[Any] = pixels[::step, ::step].tolist()
    return kept


def _raw_value(column: TableColumn, value: float) -> float | bool | str | None:
    """A raw value as its owner wrote it; None where it is missing."""
    if math.isnan(value):
        return None
    if isinstance(column, NumericColumn):
        return _figure(value)
    if isinstance(column, CategoricalColumn):
        return "<unseen>" if value < 0 else column.categories[int(value)]
    return value != 0.0


def _figure(value: Any) -> float:
    """Seven digits are what a float32 holds."""
    return float(f"{float(value):.7g}")

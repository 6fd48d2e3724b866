"""Real data sets that ship inside scikit-learn: digits, iris, wine, breast cancer, diabetes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.config import BuiltinData, label_use
from data.contract import ConfigError
from data.sources.loaded import Column, Loaded, LoadedImages, LoadedTable, Targets, no_targets

DIGITS_WHITE = 16.0
"""Pixels of scikit-learn's digits are 0 to 16."""

TASK_OF = {
    "digits": "classification",
    "iris": "classification",
    "wine": "classification",
    "breast_cancer": "classification",
    "diabetes": "regression",
}


def load_builtin(config: BuiltinData, task: str) -> Loaded:
    """Loads a data set that scikit-learn ships.

    Args:
        config: which one.
        task: what the data set is for, or one that needs no labels.

    Returns:
        Images for digits, else a table.

    Raises:
        ConfigError: the data set is for another task.
    """
    if task in ("classification", "regression") and task != TASK_OF[config.name]:
        raise ConfigError(
            f"task: expected {TASK_OF[config.name]} for data.name {config.name}, got {task}. "
            f"Set task: {TASK_OF[config.name]}, or name another data set."
        )
    from sklearn import datasets

    loader = getattr(datasets, f"load_{config.name}")
    # The diabetes columns come standardized over all rows unless asked for as they were measured.
    bunch: Any = loader(scaled=False) if config.name == "diabetes" else loader()
    positions = np.arange(len(bunch.target), dtype=np.int64)
    description = {"source": "builtin", "name": config.name, "origin": f"scikit-learn, load_{config.name}"}
    if label_use(config, task) == "unread" or (task != "regression" and TASK_OF[config.name] == "regression"):
        targets = no_targets(len(bunch.target))
    elif task == "regression":
        targets = Targets(np.asarray(bunch.target, np.float64), (), "disease_progression")
    else:
        names = tuple(str(name) for name in bunch.target_names)
        targets = Targets(np.asarray(bunch.target, np.int32), names)
    if config.name == "digits":
        return _digits(bunch.images, targets, positions, description)
    columns = tuple(
        Column(str(name), "numeric", np.asarray(values, np.float64), distinct=len(np.unique(values)))
        for name, values in zip(bunch.feature_names, np.asarray(bunch.data).T, strict=True)
    )
    return LoadedTable(targets, description, positions, columns=columns)


def _digits(
    images: NDArray[np.float64], targets: Targets, positions: NDArray[np.int64], description: dict[str, Any]
) -> LoadedImages:
    pixels = np.rint(images * (255.0 / DIGITS_WHITE)).astype(np.uint8)[..., None]
    return LoadedImages(
        targets,
        description,
        positions,
        shape=(8, 8, 1),
        read=lambda rows: pixels[rows],
        pixel_maximum=DIGITS_WHITE,
    )

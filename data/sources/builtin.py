"""Real data sets that ship inside scikit-learn (digits, iris, wine, breast cancer, diabetes) or Plotly (gapminder)."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.config import BuiltinData, SeriesData, label_use
from data.contract import ConfigError, DataError
from data.sources.loaded import Column, Loaded, LoadedImages, LoadedSeries, LoadedTable, Targets, no_targets

DIGITS_WHITE = 16.0
"""Pixels of scikit-learn's digits are 0 to 16."""

GAPMINDER_FILE = Path("package_data", "datasets", "gapminder.csv.gz")
"""Where Plotly keeps it: 142 countries, 12 times each from 1952 to 2007."""


def load_builtin(config: BuiltinData, task: str) -> Loaded:
    """Loads a data set that scikit-learn or Plotly ships.

    Args:
        config: which one.
        task: what the data set is for, or one that needs no labels.

    Returns:
        Images for digits, series for gapminder, else a table.

    Raises:
        ConfigError: the data set is for another task.
    """
    _check_task(config, task)
    if config.name == "gapminder":
        return _gapminder(task)
    from sklearn import datasets

    loader = getattr(datasets, f"load_{config.name}")
    # The diabetes columns come standardized over all rows unless asked for as they were measured.
    bunch: Any = loader(scaled=False) if config.name == "diabetes" else loader()
    positions = np.arange(len(bunch.target), dtype=np.int64)
    description = {"source": "builtin", "name": config.name, "origin": f"scikit-learn, load_{config.name}"}
    if label_use(config, task) == "unread" or (task != "regression" and config.predicts_numbers):
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


def _check_task(config: BuiltinData, task: str) -> None:
    fitting = "regression" if config.predicts_numbers else "classification"
    if task in ("classification", "regression") and task != fitting:
        raise ConfigError(
            f"task: expected {fitting} for data.name {config.name}, got {task}. "
            f"Set task: {fitting}, or name another data set."
        )


def _gapminder(task: str) -> LoadedSeries:
    from data.sources.series import load_series

    plotly = find_spec("plotly")  # found, not imported: its file alone is read
    if plotly is None or plotly.origin is None:
        raise DataError("data.name: expected the package plotly for gapminder, got none. Install requirements.txt.")
    series = SeriesData(
        source="series",
        path=str(Path(plotly.origin).parent / GAPMINDER_FILE),
        window=6,
        stride=1,
        channels=("lifeExp", "gdpPercap"),
        target="lifeExp" if task == "regression" else None,
        horizon=1,
        time="year",
        group="country",
    )
    loaded = load_series(series, task)
    described = {
        key: loaded.description[key] for key in ("recordings", "steps", "window", "stride", "horizon", "group")
    }
    origin = {"source": "builtin", "name": "gapminder", "origin": "Plotly, plotly.data.gapminder"}
    return replace(loaded, description=origin | described)


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

"""Fits the transforms of table columns, on training rows alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.column_transforms import BooleanColumn, CategoricalColumn, NumericColumn, SignedLog, TableColumn
from data.preprocessing import CLIP
from data.row_blocks import mean_and_deviation, moments, row_blocks, takes_two_values
from data.scratch import Scratch
from data.sources.loaded import Column

HEAVY_SKEWNESS = 2.0
"""Columns skewed beyond this (an exponential distribution has 2) get a logarithm."""

HEAVY_KURTOSIS = 10.0
"""Columns with more excess kurtosis than this (a Laplace distribution has 3) get a logarithm."""

UNIT_QUANTILES = (0.02, 0.05, 0.1, 0.25, 0.5, 0.75)
"""Candidates for the unit of the logarithm: quantiles of the distances from its center."""

MOST_BINS = 16
"""Bins of a column of numbers: what a network gains from more of them is small."""

ROWS_A_BIN = 500
"""Training rows without which a bin is not worth its weights; small tables have no bins."""

RELEASED_BYTES = 64 * 2**20
"""Rows of this size are gathered before the memory through which columns were looked at is given back."""

MOST_BIN_FEATURES = 256
"""Features that the bins of all columns may become together: the first layer pays for each."""


@dataclass(frozen=True)
class FittedColumn:
    """A column's transform and its raw values.

    Attributes:
        transform: fitted on the training rows; None where the column is left out.
        values: (rows,) values of all rows as the source has them; None where left out.
        why_left_out: the reason, where the column is left out.
        position_of: (categories of the source,) float32 position of each in the transform, -1 for those without.
    """

    transform: TableColumn | None
    values: NDArray[Any] | None
    why_left_out: str | None = None
    position_of: NDArray[np.float32] | None = None

    def raw(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        """Returns (n,) float32 values of some rows of an input, as the transform takes them."""
        if self.values is None:
            raise ValueError("raw: expected a column that is an input, got one that is left out.")
        return _float32(self.values[rows], self.position_of)


def fit_column(column: Column, train: NDArray[np.bool_], max_categories: int, num_bins: int = 0) -> FittedColumn:
    """Fits the transform of one column.

    Args:
        column: a recognised column that is an input.
        train: (rows,) marks the training rows; no other row shapes the transform.
        max_categories: most categories that get a slot of their own.
        num_bins: most bins of a column of numbers; see `bins_for`.

    Returns:
        The transform and the raw values, or the reason to leave the column out.
    """
    if column.values is None:
        return FittedColumn(None, None, column.why_left_out)
    training = _training_values(column.values, train)
    missing = np.isnan(training)
    present = training[~missing]
    if len(present) == 0:
        return FittedColumn(None, None, "no value in the training split")
    if not missing.any() and (present == present[0]).all():
        return FittedColumn(None, None, "constant in the training split")
    if column.kind == "categorical":
        return _fit_categorical(column, training, max_categories)
    if column.kind == "boolean":
        impute = float(np.count_nonzero(present) > 0.5 * len(present))
        transform = BooleanColumn(name=column.name, impute=impute, indicator=bool(missing.any()))
        return FittedColumn(transform, column.values)
    del missing, present
    return FittedColumn(fit_numeric(column.name, training, num_bins), column.values)


def _training_values(values: NDArray[Any], train: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Returns (training rows,) float32."""
    training = np.empty(int(np.count_nonzero(train)), np.float32)
    start = 0
    for rows in row_blocks(len(values)):
        block = _float32(values[rows][train[rows]])
        training[start : start + len(block)] = block
        start += len(block)
    return training


def _float32(values: NDArray[Any], position_of: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    missing = np.isnan(values)
    if position_of is None:
        narrow = np.asarray(values, np.float32)
        # One NaN: rows are compared by their bytes.
        return np.where(missing, np.float32(np.nan), narrow) if missing.any() else narrow
    codes = np.full(len(values), np.nan, np.float32)
    codes[~missing] = position_of[values[~missing].astype(np.int64)]
    return codes


def bins_for(num_rows: int, num_columns: int) -> int:
    """Returns how many bins each column of numbers gets; 0 where rows are few or columns many.

    Args:
        num_rows: rows of the training split.
        num_columns: columns of numbers.
    """
    bins = min(MOST_BINS, num_rows // ROWS_A_BIN, MOST_BIN_FEATURES // max(num_columns, 1))
    return bins if bins > 1 else 0


def fit_numeric(name: str, training: NDArray[np.float32], num_bins: int = 0) -> NumericColumn:
    """Fits imputation, logarithm, standardization and bins of a numeric column.

    Args:
        name: name of the column.
        training: (rows,) float32 training values, NaN where missing, at least one present.
        num_bins: most bins; values that repeat make fewer.

    Returns:
        The transform; its figures are representable in float32.
    """
    missing = np.isnan(training)
    lacks = bool(missing.any())
    present = training[~missing] if lacks else training
    impute = float(np.float32(np.median(present)))
    log = _signed_log(present)

    def seen(block: NDArray[Any]) -> NDArray[np.float32]:
        return block.astype(np.float32) if log is None else log.apply(block.astype(np.float32))

    # Imputed rows count: mean and scale are those of the feature that the network is going to see.
    average, deviation = mean_and_deviation(
        np.where(missing, np.float32(impute), training) if lacks else training, seen
    )
    mean, scale = float(np.float32(average)), float(np.float32(deviation))
    if scale <= 0.0 or not np.isfinite(np.float32(1.0) / np.float32(scale)):
        scale = 1.0
    column = NumericColumn(name=name, impute=impute, indicator=lacks, log=log, mean=mean, scale=scale)
    return column.model_copy(update={"edges": _edges(column, present, num_bins)})


def _edges(column: NumericColumn, present: NDArray[np.float32], num_bins: int) -> tuple[float, ...]:
    """Returns quantiles of the standardized values, each once; none where they make one bin, which says nothing new."""
    if num_bins == 0:
        return ()
    standardized = np.empty(len(present), np.float32)
    for rows in row_blocks(len(present)):
        standardized[rows] = column.encode(present[rows], CLIP)[:, 0]
    places = np.linspace(0.0, 1.0, num_bins + 1)
    edges = np.unique(np.quantile(standardized, places, method="nearest", overwrite_input=True))
    return tuple(float(edge) for edge in edges) if len(edges) > 2 else ()


def _signed_log(values: NDArray[np.float32]) -> SignedLog | None:
    """Returns the logarithm that best evens out a heavy tail; None where there is none or it helps nothing."""
    skewness, kurtosis = moments(values)
    if (abs(skewness) <= HEAVY_SKEWNESS and kurtosis <= HEAVY_KURTOSIS) or takes_two_values(values):
        return None
    if abs(skewness) <= HEAVY_SKEWNESS:
        center = _middle(values)  # both tails are heavy
    else:
        center = float(values.min() if skewness > 0 else values.max())
    center = float(np.float32(center))
    distances = values.astype(np.float64)
    np.abs(np.subtract(distances, center, out=distances), out=distances)
    distances = distances[distances > 0]
    units = {float(np.float32(unit)) for unit in np.quantile(distances, UNIT_QUANTILES, overwrite_input=True)}
    del distances
    best, log = abs(skewness) + max(kurtosis, 0.0), None
    for unit in sorted(unit for unit in units if unit > 0.0):
        candidate = SignedLog(center=center, unit=unit)
        skewness, kurtosis = moments(values, partial(_logarithm, candidate))
        if abs(skewness) + max(kurtosis, 0.0) < best:
            best, log = abs(skewness) + max(kurtosis, 0.0), candidate
    return log


def _logarithm(log: SignedLog, block: NDArray[Any]) -> NDArray[np.float32]:
    return log.apply(block.astype(np.float32))


def _middle(values: NDArray[np.float32]) -> float:
    """Returns the median, its two middle values averaged in float64."""
    high = len(values) // 2
    low = high if len(values) % 2 else high - 1
    ordered = np.partition(values, [low, high])
    return (float(ordered[low]) + float(ordered[high])) / 2.0


def _fit_categorical(column: Column, training: NDArray[np.float32], max_categories: int) -> FittedColumn:
    """Gives the most frequent training categories a slot each; the rest shares one."""
    missing = np.isnan(training)
    counts = np.bincount(training[~missing].astype(np.int64), minlength=len(column.vocabulary))
    by_frequency = np.lexsort((np.arange(len(counts)), -counts))
    kept = np.sort(by_frequency[: min(max_categories, int((counts > 0).sum()))])
    rare = int(counts.sum() - counts[kept].sum())
    slot_counts = [*counts[kept], *([int(missing.sum())] if missing.any() else []), *([rare] if rare else [])]
    categories = tuple(column.vocabulary[position] for position in kept)
    slots = (*categories, *(["<missing>"] if missing.any() else []), *(["<unseen>"] if rare else []))
    if rare:
        unseen = _one_hot(len(slots) - 1, len(slots))
    else:
        unseen = tuple(float(np.float32(count / len(training))) for count in slot_counts)
    transform = CategoricalColumn(
        name=column.name,
        categories=categories,
        slots=slots,
        missing=_one_hot(len(kept), len(slots)) if missing.any() else unseen,
        unseen=unseen,
    )
    position_of = np.full(len(column.vocabulary), -1.0, np.float32)
    position_of[kept] = np.arange(len(kept), dtype=np.float32)
    return FittedColumn(transform, column.values, position_of=position_of)


def _one_hot(position: int, length: int) -> tuple[float, ...]:
    return tuple(1.0 if index == position else 0.0 for index in range(length))


class RawRows:
    """Raw values of the columns that are inputs, gathered from their columns when rows are asked for."""

    dtype = np.dtype(np.float32)

    def __init__(self, fitted: Sequence[FittedColumn], scratch: Scratch | None) -> None:
        """Takes the columns, in order, and the folder in whose files they may lie."""
        self._columns = [column for column in fitted if column.values is not None]
        self._scratch = scratch
        self._seen_bytes = 0

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self), len(self._columns)

    def __len__(self) -> int:
        return 0 if self._columns[0].values is None else len(self._columns[0].values)

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        """Returns (n, columns) float32 of some rows, each column in one piece of memory, as transforms read them."""
        block = np.stack([column.raw(rows) for column in self._columns]).T
        self._seen_bytes += block.nbytes
        if self._scratch is not None and self._seen_bytes > RELEASED_BYTES:
            self._seen_bytes = 0
            for column in self._columns:
                if column.values is not None:
                    self._scratch.release(column.values)
        return block

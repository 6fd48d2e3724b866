"""Fits the transforms of table columns, on training rows alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.column_transforms import BooleanColumn, CategoricalColumn, NumericColumn, SignedLog, TableColumn
from data.preprocessing import CLIP
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

MOST_BIN_FEATURES = 256
"""Features that the bins of all columns may become together: the first layer pays for each."""


@dataclass(frozen=True)
class FittedColumn:
    """A column's transform and its raw values.

    Attributes:
        transform: fitted on the training rows; None where the column is left out.
        raw: (rows,) float32 values of all rows as the transform takes them; None where left out.
        why_left_out: the reason, where the column is left out.
    """

    transform: TableColumn | None
    raw: NDArray[np.float32] | None
    why_left_out: str | None = None


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
    raw = np.asarray(column.values, np.float32)
    raw = np.where(np.isnan(raw), np.float32(np.nan), raw)  # one NaN: rows are compared by their bytes
    training = raw[train]
    missing = np.isnan(training)
    present = training[~missing]
    if len(present) == 0:
        return FittedColumn(None, None, "no value in the training split")
    if not missing.any() and (present == present[0]).all():
        return FittedColumn(None, None, "constant in the training split")
    if column.kind == "categorical":
        return _fit_categorical(column, training, raw, max_categories)
    if column.kind == "boolean":
        impute = float(np.mean(present) > 0.5)
        return FittedColumn(BooleanColumn(name=column.name, impute=impute, indicator=bool(missing.any())), raw)
    return FittedColumn(fit_numeric(column.name, training, num_bins), raw)


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
    present = training[~missing]
    impute = float(np.float32(np.median(present)))
    log = _signed_log(present.astype(np.float64))
    # Imputed rows count: mean and scale are those of the feature that the network is going to see.
    values = np.where(missing, np.float32(impute), training)
    values = (values if log is None else log.apply(values)).astype(np.float64)
    mean, scale = float(np.float32(values.mean())), float(np.float32(values.std()))
    if scale <= 0.0 or not np.isfinite(np.float32(1.0) / np.float32(scale)):
        scale = 1.0
    column = NumericColumn(name=name, impute=impute, indicator=bool(missing.any()), log=log, mean=mean, scale=scale)
    return column.model_copy(update={"edges": _edges(column.encode(present, CLIP)[:, 0], num_bins)})


def _edges(standardized: NDArray[np.float32], num_bins: int) -> tuple[float, ...]:
    """Returns quantiles of the values, each once; none where they make one bin, which would say nothing new."""
    if num_bins == 0:
        return ()
    quantiles = np.quantile(standardized, np.linspace(0.0, 1.0, num_bins + 1), method="nearest")
    edges = np.unique(quantiles)
    return tuple(float(edge) for edge in edges) if len(edges) > 2 else ()


def moments(values: NDArray[np.float64]) -> tuple[float, float]:
    """Returns skewness and excess kurtosis of (n,) values: m3 / m2**1.5 and m4 / m2**2 - 3; zeros if constant."""
    largest = float(np.abs(values).max())
    if largest == 0.0:
        return 0.0, 0.0
    centered = values / largest  # fourth powers of large numbers overflow
    centered = centered - centered.mean()
    variance = float(np.mean(centered**2))
    if variance <= 1e-24:
        return 0.0, 0.0
    return float(np.mean(centered**3) / variance**1.5), float(np.mean(centered**4) / variance**2 - 3.0)


def _signed_log(values: NDArray[np.float64]) -> SignedLog | None:
    """Returns the logarithm that best evens out a heavy tail; None where there is none or it helps nothing."""
    skewness, kurtosis = moments(values)
    if (abs(skewness) <= HEAVY_SKEWNESS and kurtosis <= HEAVY_KURTOSIS) or len(np.unique(values)) <= 2:
        return None
    if abs(skewness) <= HEAVY_SKEWNESS:
        center = float(np.median(values))  # both tails are heavy
    else:
        center = float(values.min() if skewness > 0 else values.max())
    center = float(np.float32(center))
    distances = np.abs(values - center)
    units = {float(np.float32(unit)) for unit in np.quantile(distances[distances > 0], UNIT_QUANTILES)}
    best, log = abs(skewness) + max(kurtosis, 0.0), None
    for unit in sorted(unit for unit in units if unit > 0.0):
        candidate = SignedLog(center=center, unit=unit)
        skewness, kurtosis = moments(candidate.apply(values.astype(np.float32)).astype(np.float64))
        if abs(skewness) + max(kurtosis, 0.0) < best:
            best, log = abs(skewness) + max(kurtosis, 0.0), candidate
    return log


def _fit_categorical(
    column: Column, training: NDArray[np.float32], raw: NDArray[np.float32], max_categories: int
) -> FittedColumn:
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
    codes = np.full(len(raw), np.nan, np.float32)
    present = ~np.isnan(raw)
    codes[present] = position_of[raw[present].astype(np.int64)]
    return FittedColumn(transform, codes)


def _one_hot(position: int, length: int) -> tuple[float, ...]:
    return tuple(1.0 if index == position else 0.0 for index in range(length))


def raw_matrix(fitted: Sequence[FittedColumn]) -> NDArray[np.float32]:
    """Returns (rows, columns) float32: the raw values of the columns that are inputs, in order."""
    return np.stack([column.raw for column in fitted if column.raw is not None], axis=1)

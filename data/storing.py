"""Stores the inputs of each split: pixels as they are, tables through their fitted transforms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.c_source import write_c_source
from data.contract import SPLIT_NAMES, DataError, Progress
from data.fitting import FittedColumn, RawRows, bins_for, fit_column
from data.parallel import in_order, threads_for
from data.preprocessing import Preprocessing
from data.profile import column_profile, duplicate_columns
from data.scratch import Scratch
from data.sources.loaded import Column, LoadedImages, LoadedTable
from data.splits import TRAIN
from data.storage import digest_rows, num_threads, write_array

DARK_MAXIMUM = 64
"""Images whose brightest pixel is below this are worth a warning."""


@dataclass(frozen=True)
class Stored:
    """What storing the inputs tells.

    Attributes:
        preprocessing: from raw rows to what is stored.
        digests: (rows,) digest of each row's inputs.
        columns: figures of each column, for the profile.
        same_columns: names of columns that hold the same values.
        value_range: least and largest stored value.
        warnings: what the user should know.
        read: takes row numbers (n,) of the source and returns their inputs as they are stored.
        series: what the profile says of recordings and windows; None for other sources.
    """

    preprocessing: Preprocessing
    digests: NDArray[np.uint64]
    columns: list[dict[str, Any]]
    same_columns: list[list[str]]
    value_range: tuple[float, float]
    warnings: list[str]
    read: Callable[[NDArray[np.int64]], NDArray[Any]]
    series: dict[str, Any] | None = None


def store_images(
    loaded: LoadedImages,
    assignment: NDArray[np.int8],
    common: Mapping[str, Any],
    folder: Path,
    progress: Progress,
) -> Stored:
    """Writes the pixels of each split, uint8, without ever holding a split in memory.

    Args:
        loaded: the images.
        assignment: (rows,) split codes.
        common: fields of `Preprocessing` that every source has.
        folder: where the arrays go.
        progress: told how many rows are stored.
    """
    digests = np.zeros(len(assignment), np.uint64)  # rows of no split keep the 0
    lowest, highest, done = 255, 0, 0

    def told(before: int, rows: int) -> None:
        progress.step("store", before + rows, len(assignment), {})

    for code, name in enumerate(SPLIT_NAMES):
        chosen = np.flatnonzero(assignment == code)
        path = folder / f"{name}_x.npy"
        write_array(
            path, (len(chosen), *loaded.shape), np.uint8, partial(_gathered, loaded.read, chosen), partial(told, done)
        )
        done += len(chosen)
        pixels = np.load(path, mmap_mode="r", allow_pickle=False)
        digests[chosen] = digest_rows(pixels)
        lowest, highest = min(lowest, int(pixels.min())), max(highest, int(pixels.max()))
    preprocessing = Preprocessing(
        kind="image", input_shape=loaded.shape, divisor=255.0, pixel_maximum=loaded.pixel_maximum, columns=(), **common
    )
    return Stored(preprocessing, digests, [], [], (lowest, highest), _pixel_warnings(lowest, highest), loaded.read)


def store_table(
    loaded: LoadedTable,
    assignment: NDArray[np.int8],
    common: Mapping[str, Any],
    folder: Path,
    progress: Progress,
) -> Stored:
    """Fits the columns on the training rows and writes the features of each split, float32.

    Args:
        loaded: the table.
        assignment: (rows,) split codes.
        common: fields of `Preprocessing` that every source has.
        folder: where the arrays and the C source go.
        progress: told how many columns are fitted.

    Raises:
        DataError: no column can be learned from.
    """
    fitted = _fit(loaded, assignment == TRAIN, progress)
    transforms = tuple(column.transform for column in fitted if column.transform is not None)
    preprocessing = Preprocessing(
        kind="vector",
        input_shape=(sum(len(transform.features) for transform in transforms),),
        divisor=1.0,
        pixel_maximum=1.0,
        columns=transforms,
        source_columns=tuple(column.name for column in loaded.columns),
        **common,
    )
    raw = RawRows(fitted, loaded.scratch)
    digests, (lowest, highest) = _write_features(preprocessing, raw, assignment, folder, progress)
    write_c_source(preprocessing, folder)
    pairs = list(zip(loaded.columns, fitted, strict=True))
    columns = list(in_order(partial(_described, loaded.scratch), pairs, threads_for(8 * len(assignment))))
    same = duplicate_columns([column for column, fit in pairs if fit.values is not None])
    warnings = _constant_warnings(pairs)
    read = partial(_transformed, preprocessing, raw)
    return Stored(preprocessing, digests, columns, same, (lowest, highest), warnings, read)


def _described(scratch: Scratch | None, pair: tuple[Column, FittedColumn]) -> dict[str, Any]:
    column, fit = pair
    found = column_profile(column, fit.why_left_out)
    if scratch is not None and column.values is not None:
        scratch.release(column.values)
    return found


def _transformed(preprocessing: Preprocessing, raw: RawRows, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    return preprocessing.transform(raw[rows])


def _gathered(
    read: Callable[[NDArray[np.int64]], NDArray[Any]], chosen: NDArray[np.int64], rows: slice
) -> NDArray[Any]:
    return read(chosen[rows])


def _pixel_warnings(lowest: int, highest: int) -> list[str]:
    if lowest == highest:
        return [f"Every pixel of every image is {lowest}."]
    if highest < DARK_MAXIMUM:
        return [f"The brightest pixel is {highest} of 255: scale the images, or the model hardly sees them."]
    return []


def _fit(loaded: LoadedTable, train: NDArray[np.bool_], progress: Progress) -> list[FittedColumn]:
    fitted: list[FittedColumn] = []
    numbers = sum(column.kind == "numeric" and column.why_left_out is None for column in loaded.columns)
    num_bins = bins_for(int(train.sum()), numbers) if loaded.binned else 0

    def fit(column: Column) -> FittedColumn:
        if column.why_left_out is not None:
            return FittedColumn(None, None, column.why_left_out)
        found = fit_column(column, train, loaded.max_categories, num_bins)
        if loaded.scratch is not None and column.values is not None:
            loaded.scratch.release(column.values)
        return found

    for column in in_order(fit, loaded.columns, threads_for(8 * len(train))):
        fitted.append(column)
        progress.step("fit", len(fitted), len(loaded.columns), {})
    if not fitted:
        raise DataError(
            "data.features: expected one or more columns to learn from, got none beside the target. Add columns."
        )
    if all(column.transform is None for column in fitted):
        pairs = zip(loaded.columns, fitted, strict=True)
        reasons = "; ".join(f"{column.name}: {fit.why_left_out}" for column, fit in pairs)
        raise DataError(
            f"data.features: expected one or more columns to learn from, got none ({reasons}). "
            "Add columns, or overrule their recognised type in data.types."
        )
    return fitted


def _write_features(
    preprocessing: Preprocessing, raw: RawRows, assignment: NDArray[np.int8], folder: Path, progress: Progress
) -> tuple[NDArray[np.uint64], tuple[float, float]]:
    """Writes features of all splits, raw rows of the held-out ones; returns digests and the range of the features."""
    digests = np.zeros(len(assignment), np.uint64)  # rows of no split keep the 0
    ends: list[float] = []  # appended to by several threads
    done = 0

    def features(chosen: NDArray[np.int64], rows: slice) -> NDArray[np.float32]:
        of_rows = raw[chosen[rows]]
        digests[chosen[rows]] = digest_rows(of_rows)
        block = preprocessing.transform(of_rows)
        ends.extend((float(block.min()), float(block.max())))
        return block

    def told(before: int, rows: int) -> None:
        progress.step("store", before + rows, len(assignment), {})

    threads = num_threads()
    for code, name in enumerate(SPLIT_NAMES):
        chosen = np.flatnonzero(assignment == code)
        shape = (len(chosen), *preprocessing.input_shape)
        of_split = partial(features, chosen)
        path = folder / f"{name}_x.npy"
        write_array(path, shape, np.float32, of_split, partial(told, done), threads=threads)
        done += len(chosen)
        if name != "train":
            shape = (len(chosen), raw.shape[1])
            of_split = partial(_gathered, raw.__getitem__, chosen)
            write_array(folder / f"{name}_raw.npy", shape, np.float32, of_split, threads=threads)
    return digests, (min(ends), max(ends))


def _constant_warnings(pairs: list[tuple[Any, FittedColumn]]) -> list[str]:
    """Names the columns that only fitting found useless; recognition names its own."""
    return [
        f"Column {column.name!r} is left out: {fit.why_left_out}."
        for column, fit in pairs
        if column.why_left_out is None and fit.why_left_out is not None
    ]

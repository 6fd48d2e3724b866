"""Opens raw rows in the format of a model's source: the same for predictions and for rows without labels."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from data.array_files import npz_names, read_npy, read_npz
from data.column_transforms import CategoricalColumn, NumericColumn
from data.contract import DataError
from data.paths import nearest
from data.pixels import as_pixels, check_finite
from data.preprocessing import Preprocessing
from data.scratch import Scratch

if TYPE_CHECKING:
    import pandas


def open_pixels(
    preprocessing: Preprocessing, path: Path, array_name: str | None = None, scratch: Scratch | None = None
) -> tuple[Callable[[NDArray[np.int64]], NDArray[np.uint8]], int]:
    """Opens images in an .npy, .npz or IDX file, in the units the model learned from.

    Args:
        preprocessing: of the model.
        path: the file.
        array_name: name of the array in an .npz file; that of the training data when left out.
        scratch: where packed arrays are unpacked to; None: into memory.

    Returns:
        A function that takes row numbers (n,) and returns uint8 (n, height, width, channels); and how many rows
        there are.

    Raises:
        DataError: the file is malformed or its rows have another shape; by the function: a value is outside of the
            units.
    """
    maximum = preprocessing.pixel_maximum
    if path.suffix.lower() in (".npy", ".npz"):
        array = _array(preprocessing, path, array_name, scratch)
        check_finite(array, path.name)
        _check_units(array, maximum, path)
    elif "idx3" in path.name:
        from data.sources.idx import read_idx

        array = read_idx(path, 3, scratch)
    else:
        raise wrong_format(path, "an image, a folder of images, .npy, .npz or an IDX file with idx3 in its name")
    shape = preprocessing.input_shape
    whole = (shape, shape[:2]) if shape[2] == 1 else (shape,)
    images = array[None] if array.shape in whole else array
    if images.shape[1:] not in whole:
        raise DataError(
            f"input: expected images of shape {shape}, got an array of shape {array.shape} in {path.name!r}. "
            "Resize them."
        )
    return (lambda rows: as_pixels(images[rows], maximum, repr(path.name)).reshape(-1, *shape)), len(images)


def _check_units(array: NDArray[Any], maximum: float, path: Path) -> None:
    """Refuses fractions where the model learned from larger numbers: they would all be black."""
    if array.dtype.kind not in "fb" or maximum <= 1.0 or array.size == 0:
        return
    lowest, highest = float(array.min()), float(array.max())
    if lowest >= 0.0 and 0.0 < highest <= 1.0:
        raise DataError(
            f"input: expected pixels of 0 to {maximum:g}, got {array.dtype} of {lowest:g} to {highest:g} in "
            f"{path.name!r}. Multiply them by {maximum:g}."
        )


def read_vectors(preprocessing: Preprocessing, path: Path, array_name: str | None = None) -> NDArray[np.float32]:
    """Reads rows with all columns of the source, or with the model's columns alone, from an .npy or .npz file.

    Args:
        preprocessing: of the model.
        path: the file.
        array_name: name of the array in an .npz file; that of the training data when left out.

    Returns:
        (rows, columns) float32, as `Preprocessing.transform` takes them.

    Raises:
        DataError: the file is malformed, its values are not finite, or its rows have another length.
    """
    array = _array(preprocessing, path, array_name)
    check_finite(array, path.name)
    used = [column.name for column in preprocessing.columns]
    sources = preprocessing.source_columns
    if array.shape in ((len(sources),), (len(used),)):
        array = array[None]
    width = math.prod(array.shape[1:]) if array.ndim > 1 else array.size
    rows = array.reshape(-1, width) if width else array.reshape(1, 0)
    if rows.shape[1] == len(sources):
        rows = rows[:, [sources.index(name) for name in used]]
    elif rows.shape[1] != len(used):
        raise DataError(
            f"input: expected rows of {len(sources)} numbers, got shape {array.shape} in {path.name!r}. "
            "Give the columns of the training data, in their order."
        )
    if rows.dtype.kind == "f" and rows.size and np.abs(rows).max() > np.finfo(np.float32).max:
        raise DataError(f"input: expected numbers within ±3.4e38, got larger in {path.name!r}. Correct the numbers.")
    return rows.astype(np.float32)


def read_table(preprocessing: Preprocessing, path: Path) -> NDArray[np.float32]:
    """Reads the model's columns of a table; other columns are not looked at.

    Returns:
        (rows, columns) float32, as `Preprocessing.transform` takes them: numbers, 0/1 or positions of categories
        (-1: unseen), NaN where missing.

    Raises:
        DataError: the file is malformed, a column is missing, or its values are of another type.
    """
    from data.table_files import read_frame

    categorical = [column.name for column in preprocessing.columns if isinstance(column, CategoricalColumn)]
    frame = read_frame(path, categorical).frame
    known = [str(name) for name in frame.columns]
    absent = [column.name for column in preprocessing.columns if column.name not in known]
    if absent:
        named = ", ".join(f"{name!r}{nearest(name, known)}" for name in absent[:10])
        raise DataError(
            f"input: expected the columns the model learned from, got no {named} in {path.name!r}. "
            "Add or rename the columns."
        )
    return np.stack([_column_values(column, frame) for column in preprocessing.columns], axis=1)


def _column_values(column: Any, frame: pandas.DataFrame) -> NDArray[np.float32]:
    from data.columns import as_booleans, as_categories, as_numbers

    series = frame[column.name]
    if isinstance(column, NumericColumn):
        return as_numbers(series, column.name).astype(np.float32)
    if not isinstance(column, CategoricalColumn):
        return as_booleans(series, column.name).astype(np.float32)
    codes, vocabulary = as_categories(series, column.name)
    position = {name: place for place, name in enumerate(column.categories)}
    values = np.array([*(position.get(name, -1) for name in vocabulary), np.nan], np.float32)
    return values[codes]


def _array(
    preprocessing: Preprocessing, path: Path, array_name: str | None = None, scratch: Scratch | None = None
) -> NDArray[Any]:
    if path.suffix.lower() == ".npy":
        array = read_npy(path)
    elif array_name is not None:
        array = read_npz(path, array_name, "data.x", scratch)
    else:
        names = npz_names(path)
        array = read_npz(path, names[0] if len(names) == 1 else preprocessing.array_name, "input")
    if array.dtype.kind not in "biuf":
        raise DataError(f"input: expected numbers, got {array.dtype} in {path.name!r}. Convert the array.")
    return np.atleast_1d(array)


def wrong_format(path: Path, expected: str) -> DataError:
    """Returns the error for input in another format than the one that is expected."""
    found = f"{'the folder ' if path.is_dir() else ''}{path.name!r}"
    return DataError(f"input: expected {expected}, got {found}. Give input in the format the model learned from.")

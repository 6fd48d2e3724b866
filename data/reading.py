"""Reads raw input for predictions, in the source's own format."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from data.array_files import npz_names, read_npy, read_npz
from data.contract import DataError
from data.image_folders import IMAGE_SUFFIXES, files_below, is_image_name
from data.paths import existing, nearest
from data.pictures import UnreadablePicture, read_picture, unreadable_error
from data.pixels import as_pixels, check_finite
from data.preprocessing import CategoricalColumn, NumericColumn, Preprocessing
from data.source_files import TABLE_SUFFIXES

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class RawInput:
    """Rows to predict.

    Attributes:
        names: what each row is called: a file's path inside its folder, or `row 1`.
        x: (rows, *input_shape) float32 model input.
        raw: (rows, ...) as `Preprocessing.transform` takes it: uint8 pixels, or float32 columns.
    """

    names: list[str]
    x: NDArray[np.float32]
    raw: NDArray[Any]


def read_input(preprocessing: Preprocessing, path: Path) -> RawInput:
    """Reads raw input in the source's own format and turns it into model input.

    Args:
        preprocessing: of the model; its source says what is read.
        path: CSV, TSV or Parquet for tables; an image or a folder of images, .npy, .npz or IDX for images; .npy or
            .npz for arrays.

    Returns:
        The rows, with their names.

    Raises:
        DataError: it is missing, malformed, or lacks what the model needs.
    """
    existing(path, "file or folder", "input")
    name = "" if path.is_dir() else path.name.lower()
    raw: NDArray[Any]
    if preprocessing.kind == "image":
        names, raw = _images(preprocessing, path)
    elif name.endswith(TABLE_SUFFIXES) and preprocessing.source in ("table", "builtin"):
        names, raw = _table(preprocessing, path)
    elif name.endswith((".npy", ".npz")) and preprocessing.source in ("arrays", "builtin"):
        names, raw = _vectors(preprocessing, path)
    else:
        suffixes = TABLE_SUFFIXES if preprocessing.source == "table" else (".npy", ".npz")
        raise _wrong_format(path, ", ".join(suffixes))
    if len(raw) == 0:
        raise DataError(f"input: expected one or more rows, got none in {path.name!r}. Check the file.")
    return RawInput(names, preprocessing.transform(raw), raw)


def _wrong_format(path: Path, expected: str) -> DataError:
    found = f"{'the folder ' if path.is_dir() else ''}{path.name!r}"
    return DataError(f"input: expected {expected}, got {found}. Give input in the format the model learned from.")


def _images(preprocessing: Preprocessing, path: Path) -> tuple[list[str], NDArray[np.uint8]]:
    pictures = path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES
    if pictures and preprocessing.input_shape[2] not in (1, 3):
        raise _wrong_format(path, f".npy or .npz of images of {preprocessing.input_shape[2]} channels")
    if path.is_dir():
        files = [file for file in files_below(path, path) if is_image_name(file)]
        if not files:
            raise DataError(f"input: expected PNG, JPEG or BMP files, got none in {str(path)!r}. Check the folder.")
        return _pictures(preprocessing, files, [str(file.relative_to(path)) for file in files])
    if pictures:
        return _pictures(preprocessing, [path], [path.name])
    if path.suffix.lower() in (".npy", ".npz"):
        array = _array(preprocessing, path)
        check_finite(array, path.name)
        _check_units(array, preprocessing.pixel_maximum, path)
        pixels = as_pixels(array, preprocessing.pixel_maximum, repr(path.name))
    elif "idx3" in path.name:
        from data.sources.idx import read_idx

        pixels = read_idx(path, 3)
    else:
        raise _wrong_format(path, "an image, a folder of images, .npy, .npz or an IDX file with idx3 in its name")
    shape = preprocessing.input_shape
    for candidate in (shape, shape[:2] if shape[2] == 1 else shape):
        if pixels.shape == candidate:
            pixels = pixels[None]
        if pixels.shape[1:] == candidate:
            return _row_names(len(pixels)), np.asarray(pixels).reshape(-1, *shape)
    raise DataError(
        f"input: expected images of shape {shape}, got an array of shape {pixels.shape} in {path.name!r}. Resize them."
    )


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


def _pictures(preprocessing: Preprocessing, files: list[Path], names: list[str]) -> tuple[list[str], NDArray[np.uint8]]:
    pixels = np.empty((len(files), *preprocessing.input_shape), np.uint8)
    unreadable = []
    for position, (file, name) in enumerate(zip(files, names, strict=True)):
        try:
            pixels[position] = read_picture(file, preprocessing.input_shape)
        except UnreadablePicture as error:
            unreadable.append((name, str(error)))
    if unreadable:
        raise unreadable_error(unreadable, "Remove or replace them.")
    return names, pixels


def _array(preprocessing: Preprocessing, path: Path) -> NDArray[Any]:
    if path.suffix.lower() == ".npy":
        array = read_npy(path)
    else:
        names = npz_names(path)
        array = read_npz(path, names[0] if len(names) == 1 else preprocessing.array_name, "input")
    if array.dtype.kind not in "biuf":
        raise DataError(f"input: expected numbers, got {array.dtype} in {path.name!r}. Convert the array.")
    return np.atleast_1d(array)


def _vectors(preprocessing: Preprocessing, path: Path) -> tuple[list[str], NDArray[np.float32]]:
    """Takes rows with all columns of the source, or with the model's columns alone."""
    array = _array(preprocessing, path)
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
    return _row_names(len(rows)), rows.astype(np.float32)


def _table(preprocessing: Preprocessing, path: Path) -> tuple[list[str], NDArray[np.float32]]:
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
    raw = np.stack([_column_values(column, frame) for column in preprocessing.columns], axis=1)
    return _row_names(len(raw)), raw


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


def _row_names(num_rows: int) -> list[str]:
    return [f"row {number}" for number in range(1, num_rows + 1)]

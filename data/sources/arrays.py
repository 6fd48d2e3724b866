"""NumPy arrays: one .npz, or .npy files in a folder; inputs, targets, perhaps a test split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.array_files import npz_names, read_npy, read_npz
from data.config import ArraysData, LabelUse, label_use
from data.contract import DataError
from data.parallel import in_order, threads_for
from data.pixels import as_pixels, check_finite, pixel_maximum
from data.row_blocks import distinct_values
from data.scratch import Scratch
from data.source_files import array_files, reads_targets
from data.sources.array_columns import columns_of
from data.sources.loaded import Column, Loaded, LoadedImages, LoadedTable, Targets, no_targets
from data.splits import TEST, TRAIN
from data.targets import classes_from_names, classes_from_numbers


def load_arrays(config: ArraysData, task: str, scratch: Scratch | None = None) -> Loaded:
    """Loads arrays.

    Rows of two or three dimensions are images if 0 to 255 holds them without loss (uint8, whole numbers of 0 to 255,
    booleans, floats that are k/255), with a warning unless they are uint8; all other rows are vectors, flattened.

    Args:
        config: path and names of the arrays; `kind` overrules what a row is.
        task: says whether targets are needed, and what they are.
        scratch: where arrays of an .npz file are unpacked to, and where the columns of vectors are kept; None: in
            memory.

    Returns:
        Images, or a table of numbers.

    Raises:
        DataError: an array is missing, pickled, malformed, not finite, or does not fit the others.
    """
    arrays = _read(config, label_use(config, task), scratch)
    parts_x, parts_y = _checked_parts(config, arrays)
    num_rows = sum(len(part) for part in parts_x)
    given = None
    if len(parts_x) == 2:
        given = np.repeat(np.array([TRAIN, TEST], np.int8), [len(part) for part in parts_x])
    maximum, warnings = _kind(config, parts_x)
    common: dict[str, Any] = {
        "targets": _targets(np.concatenate([part.reshape(-1) for part in parts_y]), config.y, task)
        if parts_y
        else no_targets(num_rows),
        "description": {
            "source": "arrays",
            "file": Path(config.path).name,
            "x": {"shape": [num_rows, *parts_x[0].shape[1:]], "type": str(parts_x[0].dtype)},
            "ships_splits": given is not None,
        },
        "positions": np.arange(num_rows, dtype=np.int64),
        "warnings": warnings,
        "given": given,
    }
    return _table(config.x, parts_x, common, scratch) if maximum is None else _images(parts_x, maximum, common)


def _read(config: ArraysData, labels: LabelUse, scratch: Scratch | None) -> dict[str, NDArray[Any]]:
    path = Path(config.path)
    x_test, y_test = f"{config.x}_test", f"{config.y}_test"
    files = array_files(config, labels)
    if path.is_file():
        names = npz_names(path)
        fields = {config.x: "data.x", x_test: "data.path"}
        if reads_targets(config, labels, names):
            fields |= {config.y: "data.y", y_test: "data.path"}
        wanted = {name: field for name, field in fields.items() if name in names or field != "data.path"}
        arrays = {name: read_npz(path, name, field, scratch) for name, field in wanted.items()}
    else:
        arrays = {name: read_npy(file) for name, file in files.items()}
    if config.y in arrays and (x_test in arrays) != (y_test in arrays):
        lone, other = (y_test, x_test) if y_test in arrays else (x_test, y_test)
        raise DataError(f"data.path: expected {other!r} beside {lone!r}, got none. Add it, or rename {lone!r}.")
    return arrays


def _checked_parts(
    config: ArraysData, arrays: dict[str, NDArray[Any]]
) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
    """Returns the inputs and the targets, if any: those of training, then of the test split where there is one."""
    suffixes = ("", "_test") if f"{config.x}_test" in arrays else ("",)
    parts_x = [arrays[config.x + suffix] for suffix in suffixes]
    parts_y = [arrays[config.y + suffix] for suffix in suffixes if config.y in arrays]
    for position, (x, suffix) in enumerate(zip(parts_x, suffixes, strict=True)):
        check_inputs(x, config.x + suffix)
        if parts_y:
            _check_pair(x, parts_y[position], config.x + suffix, config.y + suffix)
    if len({part.shape[1:] for part in parts_x}) > 1:
        shapes = " and ".join(str(part.shape[1:]) for part in parts_x)
        raise DataError(f"data.x: expected rows of one shape, got {shapes} in training and test. Save them alike.")
    return parts_x, parts_y


def check_inputs(x: NDArray[Any], name: str) -> None:
    """Refuses inputs that are no finite numbers, or rows without a value.

    Raises:
        DataError: with what there is instead.
    """
    if x.dtype.kind not in "biuf":
        raise DataError(f"data.x: expected numbers in {name!r}, got {x.dtype}. Convert the array.")
    if x.ndim < 2 or 0 in x.shape:
        raise DataError(
            f"data.x: expected (rows, ...) with one or more values a row in {name!r}, got shape {x.shape}. "
            "Give every row at least one value."
        )
    check_finite(x, name)
    if x.dtype.kind in "iuf" and x.dtype != np.uint8:
        largest = max(abs(float(x.max())), abs(float(x.min())))
        if largest > np.finfo(np.float32).max:
            raise DataError(f"data.x: expected numbers within ±3.4e38 in {name!r}, got {largest:g}. Scale the array.")


def _check_pair(x: NDArray[Any], y: NDArray[Any], x_name: str, y_name: str) -> None:
    if y.ndim not in (1, 2) or (y.ndim == 2 and y.shape[1] != 1):
        raise DataError(
            f"data.y: expected one target a row in {y_name!r}, got shape {y.shape}. Save class codes, not one-hot rows."
        )
    if len(x) != len(y):
        raise DataError(
            f"data.y: expected as many targets as inputs, got {len(y)} in {y_name!r} and {len(x)} in {x_name!r}. "
            "Save the arrays row by row alike."
        )


def _kind(config: ArraysData, parts: list[NDArray[Any]]) -> tuple[float | None, tuple[str, ...]]:
    """Returns the pixels' maximum for images, None for vectors; and a warning where the choice may surprise."""
    dimensions = parts[0].ndim - 1
    if config.kind == "vector" or (config.kind == "auto" and dimensions not in (2, 3)):
        return None, ()
    maxima = [pixel_maximum(part) for part in parts] if dimensions in (2, 3) else [None]
    known = [maximum for maximum in maxima if maximum is not None]
    if len(known) < len(maxima):
        if config.kind == "image":
            raise DataError(
                f"data.kind: expected images, rows of (height, width[, channels]) with whole numbers of 0 to 255 or "
                f"floats that are k/255, got shape {parts[0].shape}, {parts[0].dtype}. Save uint8, or set kind: vector."
            )
        return None, (
            f"{config.x!r} has rows of {dimensions} dimensions, but 0 to 255 does not hold its values without loss: "
            "each row is taken for a vector.",
        )
    if config.kind == "auto" and any(part.dtype != np.uint8 for part in parts):
        return max(known), (
            f"{config.x!r} has rows of {dimensions} dimensions and values of {parts[0].dtype} that 0 to 255 holds "
            "without loss: its rows are taken for images. Set data.kind: vector if they are not.",
        )
    return max(known), ()


def _table(name: str, parts: list[NDArray[Any]], common: dict[str, Any], scratch: Scratch | None) -> LoadedTable:
    def counted(item: tuple[int, NDArray[np.float32]]) -> Column:
        position, values = item
        column = Column(f"{name}_{position}", "numeric", values, distinct=distinct_values(values))
        if scratch is not None:
            scratch.release(values)
        return column

    values = columns_of(parts, scratch)
    columns = tuple(in_order(counted, enumerate(values), threads_for(4 * values.shape[1])))
    return LoadedTable(**common, columns=columns, binned=False, scratch=scratch)


def _images(parts: list[NDArray[Any]], maximum: float, common: dict[str, Any]) -> LoadedImages:
    shape = (*parts[0].shape[1:], 1) if parts[0].ndim == 3 else parts[0].shape[1:]
    first = len(parts[0])

    def read(rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        pixels = np.empty((len(rows), *shape), np.uint8)
        for part, start in zip(parts, (0, first), strict=False):
            inside = (rows >= start) & (rows < start + len(part))
            pixels[inside] = as_pixels(part[rows[inside] - start], maximum).reshape(-1, *shape)
        return pixels

    return LoadedImages(**common, shape=(shape[0], shape[1], shape[2]), read=read, pixel_maximum=maximum)


def _targets(y: NDArray[Any], name: str, task: str) -> Targets:
    check_finite(y, name)
    if task == "regression":
        if y.dtype.kind not in "iuf":
            raise DataError(f"data.y: expected numbers for task regression, got {y.dtype}. Set task: classification.")
        return Targets(y.astype(np.float64), (), name)
    if y.dtype.kind in "US":
        labels, codes = np.unique(y, return_inverse=True)
        try:
            names = _texts(labels)
        except UnicodeError as error:
            raise DataError(f"data.y: expected UTF-8 labels in {name!r}, got others. Save them as text.") from error
        return classes_from_names(codes, names, name)
    if y.dtype.kind not in "biuf":
        raise DataError(f"data.y: expected class labels in {name!r}, got {y.dtype}. Save whole numbers or text.")
    return classes_from_numbers(y, name, task)


def _texts(labels: NDArray[Any]) -> list[str]:
    """Returns labels of bytes or of text as text; NumPy looks at neither when it reads them from a file.

    Raises:
        UnicodeError: a label is no text.
    """
    if labels.dtype.kind == "S":
        return [label.decode("utf-8") for label in labels]
    width = labels.dtype.itemsize // 4
    if width == 0:
        return [""] * len(labels)
    codes = labels.astype(labels.dtype.newbyteorder("<")).reshape(-1, 1).view("<u4").reshape(len(labels), width)
    texts = [row.tobytes().decode("utf-32-le") for row in codes]  # refuses halves of pairs, and what is beyond
    return [text.rstrip("\0") for text in texts]

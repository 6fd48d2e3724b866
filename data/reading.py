"""Reads raw input for predictions, in the source's own format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.contract import DataError
from data.image_folders import IMAGE_SUFFIXES, files_below, is_image_name
from data.paths import TABLE_SUFFIXES, existing
from data.pictures import UnreadablePicture, read_picture, unreadable_error
from data.preprocessing import Preprocessing
from data.raw_rows import open_pixels, read_table, read_vectors, wrong_format
from data.raw_windows import read_windows
from data.retelling import about_input
from data.source_files import table_files
from data.table_files import NoRowsError, no_rows


@dataclass(frozen=True)
class RawInput:
    """Rows to predict.

    Attributes:
        names: what each row is called: a file's path inside its folder, `row 1`, or `a.csv rows 1-64`.
        x: (rows, *input_shape) float32 model input.
        raw: (rows, ...) as `Preprocessing.transform` takes it: uint8 pixels, float32 columns, or float32 windows.
    """

    names: list[str]
    x: NDArray[np.float32]
    raw: NDArray[Any]


def read_input(preprocessing: Preprocessing, path: Path) -> RawInput:
    """Reads raw input in the source's own format and turns it into model input.

    Args:
        preprocessing: of the model; its source says what is read.
        path: CSV, TSV, Parquet or JSON lines, or a folder of them, for tables and for series, which are cut into
            windows; an image or a folder of images, .npy, .npz or IDX for images; .npy or .npz for arrays.

    Returns:
        The rows, with their names.

    Raises:
        DataError: it is missing, malformed, or lacks what the model needs.
    """
    existing(path, "file or folder", "input")
    name = "" if path.is_dir() else path.name.lower()
    raw: NDArray[Any]
    if preprocessing.kind == "series":
        names, raw = read_windows(preprocessing, path)
    elif preprocessing.kind == "image":
        names, raw = _images(preprocessing, path)
    elif path.is_dir() and preprocessing.source == "table":
        names, raw = _tables(preprocessing, path)
    elif name.endswith(TABLE_SUFFIXES) and preprocessing.source in ("table", "builtin"):
        raw = read_table(preprocessing, path)
        names = _row_names(len(raw))
    elif name.endswith((".npy", ".npz")) and preprocessing.source in ("arrays", "builtin"):
        raw = read_vectors(preprocessing, path)
        names = _row_names(len(raw))
    else:
        suffixes = TABLE_SUFFIXES if preprocessing.source == "table" else (".npy", ".npz")
        kinds = ", ".join(suffixes)
        raise wrong_format(path, f"{kinds} or a folder of them" if preprocessing.source == "table" else kinds)
    if len(raw) == 0:
        raise DataError(f"input: expected one or more rows, got none in {path.name!r}. Check the file.")
    return RawInput(names, preprocessing.transform(raw), raw)


def _tables(preprocessing: Preprocessing, folder: Path) -> tuple[list[str], NDArray[np.float32]]:
    """Reads the rows of all files of a folder; errors are told of their file. Some may have no rows, not all."""
    names, parts = list[str](), []
    for file in table_files(folder):
        try:
            parts.append(read_table(preprocessing, file))
        except NoRowsError:
            continue
        except DataError as error:
            raise about_input(error, file) from error
        names += [f"{file.relative_to(folder)} {row}" for row in _row_names(len(parts[-1]))]
    if not parts:
        raise no_rows(folder)
    return names, np.concatenate(parts)


def _images(preprocessing: Preprocessing, path: Path) -> tuple[list[str], NDArray[np.uint8]]:
    pictures = path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES
    if pictures and preprocessing.input_shape[2] not in (1, 3):
        raise wrong_format(path, f".npy or .npz of images of {preprocessing.input_shape[2]} channels")
    if path.is_dir():
        files = [file for file in files_below(path, path) if is_image_name(file)]
        if not files:
            raise DataError(f"input: expected PNG, JPEG or BMP files, got none in {str(path)!r}. Check the folder.")
        return _pictures(preprocessing, files, [str(file.relative_to(path)) for file in files])
    if pictures:
        return _pictures(preprocessing, [path], [path.name])
    read, count = open_pixels(preprocessing, path)
    return _row_names(count), read(np.arange(count, dtype=np.int64))


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


def _row_names(num_rows: int) -> list[str]:
    return [f"row {number}" for number in range(1, num_rows + 1)]

"""MNIST's IDX files, plain or gzipped, with the test split they come with."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from data.array_files import MOST_DEFLATED
from data.config import IdxData
from data.contract import ConfigError, DataError
from data.source_files import idx_files
from data.sources.loaded import LoadedImages, Targets
from data.splits import TEST, TRAIN
from data.storage import BLOCK_BYTES
from data.targets import classes_from_numbers

UNSIGNED_BYTE = 0x08
"""Third byte of the header: the type of the values."""


def load_idx(config: IdxData, task: str) -> LoadedImages:
    """Loads MNIST's four files.

    Args:
        config: their folder, and names for the classes.
        task: must be `classification`: the labels are classes.

    Returns:
        Training images, then test images; `given` keeps them apart.

    Raises:
        ConfigError: the task is another.
        DataError: a file is missing or malformed, its header lies, or images and labels do not fit.
    """
    if task != "classification":
        raise ConfigError(f"task: expected classification for data.source idx, got {task}. Its labels are classes.")
    files = idx_files(Path(config.path))
    train, train_labels = _pair(files["train_images"], files["train_labels"])
    test, test_labels = _pair(files["test_images"], files["test_labels"])
    if train.shape[1:] != test.shape[1:]:
        raise DataError(
            f"data.path: expected training and test images of one size, got {train.shape[1:]} and "
            f"{test.shape[1:]}. Get the files again."
        )
    num_train, num_rows = len(train), len(train) + len(test)
    description = {
        "source": "idx",
        "folder": Path(config.path).name,
        "files": sorted(path.name for path in files.values()),
        "ships_splits": True,
    }
    return LoadedImages(
        _targets(np.concatenate([train_labels, test_labels]), config.class_names),
        description,
        np.arange(num_rows, dtype=np.int64),
        given=np.repeat(np.array([TRAIN, TEST], np.int8), [num_train, num_rows - num_train]),
        shape=(train.shape[1], train.shape[2], 1),
        read=partial(_read_rows, train, test),
    )


def _pair(images_file: Path, labels_file: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Reads the images and labels of one split."""
    images, labels = read_idx(images_file, 3), read_idx(labels_file, 1)
    if len(images) != len(labels):
        raise DataError(
            f"data.path: expected as many labels as images, got {len(labels)} in {labels_file.name!r} and "
            f"{len(images)} in {images_file.name!r}. Get the files again."
        )
    return images, labels


def _read_rows(train: NDArray[np.uint8], test: NDArray[np.uint8], rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Returns (n, height, width, 1) pixels of the rows (n,), which are counted over training, then test images."""
    pixels = np.empty((len(rows), *train.shape[1:], 1), np.uint8)
    in_test = rows >= len(train)
    pixels[~in_test, ..., 0] = train[rows[~in_test]]
    pixels[in_test, ..., 0] = test[rows[in_test] - len(train)]
    return pixels


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Reads an IDX file of unsigned bytes; a plain one is memory-mapped.

    Args:
        path: the file; gzipped where it ends in .gz.
        dimensions: 3 for images, 1 for labels.

    Returns:
        (rows, height, width) or (rows,) uint8.

    Raises:
        DataError: the file is cut short, its header does not fit it, or memory does not hold it.
    """
    header = 4 + 4 * dimensions
    zipped = path.suffix == ".gz"
    try:
        with cast("IO[bytes]", gzip.open(path)) if zipped else path.open("rb") as stream:
            shape = _shape(stream.read(header), dimensions, path)
            declared = math.prod(shape)
            size = path.stat().st_size
            if not zipped and size - header == declared:
                mapped: NDArray[Any] = np.memmap(path, np.uint8, "r", offset=header, shape=shape)
                return mapped
            if zipped and declared <= MOST_DEFLATED * size:
                return _unpacked(stream, declared, shape, path)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"data.path: expected a whole {'gzipped ' if zipped else ''}file, got {path.name!r} ({error}). "
            "Get the file again."
        ) from error
    raise _other_size(shape, path, f"a file of {size} bytes" if zipped else f"{size - header}")


def _shape(header: bytes, dimensions: int, path: Path) -> tuple[int, ...]:
    """Returns the shape that a header declares, before anything else is read."""
    if not header:
        raise DataError(f"data.path: expected an IDX file, got {path.name!r}, which is empty. Get the file again.")
    expected = bytes((0, 0, UNSIGNED_BYTE, dimensions))
    if len(header) < 4 + 4 * dimensions or header[:4] != expected:
        raise DataError(
            f"data.path: expected an IDX file of unsigned bytes in {dimensions} dimensions (magic {expected.hex()}), "
            f"got {header[:4].hex()} in {path.name!r}. Get the file again."
        )
    shape = struct.unpack(f">{dimensions}I", header[4:])
    if 0 in shape:
        raise DataError(f"data.path: expected one or more rows in {path.name!r}, got none. Get the file again.")
    return shape


def _unpacked(stream: IO[bytes], declared: int, shape: tuple[int, ...], path: Path) -> NDArray[np.uint8]:
    """Reads the values that are declared, and at most one byte more."""
    try:
        values = np.empty(declared, np.uint8)
    except MemoryError as error:
        raise DataError(
            f"data.path: expected an array that memory holds, got {declared} bytes in {path.name!r}. "
            "Unpack the file: a plain one is read piece by piece."
        ) from error
    position = 0
    while position < declared:
        piece = stream.read(min(BLOCK_BYTES, declared - position))
        if not piece:
            raise _other_size(shape, path, f"{position}")
        values[position : position + len(piece)] = np.frombuffer(piece, np.uint8)
        position += len(piece)
    if stream.read(1):
        raise _other_size(shape, path, "more")
    return values.reshape(shape)


def _other_size(shape: tuple[int, ...], path: Path, found: str) -> DataError:
    return DataError(
        f"data.path: expected {math.prod(shape)} values in {path.name!r} as its header declares "
        f"({' x '.join(map(str, shape))}), got {found}. Get the file again."
    )


def _targets(labels: NDArray[np.uint8], class_names: tuple[str, ...] | None) -> Targets:
    if class_names is None:
        return classes_from_numbers(labels, "class")
    if int(labels.max()) >= len(class_names):
        raise DataError(
            f"data.class_names: expected a name for every label of 0 to {int(labels.max())}, got {len(class_names)}. "
            "Name every class, or leave class_names out."
        )
    return Targets(labels.astype(np.int32), class_names)

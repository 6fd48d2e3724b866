"""MNIST's IDX files, plain or gzipped, with the test split they come with."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from data.array_files import MOST_DEFLATED
from data.config import IdxData, label_use
from data.contract import ConfigError, DataError
from data.scratch import KEPT_IN_MEMORY_BYTES, Scratch, is_no_room
from data.source_files import idx_files
from data.sources.loaded import LoadedImages, Targets, no_targets
from data.splits import TEST, TRAIN
from data.storage import BLOCK_BYTES
from data.targets import classes_from_numbers
from data.unpacking import check_unpacked

UNSIGNED_BYTE = 0x08
"""Third byte of the header: the type of the values."""


def load_idx(config: IdxData, task: str, scratch: Scratch | None = None) -> LoadedImages:
    """Loads MNIST's four files, or the two of images where labels are not read.

    Args:
        config: their folder, and names for the classes.
        task: not `regression`: the labels are classes.
        scratch: where gzipped files are unpacked to; None: into memory.

    Returns:
        Training images, then test images; `given` keeps them apart.

    Raises:
        ConfigError: the task is `regression`.
        DataError: a file is missing or malformed, its header lies, or images and labels do not fit.
    """
    if task == "regression":
        raise ConfigError(f"task: expected classification for data.source idx, got {task}. Its labels are classes.")
    files = idx_files(Path(config.path), label_use(config, task))
    train, test = (read_idx(files[f"{split}_images"], 3, scratch) for split in ("train", "test"))
    if train.shape[1:] != test.shape[1:]:
        raise DataError(
            f"data.path: expected training and test images of one size, got {train.shape[1:]} and "
            f"{test.shape[1:]}. Get the files again."
        )
    num_train, num_rows = len(train), len(train) + len(test)
    targets = no_targets(num_rows)
    if "train_labels" in files:
        labels = [_labels(files, "train", num_train), _labels(files, "test", len(test))]
        targets = _targets(np.concatenate(labels), config.class_names)
    description = {
        "source": "idx",
        "folder": Path(config.path).name,
        "files": sorted(path.name for path in files.values()),
        "ships_splits": True,
    }
    return LoadedImages(
        targets,
        description,
        np.arange(num_rows, dtype=np.int64),
        given=np.repeat(np.array([TRAIN, TEST], np.int8), [num_train, num_rows - num_train]),
        shape=(train.shape[1], train.shape[2], 1),
        read=partial(_read_rows, train, test),
    )


def _labels(files: Mapping[str, Path], split: str, num_images: int) -> NDArray[np.uint8]:
    """Reads the labels of one split."""
    images_file, labels_file = files[f"{split}_images"], files[f"{split}_labels"]
    labels = read_idx(labels_file, 1)
    if num_images != len(labels):
        raise DataError(
            f"data.path: expected as many labels as images, got {len(labels)} in {labels_file.name!r} and "
            f"{num_images} in {images_file.name!r}. Get the files again."
        )
    return labels


def _read_rows(train: NDArray[np.uint8], test: NDArray[np.uint8], rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Returns (n, height, width, 1) pixels of the rows (n,), which are counted over training, then test images."""
    pixels = np.empty((len(rows), *train.shape[1:], 1), np.uint8)
    in_test = rows >= len(train)
    pixels[~in_test, ..., 0] = train[rows[~in_test]]
    pixels[in_test, ..., 0] = test[rows[in_test] - len(train)]
    return pixels


def read_idx(path: Path, dimensions: int, scratch: Scratch | None = None) -> NDArray[np.uint8]:
    """Reads an IDX file of unsigned bytes; a plain one is memory-mapped.

    Args:
        path: the file; gzipped where it ends in .gz.
        dimensions: 3 for images, 1 for labels.
        scratch: where a gzipped file is unpacked to if it is large; None: into memory.

    Returns:
        (rows, height, width) or (rows,) uint8.

    Raises:
        DataError: the file is cut short, its header does not fit it, or memory does not hold it.
        OSError: there is no room on the disk.
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
                check_unpacked(path.name, size, declared, "Unpack the file, if you trust it.")
                if scratch is None or declared <= KEPT_IN_MEMORY_BYTES:
                    return _unpacked(stream, declared, shape, path)
                return _whole(scratch.unpack(stream, declared), stream, shape, path)
    except (OSError, EOFError, zlib.error) as error:
        if is_no_room(error):
            raise
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
    return _whole(values, stream, shape, path)


def _whole(values: NDArray[np.uint8], stream: IO[bytes], shape: tuple[int, ...], path: Path) -> NDArray[np.uint8]:
    """Returns the values in their shape, if there are as many as declared and none behind them."""
    if len(values) < math.prod(shape):
        raise _other_size(shape, path, f"{len(values)}")
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

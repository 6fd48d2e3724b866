"""MNIST's IDX files, plain or gzipped, with the test split they come with."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.config import IdxData
from data.contract import ConfigError, DataError
from data.source_files import idx_files
from data.sources.loaded import LoadedImages, Targets
from data.splits import TEST, TRAIN
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
    parts, labels = [], []
    for split in ("train", "test"):
        images = read_idx(files[f"{split}_images"], 3)
        codes = read_idx(files[f"{split}_labels"], 1)
        if len(images) != len(codes):
            raise DataError(
                f"data.path: expected as many labels as images, got {len(codes)} in "
                f"{files[f'{split}_labels'].name!r} and {len(images)} in {files[f'{split}_images'].name!r}. "
                "Get the files again."
            )
        parts.append(images)
        labels.append(codes)
    if parts[0].shape[1:] != parts[1].shape[1:]:
        raise DataError(
            f"data.path: expected training and test images of one size, got {parts[0].shape[1:]} and "
            f"{parts[1].shape[1:]}. Get the files again."
        )
    num_train, num_rows = len(parts[0]), len(parts[0]) + len(parts[1])
    height, width = parts[0].shape[1:]

    def read(rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        pixels = np.empty((len(rows), height, width, 1), np.uint8)
        in_test = rows >= num_train
        pixels[~in_test, ..., 0] = parts[0][rows[~in_test]]
        pixels[in_test, ..., 0] = parts[1][rows[in_test] - num_train]
        return pixels

    return LoadedImages(
        _targets(np.concatenate(labels), config.class_names),
        {
            "source": "idx",
            "folder": Path(config.path).name,
            "files": sorted(path.name for path in files.values()),
            "ships_splits": True,
        },
        np.arange(num_rows, dtype=np.int64),
        given=np.repeat(np.array([TRAIN, TEST], np.int8), [num_train, num_rows - num_train]),
        shape=(height, width, 1),
        read=read,
    )


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Reads an IDX file of unsigned bytes; a plain one is memory-mapped.

    Args:
        path: the file; gzipped where it ends in .gz.
        dimensions: 3 for images, 1 for labels.

    Returns:
        (rows, height, width) or (rows,) uint8.

    Raises:
        DataError: the file is cut short, or its header does not fit it.
    """
    content = _content(path)
    header = 4 + 4 * dimensions
    expected = bytes((0, 0, UNSIGNED_BYTE, dimensions))
    if len(content) < header or content[:4].tobytes() != expected:
        raise DataError(
            f"data.path: expected an IDX file of unsigned bytes in {dimensions} dimensions (magic {expected.hex()}), "
            f"got {content[:4].tobytes().hex() or 'nothing'} in {path.name!r}. Get the file again."
        )
    shape = tuple(int(length) for length in content[4:header].view(">u4"))
    declared = 1
    for length in shape:
        declared *= length
    if declared != len(content) - header:
        raise DataError(
            f"data.path: expected {declared} values in {path.name!r} as its header declares "
            f"({' x '.join(map(str, shape))}), got {len(content) - header}. Get the file again."
        )
    if declared == 0:
        raise DataError(f"data.path: expected one or more rows in {path.name!r}, got none. Get the file again.")
    return content[header:].reshape(shape)


def _content(path: Path) -> NDArray[np.uint8]:
    if path.stat().st_size == 0:
        raise DataError(f"data.path: expected an IDX file, got {path.name!r}, which is empty. Get the file again.")
    if path.suffix != ".gz":
        mapped: NDArray[Any] = np.memmap(path, np.uint8, "r")
        return mapped
    try:
        with gzip.open(path) as stream:
            return np.frombuffer(stream.read(), np.uint8)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"data.path: expected a whole gzipped file, got {path.name!r} ({error}). Get the file again."
        ) from error


def _targets(labels: NDArray[np.uint8], class_names: tuple[str, ...] | None) -> Targets:
    if class_names is None:
        return classes_from_numbers(labels, "class")
    if int(labels.max()) >= len(class_names):
        raise DataError(
            f"data.class_names: expected a name for every label of 0 to {int(labels.max())}, got {len(class_names)}. "
            "Name every class, or leave class_names out."
        )
    return Targets(labels.astype(np.int32), class_names)

"""Turns rows of numbers into columns, without holding all of them in memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.scratch import KEPT_IN_MEMORY_BYTES, Scratch
from data.storage import blocks


def columns_of(parts: Sequence[NDArray[Any]], scratch: Scratch | None) -> NDArray[np.float32]:
    """Returns the columns of arrays, one array behind the other.

    Args:
        parts: (rows, ...) numbers, rows of one shape.
        scratch: in whose files large arrays are laid out; None: in memory.

    Returns:
        (columns, rows) float32, each row of the arrays flattened.

    Raises:
        OSError: there is no room on the disk.
    """
    num_columns, num_rows = math.prod(parts[0].shape[1:]), sum(map(len, parts))
    if scratch is None or 4 * num_columns * num_rows <= KEPT_IN_MEMORY_BYTES:
        return np.ascontiguousarray(np.concatenate([_flat(part, slice(None)) for part in parts]).T)
    return _in_a_file(parts, (num_columns, num_rows), scratch)


def _flat(part: NDArray[Any], rows: slice) -> NDArray[np.float32]:
    return part[rows].reshape(len(part[rows]), -1).astype(np.float32)


def _in_a_file(parts: Sequence[NDArray[Any]], shape: tuple[int, int], scratch: Scratch) -> NDArray[np.float32]:
    """Writes a block of rows at a time, a piece of every column."""
    path, written = scratch.folder / "columns.f32", 0
    # Written, not mapped: on a full disk a write raises OSError, while a hole in a memory map kills the process.
    with path.open("wb") as stream:
        for part in parts:
            for rows in blocks(len(part), 4 * shape[0]):
                block = np.ascontiguousarray(_flat(part, rows).T)
                for position, piece in enumerate(block):
                    stream.seek(4 * (position * shape[1] + written))
                    stream.write(piece.data)
                written += block.shape[1]
    mapped: NDArray[np.float32] = scratch.map(path, np.float32).reshape(shape)
    path.unlink()
    return mapped

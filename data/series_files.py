"""Keeps the steps of recordings in files, however many recordings there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.recording import Recording
from data.scratch import KEPT_IN_MEMORY_BYTES, Scratch
from data.storage import blocks

GATHERED_BYTES = 16 * 2**20
"""Short recordings of this size together are moved into one file: a file each would be too many."""


def side_by_side(columns: Sequence[NDArray[np.float32]], scratch: Scratch | None) -> NDArray[np.float32]:
    """Returns columns as one array.

    Args:
        columns: (steps,) each, all of one length.
        scratch: in whose files a large one is laid out; None: in memory.

    Returns:
        (steps, columns) float32.
    """
    shape = (len(columns[0]), len(columns))
    if scratch is None or 4 * shape[0] * shape[1] <= KEPT_IN_MEMORY_BYTES:
        return np.stack(columns, axis=1)
    path = scratch.folder / "side-by-side.f32"
    # Written, not mapped: on a full disk a write raises OSError, while a hole in a memory map kills the process.
    with path.open("wb") as stream:
        for rows in blocks(shape[0], 4 * shape[1]):
            stream.write(np.stack([column[rows] for column in columns], axis=1).data)
            for column in columns:
                scratch.release(column)
    mapped: NDArray[np.float32] = scratch.map(path, np.float32).reshape(shape)
    path.unlink()
    return mapped


class Gathering:
    """Recordings that are moved into files as they come."""

    def __init__(self, scratch: Scratch | None) -> None:
        """Takes the folder of the files; None: all stay in memory."""
        self._scratch = scratch
        self._settled: list[Recording] = []
        self._waiting: list[Recording] = []
        self._bytes = 0

    def add(self, recordings: Sequence[Recording]) -> None:
        """Takes the next recordings.

        Raises:
            OSError: there is no room on the disk.
        """
        self._waiting += recordings
        self._bytes += sum(each.values.nbytes + _bytes_of(each.labels) for each in recordings)
        if self._bytes > GATHERED_BYTES:
            self._settle()

    def all(self) -> list[Recording]:
        """Returns all recordings, in the order in which they came."""
        return [*self._settled, *self._waiting]

    def _settle(self) -> None:
        if self._scratch is not None:
            values = _moved([each.values for each in self._waiting], self._scratch)
            labels = _moved([each.labels for each in self._waiting], self._scratch)
            rows = _moved([each.rows for each in self._waiting], self._scratch)
            all_moved = zip(self._waiting, values, labels, rows, strict=True)
            self._waiting = [replace(each, values=v, labels=y, rows=row) for each, v, y, row in all_moved]
        self._settled += self._waiting
        self._waiting, self._bytes = [], 0


def _bytes_of(values: NDArray[Any] | None) -> int:
    return 0 if values is None else values.nbytes


def _moved(arrays: Sequence[Any], scratch: Scratch) -> list[Any]:
    """Returns the arrays, in files: those of one type that do not lie in one yet, in one together; others stay."""
    moved = list(arrays)
    loose = [place for place, each in enumerate(arrays) if isinstance(each, np.ndarray) and not scratch.holds(each)]
    for dtype in sorted({arrays[place].dtype.str for place in loose}):
        here = [place for place in loose if arrays[place].dtype.str == dtype]
        together = scratch.keep(np.concatenate([arrays[place].reshape(-1) for place in here]))
        start = 0
        for place in here:
            size, shape = arrays[place].size, arrays[place].shape
            moved[place] = together[start : start + size].reshape(shape)
            start += size
    return moved

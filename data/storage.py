"""Writes arrays to disk in blocks, flushed; and digests of what was written."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from data.parallel import in_order, num_cores
from data.row_blocks import MIX_FACTORS

BLOCK_BYTES = 16 * 2**20
"""Arrays are written and hashed in blocks of about this size."""


MIXED_NUMBERS = 4096
"""Rows of more numbers than this are digested one by one."""

MOST_THREADS = 4
"""Blocks that are made at once: each takes a few times its size of memory."""


class Rows(Protocol):
    """Rows that are made when they are asked for."""

    dtype: np.dtype[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """(rows, ...)."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> NDArray[Any]:
        """Returns some of them."""


def num_threads() -> int:
    """Returns how many blocks are worked on at once."""
    return min(num_cores(), MOST_THREADS)


def blocks(num_rows: int, row_bytes: int) -> Iterator[slice]:
    """Yields slices that cover `num_rows` rows in blocks of about `BLOCK_BYTES`."""
    size = max(1, BLOCK_BYTES // max(1, row_bytes))
    for start in range(0, num_rows, size):
        yield slice(start, min(start + size, num_rows))


def write_array(
    path: Path,
    shape: tuple[int, ...],
    dtype: DTypeLike,
    block: Callable[[slice], NDArray[Any]],
    told: Callable[[int], None] = lambda _rows: None,
    *,
    threads: int = 1,
) -> None:
    """Writes an array block by block, so that it never lies in memory as a whole.

    Args:
        path: the .npy file.
        shape: (rows, ...).
        dtype: type that is stored.
        block: gives the rows of a slice.
        told: told how many rows are written so far.
        threads: in how many threads blocks are made; `block` must then be one that several may call at once.

    Raises:
        OSError: there is no room for it, or it cannot be written for another reason.
        ValueError: a block is not of the shape that is declared.
    """
    kind = np.dtype(dtype)
    row_bytes = int(np.prod(shape[1:], dtype=np.int64)) * kind.itemsize
    header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
    # Written, not mapped: on a full disk a write raises OSError, while a hole in a memory map kills the process.
    with path.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        made = in_order(
            lambda rows: (rows, np.ascontiguousarray(block(rows), kind)),
            blocks(shape[0], row_bytes),
            threads if shape[0] * row_bytes > BLOCK_BYTES else 1,
        )
        for rows, values in made:
            if values.shape != (rows.stop - rows.start, *shape[1:]):
                raise ValueError(f"write_array: expected rows of shape {shape[1:]}, got an array of {values.shape}.")
            stream.write(values.data)
            told(rows.stop)
    flush_file(path)


def write_text(path: Path, text: str) -> None:
    """Writes a text file, UTF-8, and flushes it to disk."""
    path.write_text(text, encoding="utf-8", newline="\n")
    flush_file(path)


def flush_file(path: Path) -> None:
    """Waits until the bytes of a file are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def digest_rows(x: NDArray[Any] | Rows) -> NDArray[np.uint64]:
    """Returns (rows,) uint64, equal for equal rows, for finding exact duplicates.

    Args:
        x: (rows, ...). Rows of a few float32 are mixed number by number, all rows at once: two rows that differ have
            one digest by a chance of about 2**-64, as with BLAKE2b, which other rows are digested with.
    """
    if len(x.shape) == 2 and x.dtype == np.float32 and x.shape[1] <= MIXED_NUMBERS:
        return _mixed(x)
    digests = np.empty(len(x), np.uint64)
    row_bytes = int(np.prod(x.shape[1:], dtype=np.int64)) * x.dtype.itemsize
    for rows in blocks(len(x), row_bytes):
        # `+ 0` makes -0.0 a 0.0: equal numbers, equal bytes.
        block = np.ascontiguousarray(x[rows] + x.dtype.type(0))
        for position, row in enumerate(block, start=rows.start):
            digests[position] = int.from_bytes(hashlib.blake2b(row.tobytes(), digest_size=8).digest(), "little")
    return digests


def _mixed(x: NDArray[np.float32] | Rows) -> NDArray[np.uint64]:
    digests = np.empty(len(x), np.uint64)
    parts = blocks(len(x), 4 * x.shape[1])
    made = in_order(lambda rows: (rows, _mixed_block(x[rows])), parts, num_threads())
    for rows, block in made:
        digests[rows] = block
    return digests


def _mixed_block(block: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Returns (rows,) uint64: for each number h = (h xor bits) * odd, h = h xor (h >> 29), each step reversible."""
    digest = np.full(len(block), MIX_FACTORS[0], np.uint64)
    for column in np.ascontiguousarray((block + np.float32(0)).T):  # makes -0.0 a 0.0: equal numbers, equal bytes
        digest ^= column.view(np.uint32)
        digest *= MIX_FACTORS[1]
        digest ^= digest >> np.uint64(29)
    return digest


def digest_arrays(paths: list[Path], text: str) -> str:
    """Returns the SHA-256, in hexadecimal, of a text and of the arrays in .npy files: shape, type and bytes."""
    digest = hashlib.sha256(text.encode())
    for path in paths:
        array: Any = np.load(path, mmap_mode="r", allow_pickle=False)
        digest.update(f"{path.name} {array.shape} {array.dtype.str}\n".encode())
        with path.open("rb") as stream:  # read, not mapped: pages of a map count as memory of the process
            stream.seek(array.offset)
            while block := stream.read(BLOCK_BYTES):
                digest.update(block)
    return digest.hexdigest()

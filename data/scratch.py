"""A folder for what is too large to be held in memory while a data set is made."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from data.contract import Checkpoints
from data.parallel import Spread

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""Another one says that the machine started anew, and perhaps lost what had not reached its disk."""

KEPT_IN_MEMORY_BYTES = 2**20
"""Arrays up to this size stay in memory."""


UNPACKED_BYTES = 2**20
"""Bytes that are unpacked at a time."""


class Scratch:
    """Arrays in files of a folder, mapped to memory: the system reads them when they are looked at."""

    def __init__(
        self, folder: Path, checkpoints: Callable[[str], Checkpoints] | None = None, spread: Spread | None = None
    ) -> None:
        """Takes a folder on a disk with room.

        Args:
            folder: made where it is not there.
            checkpoints: where works of a name keep how far they are; None: nowhere.
            spread: has files read on many machines; None: all on this one.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.spread = spread
        self._checkpoints = checkpoints
        self._regions: list[tuple[int, int]] = []
        self._count = 0

    def keep(self, values: NDArray[Any]) -> NDArray[Any]:
        """Moves an array into a file, which is gone when the array is; small ones stay in memory.

        Returns:
            The same values, read-only where they lie in a file.

        Raises:
            OSError: there is no room on the disk.
        """
        if values.nbytes <= KEPT_IN_MEMORY_BYTES or self.holds(values):
            return values
        self._count += 1
        path = self.folder / f"array-{self._count}.bin"
        # Written, not mapped: on a full disk a write raises OSError, while a hole in a memory map kills the process.
        with path.open("wb") as stream:
            stream.write(np.ascontiguousarray(values).data)
        mapped = self.map(path, values.dtype).reshape(values.shape)
        path.unlink()
        return mapped

    def below(self, name: str) -> Scratch:
        """Returns a folder of its own below this one, for one of several works of a kind; its checkpoints are its own.

        Args:
            name: of the folder; file names on disk and names of checkpoints begin with it.
        """
        kept = self._checkpoints
        below = Scratch(self.folder / name, None if kept is None else lambda work: kept(f"{name}-{work}"))
        below._regions = self._regions  # what lies in a file there lies in one of this folder
        return below

    def unpack(self, stream: IO[bytes], size: int) -> NDArray[np.uint8]:
        """Moves bytes that are read from a stream into a file, as `keep` does arrays.

        Args:
            stream: what unpacks them.
            size: how many are wanted.

        Returns:
            (size,) uint8, read-only, mapped; fewer where the stream ends before.

        Raises:
            OSError: there is no room on the disk.
        """
        self._count += 1
        path, received = self.folder / f"array-{self._count}.bin", 0
        with path.open("wb") as sink:
            while received < size and (piece := stream.read(min(UNPACKED_BYTES, size - received))):
                sink.write(piece)
                received += len(piece)
        mapped: NDArray[np.uint8] = self.map(path, np.uint8)
        path.unlink()
        return mapped

    def save(self, name: str, state: Mapping[str, Any]) -> None:
        """Remembers how far a work has come.

        Args:
            name: of the work.
            state: JSON-able; `resumes_at` tells a user where it goes on.
        """
        if self._checkpoints is not None:
            self._checkpoints(name).save({}, {**state, "boot": _boot()})

    def load(self, name: str) -> dict[str, Any] | None:
        """Returns what was last saved by a work of that name, unless the machine was started anew since then."""
        kept = None if self._checkpoints is None else self._checkpoints(name).load()
        return kept[1] if kept is not None and kept[1].get("boot") == _boot() else None

    def map(self, path: Path, dtype: DTypeLike) -> NDArray[Any]:
        """Returns (n,) read-only values of a file, mapped; no descriptor stays open, however many columns there are."""
        buffer = self.map_bytes(path)
        return np.frombuffer(buffer, dtype) if buffer.size else np.empty(0, dtype)

    def map_bytes(self, path: Path) -> Any:
        """Returns a file's bytes as an Arrow buffer, mapped."""
        import pyarrow

        if path.stat().st_size == 0:
            return pyarrow.py_buffer(b"")
        with pyarrow.memory_map(str(path)) as stream:
            buffer = stream.read_buffer()
        self._regions.append((buffer.address, buffer.address + buffer.size))
        return buffer

    def holds(self, values: NDArray[Any]) -> bool:
        """Says whether an array lies in a file of this folder."""
        start = values.__array_interface__["data"][0]
        return any(low <= start and start + values.nbytes <= high for low, high in self._regions)

    def release(self, values: NDArray[Any]) -> None:
        """Gives back the memory through which an array of this folder was looked at; other arrays stay as they are.

        The values stay in the file, and as long as there is room in the system's cache: the process no longer counts
        them for its own.
        """
        if not self.holds(values):
            return
        start = values.__array_interface__["data"][0]
        begin = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
        length = (start + values.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE - begin
        if length > 0 and hasattr(mmap, "MADV_DONTNEED"):
            ctypes.CDLL(None).madvise(ctypes.c_void_p(begin), ctypes.c_size_t(length), mmap.MADV_DONTNEED)


def cut_to(path: Path, size: int) -> bool:
    """Cuts off what a killed process wrote behind the first `size` bytes; says whether these are there."""
    if not path.exists() or path.stat().st_size < size:
        return False
    os.truncate(path, size)
    return True


def is_no_room(error: BaseException) -> bool:
    """Says whether the system has no room for what is written: no fault of the file that is read meanwhile."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _boot() -> str:
    return BOOT_ID.read_text(encoding="ascii") if BOOT_ID.exists() else ""

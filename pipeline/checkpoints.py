"""Where a training keeps its state: a zip of .npy members and a state, then its SHA-256; replaced atomically."""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.contract import DataError
from pipeline.files import read_own, write_parts_atomically

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STATE = "state.json"
_DIGEST_BYTES = 32
_MOST_STATE_BYTES = 64 * 2**20
_MALFORMED = (OSError, ValueError, KeyError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)


class FileCheckpoints:
    """Checkpoints in a file that survives kills: either the last state is there whole, or the one before.

    Args:
        path: the file; its folder must exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def save(self, arrays: Mapping[str, NDArray[Any]], state: Mapping[str, Any]) -> None:
        """Replaces the kept state. `arrays`: name -> array of numbers; `state`: anything JSON can say.

        Raises:
            OSError: no permission, or no space; the state before is then still there.
        """
        import numpy as np

        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
            for name, array in arrays.items():
                member = io.BytesIO()
                np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
                archive.writestr(f"{name}.npy", member.getvalue())
            archive.writestr(_STATE, json.dumps(dict(state)))
        data = content.getbuffer()
        write_parts_atomically(self._path, (data, hashlib.sha256(data).digest()))

    def load(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]] | None:
        """Returns (arrays, state) as last saved; None where nothing was saved, or a byte of it changed."""
        from data.array_files import read_members

        content = _whole(self._path)
        state = None if content is None else _state(content)
        if content is None or state is None:
            return None
        try:
            return read_members(content, self._path.name), state
        except DataError:
            return None

    def state(self) -> dict[str, Any] | None:
        """Returns the state as last saved, without the arrays; None as for `load`."""
        content = _whole(self._path)
        return None if content is None else _state(content)


def resumption(scratch: Path) -> str | None:
    """Returns where a stage goes on from what its scratch folder keeps, e.g. `epoch 5`; None where that is nothing."""
    for path in sorted(scratch.glob("*.checkpoint"), key=lambda path: path.stat().st_mtime_ns, reverse=True):
        content = _whole(path)
        state = None if content is None else _state(content)
        if state is not None and "resumes_at" in state:
            return str(state["resumes_at"])
    return None


def _state(content: io.BytesIO) -> dict[str, Any] | None:
    """Returns the state in a checkpoint; None where there is none, though the digest fits: anybody can make one."""
    try:
        with zipfile.ZipFile(content) as archive:
            state = json.loads(archive.read(_STATE)) if archive.getinfo(_STATE).file_size <= _MOST_STATE_BYTES else None
    except _MALFORMED:
        return None
    return state if isinstance(state, dict) else None


def _whole(path: Path) -> io.BytesIO | None:
    """Returns the zip in a checkpoint; None where it cannot be read or its digest does not fit.

    The CRC-32 of a zip's members would not do: it does not cover their names and the directory.
    """
    try:
        data = read_own(path)
    except OSError:
        return None
    content, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
    return io.BytesIO(content) if hashlib.sha256(content).digest() == digest else None

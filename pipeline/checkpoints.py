"""Where a training keeps its state: a zip of .npy members and a state, then its SHA-256; replaced atomically."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.files import sync_folder

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STATE = "state.json"
_DIGEST_BYTES = 32


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
        temporary = self._path.with_suffix(".tmp")
        with temporary.open("wb") as stream:
            stream.write(content.getbuffer())
            stream.write(hashlib.sha256(content.getbuffer()).digest())
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(self._path)
        sync_folder(self._path.parent)

    def load(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]] | None:
        """Returns (arrays, state) as last saved; None where nothing was saved, or a byte of it changed."""
        import numpy as np

        content = _whole(self._path)
        if content is None:
            return None
        with zipfile.ZipFile(content) as archive:
            arrays = {
                name.removesuffix(".npy"): np.lib.format.read_array(io.BytesIO(archive.read(name)), allow_pickle=False)
                for name in archive.namelist()
                if name != _STATE
            }
            return arrays, json.loads(archive.read(_STATE))

    def state(self) -> dict[str, Any] | None:
        """Returns the state as last saved, without the arrays; None as for `load`."""
        content = _whole(self._path)
        return None if content is None else _state(content)


def resumption(scratch: Path) -> str | None:
    """Returns where a stage goes on from what its scratch folder keeps, e.g. `epoch 5`; None where that is nothing."""
    for path in sorted(scratch.glob("*.checkpoint")):
        content = _whole(path)
        if content is not None:
            return str(_state(content)["resumes_at"])
    return None


def _state(content: io.BytesIO) -> dict[str, Any]:
    with zipfile.ZipFile(content) as archive:
        state: dict[str, Any] = json.loads(archive.read(_STATE))
        return state


def _whole(path: Path) -> io.BytesIO | None:
    """Returns the zip in a checkpoint; None where it cannot be read or its digest does not fit.

    The CRC-32 of a zip's members would not do: it does not cover their names and the directory.
    """
    try:
        data = path.read_bytes()
    except OSError:
        return None
    content, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
    return io.BytesIO(content) if hashlib.sha256(content).digest() == digest else None

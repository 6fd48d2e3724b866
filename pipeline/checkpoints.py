"""Where a training keeps its state: one zip of .npy members and a state, replaced atomically."""

from __future__ import annotations

import io
import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.files import sync_folder

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STATE = "state.json"
_DAMAGE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


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

        temporary = self._path.with_suffix(".tmp")
        with temporary.open("wb") as stream:
            with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
                for name, array in arrays.items():
                    member = io.BytesIO()
                    np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
                    archive.writestr(f"{name}.npy", member.getvalue())
                archive.writestr(_STATE, json.dumps(dict(state)))
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(self._path)
        sync_folder(self._path.parent)

    def load(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]] | None:
        """Returns (arrays, state) as last saved; None where nothing was saved, or a byte of it changed.

        Every member carries a CRC-32, which reading checks.
        """
        import numpy as np

        try:
            with zipfile.ZipFile(self._path) as archive:
                arrays = {
                    name.removesuffix(".npy"): np.lib.format.read_array(
                        io.BytesIO(archive.read(name)), allow_pickle=False
                    )
                    for name in archive.namelist()
                    if name.endswith(".npy")
                }
                return arrays, json.loads(archive.read(_STATE))
        except _DAMAGE:
            return None


def kept_epoch(scratch: Path) -> int | None:
    """Returns the last finished epoch that a stage's scratch folder knows of; None where there is none."""
    epochs = []
    for path in scratch.glob("*.checkpoint"):
        try:
            with zipfile.ZipFile(path) as archive:
                epochs.append(int(json.loads(archive.read(_STATE)).get("epoch", 0)))
        except _DAMAGE:
            continue
    return max(epochs, default=None)

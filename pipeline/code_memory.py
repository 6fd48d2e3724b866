"""Digests of code, remembered between runs for as long as no file of the project changes.

Digesting takes a few tenths of a second, which every command would pay that plans. What is
remembered is good for one state of the project: path, size, times and inode of each of its files.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from pipeline.code_digest import ROOMS, ROOT, Code
from pipeline.files import canonical_json, read_own, sha256_of_json
from pipeline.refusals import remember

_SETTLED_NANOSECONDS = 2_000_000_000
"""A file that changed less than this ago might change again within one tick of its filesystem's clock."""


class CodeMemory:
    """Answers what code a module reaches, at the moment it is first asked; from memory where that was known.

    Args:
        store: folder of the store; nothing is written where it is not there or cannot be written.
        root: folder that holds the rooms.
    """

    def __init__(self, store: Path, root: Path = ROOT) -> None:
        self._store = store
        self._code = Code(root)
        self._parts: dict[str, dict[str, str]] = {}
        self._root = root
        self._moment: tuple[str, bool] | None = None

    def parts(self, module: str) -> dict[str, str]:
        """Returns the digests of all code that a module reaches; see `Code.parts`.

        Raises:
            ModuleNotFoundError: it is no module of the project.
            StoreError: no space to remember it.
        """
        if self._moment is None:
            self._moment = project_state(self._root)
        if module not in self._parts:
            state, settled = self._moment
            path = self._store / ".memory" / "code" / f"{module}.json"
            parts = _remembered(path, state, module)
            if parts is None:
                parts = self._code.parts([(module, None)])
                if settled:
                    remember(path, canonical_json(_record(state, module, parts)), self._store)
            self._parts[module] = parts
        return self._parts[module]


def project_state(root: Path) -> tuple[str, bool]:
    """Returns a digest of what identifies the project's files, and whether they have settled.

    Args:
        root: folder that holds the rooms.

    Returns:
        (state, settled): the digest is over path, size, times and inode of every file, and Python's
        version, whose syntax trees are digested; not settled where a file changed only a moment ago.
    """
    identities = []
    newest = 0
    for room in ROOMS:
        for folder, folders, files in os.walk(root / room):
            folders[:] = sorted(each for each in folders if each != "__pycache__")
            for name in sorted(files):
                path = os.path.join(folder, name)  # noqa: PTH118 -- some hundred paths, in every command
                status = os.stat(path)  # noqa: PTH116
                newest = max(newest, status.st_ctime_ns)
                identities.append([path, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino])
    return sha256_of_json([identities, list(sys.version_info)]), time.time_ns() - newest > _SETTLED_NANOSECONDS


def _record(state: str, module: str, parts: object) -> dict[str, object]:
    return {"state": state, "parts": parts, "digest": sha256_of_json([state, module, parts])}


def _remembered(path: Path, state: str, module: str) -> dict[str, str] | None:
    """Returns what was remembered of a state of the project; None where that is nothing, or damaged."""
    try:
        found = json.loads(read_own(path))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found != _record(state, module, found.get("parts")):
        return None
    parts: dict[str, str] = found["parts"]
    return parts

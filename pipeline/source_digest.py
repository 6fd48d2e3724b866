"""Digests of raw data files, read once and remembered by path, size, modification time and inode."""

from __future__ import annotations

import json
import time
from pathlib import Path

from data.config import DataConfig
from data.contract import DataError
from data.source_files import source_files
from pipeline.files import canonical_json, sha256_of_file, sha256_of_json
from pipeline.refusals import remember

_SETTLED_NANOSECONDS = 2_000_000_000


def source_digest(config: DataConfig, memory: Path, *, task: str = "classification", rehash: bool = False) -> str:
    """Digests the raw files that a `data` section names.

    Args:
        config: the section; the files of its rows without labels count too.
        memory: JSON file that remembers digests between runs, in a folder of the store; nothing is written where the
            store is not there or can be read only.
        task: says whether files of labels count.
        rehash: read every byte again, whatever is remembered.

    Returns:
        64 hexadecimal digits; of nothing where the data ships inside a library.

    Raises:
        DataError: a file is missing or cannot be read.
    """
    remembered = {} if rehash else _remembered(memory)
    digests: dict[str, str] = {}
    fresh: dict[str, list[str]] = {}
    for path in source_files(config, task):
        try:
            status = path.stat()
            place = str(path.resolve())
            identity = f"{status.st_size}|{status.st_mtime_ns}|{status.st_ino}"
            known, digest = remembered.get(place, ["", ""])
            if known != identity:
                digest = sha256_of_file(path)
                # A file that changed this moment might change again within one tick of its filesystem's clock.
                if time.time_ns() - status.st_mtime_ns > _SETTLED_NANOSECONDS:
                    fresh[place] = [identity, digest]
        except OSError as error:
            raise DataError(
                f"data.path: expected files that can be read, got {path}: {error.strerror}. Check its permissions."
            ) from error
        digests[str(path)] = digest
    if fresh:
        files = {**_remembered(memory), **fresh}
        text = canonical_json({"files": files, "digest": sha256_of_json(files)})
        remember(memory, text, memory.parent.parent)
    return sha256_of_json(digests)


def _remembered(memory: Path) -> dict[str, list[str]]:
    """Returns path -> (identity, digest) as remembered; nothing where the memory is damaged."""
    try:
        found = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict) or found.get("digest") != sha256_of_json(found.get("files")):
        return {}
    files: dict[str, list[str]] = found["files"]
    return files

"""Digests of the raw files and of the user's code that a stage reads, remembered where that saves reading them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from data.config import DataConfig
from data.contract import ConfigError, DataError
from data.source_files import source_files
from models.own_model_config import BuilderModelConfig, FileModelConfig
from pipeline.files import canonical_json, read_own, sha256_of_file, sha256_of_json
from pipeline.own_model.builder_code import builder_code
from pipeline.own_model.files import model_files
from pipeline.refusals import remember
from pipeline.remote.addresses import localized, telling_urls, told_by_url

_SETTLED_NANOSECONDS = 2_000_000_000


def raw_digest(
    reads: Literal["data", "model"] | None, sections: Mapping[str, Any], memory: Path, *, rehash: bool = False
) -> str | None:
    """Digests what a stage reads besides artifacts.

    Args:
        reads: section that names it; `Stage.reads`.
        sections: the sections that the stage reads, by name; `task` and what `reads` says are among them.
        memory: as for `source_digest`.
        rehash: as for `source_digest`.

    Returns:
        64 hexadecimal digits; None where it reads nothing of the kind.

    Raises:
        DataError: raw data is missing or cannot be read.
        ConfigError: a model's file or code is missing or cannot be read.
    """
    if reads is None:
        return None
    store = memory.parent.parent
    with telling_urls(sections, store):
        if reads == "data":
            return source_digest(sections["data"], memory, task=sections["task"], rehash=rehash)
        return model_digest(sections["model"], memory, rehash=rehash)


def source_digest(config: DataConfig, memory: Path, *, task: str = "classification", rehash: bool = False) -> str:
    """Digests the raw files that a `data` section names.

    Args:
        config: the section; the files of its rows without labels count too. Of URLs, the copies are read.
        memory: JSON file that remembers digests between runs, in a folder of the store; nothing is written where the
            store is not there or can be read only.
        task: says whether files of labels count.
        rehash: read every byte again, whatever is remembered.

    Returns:
        64 hexadecimal digits; of nothing where the data ships inside a library.

    Raises:
        DataError: a file is missing or cannot be read.
    """
    store = memory.parent.parent
    local = localized({"data": config}, "data", store)["data"]
    try:
        digests = _digests(source_files(local, task), memory, rehash=rehash)
        # Where the copy of a URL lies does not matter, as it does not for a model.
        return sha256_of_json({told_by_url(path, {"data": config}, store): each for path, each in digests.items()})
    except _UnreadableError as error:
        raise DataError(f"data.path: {error}") from error


def model_digest(config: Any, memory: Path, *, rehash: bool = False) -> str | None:
    """Digests the file, or the code, that a `model` section names.

    Args:
        config: the section.
        memory: as for `source_digest`.
        rehash: as for `source_digest`.

    Returns:
        64 hexadecimal digits: of the bytes of a file, of all files of a SavedModel, or of the syntax of a builder's
        module and those beside it that it imports; None for a family of networks.

    Raises:
        ConfigError: a file is missing or cannot be read, a module cannot be parsed, or has no such function.
    """
    if isinstance(config, BuilderModelConfig):
        return sha256_of_json(builder_code(config))
    if not isinstance(config, FileModelConfig):
        return None
    file = localized({"model": config}, "model", memory.parent.parent)["model"].file
    try:
        digests = _digests(model_files(file), memory, rehash=rehash)
    except _UnreadableError as error:
        raise ConfigError(f"model.file: {error}") from error
    # Names inside of a SavedModel matter, where it lies does not.
    return sha256_of_json({str(Path(path).relative_to(file)): digest for path, digest in digests.items()})


class _UnreadableError(Exception):
    """A file that the system does not let us read."""


def _digests(paths: Iterable[Path], memory: Path, *, rehash: bool) -> dict[str, str]:
    """Returns path -> SHA-256 of each file, read or remembered."""
    remembered = {} if rehash else _remembered(memory)
    digests: dict[str, str] = {}
    fresh: dict[str, list[str]] = {}
    for path in paths:
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
            raise _UnreadableError(
                f"expected files that can be read, got {path}: {error.strerror}. Check its permissions."
            ) from error
        digests[str(path)] = digest
    if fresh:
        files = {**_remembered(memory), **fresh}
        text = canonical_json({"files": files, "digest": sha256_of_json(files)})
        remember(memory, text, memory.parent.parent)
    return digests


def _remembered(memory: Path) -> dict[str, list[str]]:
    """Returns path -> (identity, digest) as remembered; nothing where the memory is damaged."""
    try:
        found = json.loads(read_own(memory))
        if not isinstance(found, dict) or found.get("digest") != sha256_of_json(found.get("files")):
            return {}
    except (OSError, ValueError, RecursionError):
        return {}
    return {str(path): known for path, known in found["files"].items()} if _is_memory(found["files"]) else {}


def _is_memory(files: Any) -> bool:
    """Whether what fits its digest is what is remembered: path -> (identity, digest)."""
    return isinstance(files, dict) and all(
        isinstance(known, list) and len(known) == 2 and all(isinstance(text, str) for text in known)
        for known in files.values()
    )

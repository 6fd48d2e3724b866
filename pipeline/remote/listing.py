"""What lies at a URL: files, their sizes, and what tells one version of them from the next."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import IO, Any, Protocol

from data.image_folders import IMAGE_SUFFIXES
from data.paths import TABLE_SUFFIXES
from data.source_files import IDX_NAMES, is_aside

_WANTED = {
    "images": IMAGE_SUFFIXES,
    "series": TABLE_SUFFIXES,
    "arrays": (".npy",),
    "idx": tuple(f"{name}{suffix}" for names in IDX_NAMES.values() for name in names for suffix in ("", ".gz")),
}
"""Kind of source -> ends of the names of files that it reads from a folder; all of them, where it is not here."""

MOST_NAME_BYTES = 255
"""Longest part of a path that filesystems take."""


class RemoteError(Exception):
    """Something at a URL cannot be read; its text says why."""


class AbsentError(RemoteError):
    """There is nothing."""


class RefusedError(RemoteError):
    """The server wants other credentials."""


class UnreachableError(RemoteError):
    """There is no answer, or not all of it."""


@dataclass(frozen=True)
class RemoteFile:
    """A file at a URL.

    Attributes:
        name: its path within the folder; empty where the URL is that of the file.
        size: bytes; None where the server does not tell.
        version: ETag, or time of the last change: another one says that the bytes may be others. None where the server
            tells neither: then nothing says that they are the same.
    """

    name: str
    size: int | None
    version: str | None


@dataclass(frozen=True)
class Listing:
    """What lies at a URL.

    Attributes:
        is_folder: whether it is a folder of files, or one file.
        files: those that its source reads, in any order.
        folders: paths within the folder of all that hold files, read or not, sorted: a folder counts as a class.
    """

    is_folder: bool
    files: tuple[RemoteFile, ...]
    folders: tuple[str, ...] = ()


class Remote(Protocol):
    """Something that can be listed and read."""

    def file(self) -> RemoteFile | None:
        """Returns the file that lies there; None where it is a folder.

        Raises:
            RemoteError: it cannot be told.
        """

    def files(self) -> list[RemoteFile]:
        """Returns all files of the folder, at any depth.

        Raises:
            RemoteError: it cannot be told.
        """

    def open(self, file: RemoteFile) -> IO[bytes] | Any:
        """Opens one of the files.

        Raises:
            RemoteError: it cannot be read.
        """

    def version_in(self, stream: Any) -> str | None:
        """Returns the version that a stream was opened of; None where it is of one version in any case."""

    def version(self, file: RemoteFile) -> str | None:
        """Returns the version of a file as it is now, as `version_in` tells it.

        Raises:
            RemoteError: it cannot be told.
        """

    def explained(self, error: Exception) -> RemoteError:
        """Returns what an error of the storage's own says."""


def is_wanted(name: str, kind: str) -> bool:
    """Says whether a kind of source reads a file of that path within a folder; sources pass over hidden ones."""
    parts = name.split("/")
    if kind == "model":
        return True
    if kind in ("arrays", "idx") and len(parts) > 1:
        return False
    if kind == "table" and is_aside(name):
        return False
    return not any(part.startswith(".") for part in parts) and parts[-1].lower().endswith(_WANTED.get(kind, ""))


def unsafe(name: str) -> str | None:
    """Says what is wrong with a path within a folder; None where it can be a path below another folder."""
    for part in name.split("/"):
        if part in (".", ".."):
            return f"a part {part!r}"
        if not part:
            return "an empty part"
        if "\0" in part or len(part.encode(errors="surrogateescape")) > MOST_NAME_BYTES:
            return "a part that no filesystem takes"
    return None


def clashing(names: Iterable[str]) -> str | None:
    """Returns a name that is that of a file and of a folder at once, which object storage allows; None: there is none.

    Args:
        names: paths of files within a folder.
    """
    files = set(names)
    for name in sorted(files):
        parts = name.split("/")
        for length in range(1, len(parts)):
            if "/".join(parts[:length]) in files:
                return "/".join(parts[:length])
    return None

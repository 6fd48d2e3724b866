"""What is known of a copy: a line of JSON for each file that is there, written behind the file."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline.files import append_own, read_own, write_atomically
from pipeline.remote.listing import RemoteFile


@dataclass(frozen=True)
class Kept:
    """A file of a copy.

    Attributes:
        name: as `RemoteFile.name`.
        size: bytes that were received.
        version: as `RemoteFile.version`, when it was received.
        changed_ns: time of the last change of the file here.
    """

    name: str
    size: int
    version: str | None
    changed_ns: int

    def is_current(self, file: RemoteFile, path: Path) -> bool:
        """Says whether the file here is whole, untouched, and what the server has."""
        same = self.version is not None and self.version == file.version and file.size in (None, self.size)
        return same and self.is_whole(path)

    def is_whole(self, path: Path) -> bool:
        """Says whether the file here is as it was received."""
        try:
            status = path.lstat()
        except OSError:
            return False
        return (status.st_size, status.st_mtime_ns) == (self.size, self.changed_ns)


@dataclass
class Journal:
    """What is known of a copy.

    Attributes:
        url: what it is a copy of.
        endpoint: server that was asked, where the config names one.
        is_whole: whether all files of the last listing are there.
        is_folder: whether the URL is that of a folder.
        folders: as `Listing.folders`.
        kept: name -> file.
    """

    url: str
    endpoint: str | None
    is_whole: bool = False
    is_folder: bool = False
    folders: list[str] = field(default_factory=list)
    kept: dict[str, Kept] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Replaces what was written before."""
        lines = [json.dumps({key: value for key, value in asdict(self).items() if key != "kept"})]
        lines += [json.dumps(asdict(each)) for each in self.kept.values()]
        write_atomically(path, "\n".join([*lines, ""]))

    def add(self, path: Path, kept: Iterable[Kept]) -> None:
        """Adds files, behind what is written."""
        with append_own(path) as stream:
            for each in kept:
                self.kept[each.name] = each
                stream.write((json.dumps(asdict(each)) + "\n").encode())


def read_journal(path: Path) -> Journal | None:
    """Returns what was written, up to a line that a killed process left unfinished; None where there is nothing."""
    try:
        lines = read_own(path).decode().split("\n")
        head: dict[str, Any] = json.loads(lines[0])
        journal = Journal(**head)
    except (OSError, ValueError, TypeError):
        return None
    for line in lines[1:-1]:
        try:
            each = Kept(**json.loads(line))
        except (ValueError, TypeError):
            break
        journal.kept[each.name] = each
    return journal

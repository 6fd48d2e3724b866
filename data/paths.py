"""Paths that a config or a user names: whether they are there, and what was probably meant."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from data.contract import DataError

TABLE_SUFFIXES = (
    *(".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet"),
    *(".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz"),
)
"""How the names of tables end."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.:-]*://")

MOST_SHOWN = 200
"""Characters of a path that the system refuses which its error shows."""


def is_url(path: str) -> bool:
    """Says whether a path is a URL (`s3://…`) and no path of this machine."""
    return _URL.match(path) is not None


def table_format(path: Path) -> Literal["parquet", "json_lines", "text"]:
    """Returns what a table's name says that it is; `text` is CSV and TSV."""
    name = path.name.lower().removesuffix(".gz")
    if name.endswith(".parquet"):
        return "parquet"
    return "json_lines" if name.endswith((".jsonl", ".ndjson")) else "text"


def nearest(name: str, names: Iterable[str]) -> str:
    """Returns ` (the nearest is 'x')`, or nothing where no name is near."""
    lowered = {known.lower(): known for known in names}
    near = difflib.get_close_matches(name.lower(), list(lowered), n=1, cutoff=0.6)
    return f" (the nearest is {lowered[near[0]]!r})" if near else ""


def existing(path: Path, what: Literal["file", "folder", "file or folder"], field: str = "data.path") -> Path:
    """Returns the path if it is there and can be read.

    Raises:
        DataError: it is missing (the nearest sibling is offered), of the other kind, or not readable.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(
            f"{field}: expected a {what}, got {str(path)!r}, which does not exist{_nearest_sibling(path)}. "
            "Correct the path."
        ) from error
    except (OSError, ValueError) as error:  # too long a name, links in a circle, no permission, a zero byte
        reason = error.strerror if isinstance(error, OSError) else str(error)
        shown = str(path) if len(str(path)) <= MOST_SHOWN else f"{str(path)[:MOST_SHOWN]}…"
        raise DataError(f"{field}: expected a {what}, got {shown!r} ({reason}). Correct the path.") from error
    kind = "folder" if path.is_dir() else "file" if path.is_file() else "something else"
    if kind not in what:
        kind = kind if kind == "something else" else f"a {kind}"
        raise DataError(f"{field}: expected a {what}, got {str(path)!r}, which is {kind}. Correct the path.")
    if not os.access(path, os.R_OK):
        raise DataError(f"{field}: expected a readable {what}, got {str(path)!r}. Correct its permissions.")
    return path


def _nearest_sibling(path: Path) -> str:
    try:
        return nearest(path.name, [sibling.name for sibling in path.parent.iterdir() if sibling.name[0] != "."])
    except OSError:
        return ""


def is_file(path: Path) -> bool:
    """Says whether there is such a file; of a name longer than the system takes there is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def entries_of(folder: Path) -> list[Path]:
    """Returns what lies in a folder, sorted, hidden entries left out.

    Raises:
        DataError: the folder cannot be read, or a name in it is not UTF-8.
    """
    try:
        entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise DataError(
            f"data.path: expected a readable folder, got {str(folder)!r} ({error.strerror}). Correct its permissions."
        ) from error
    for entry in entries:
        try:
            entry.name.encode()
        except UnicodeEncodeError as error:  # bytes that are not UTF-8 come as lone surrogates
            raise DataError(
                f"data.path: expected names in UTF-8, got {os.fsencode(entry.name)!r} in {folder.name!r}. Rename it."
            ) from error
    return entries

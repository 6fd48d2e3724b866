"""How much memory a file may ask for: what is packed may unpack to twenty times its size, small things to more."""

from __future__ import annotations

import gzip
from pathlib import Path

from data.contract import DataError

UNPACKED_FACTOR = 20
"""Bytes in memory that a byte of a file may ask for."""

UNPACKED_FREELY_BYTES = 256 * 2**20
"""Bytes that any file may ask for, however small it is."""

MOST_COLUMNS = 20_000
"""Columns of a table; each takes some 40 KB, however few rows there are."""

_PIECE_BYTES = 2**20


def most_unpacked(packed: int) -> int:
    """Returns how many bytes may be asked for by a file, or a part of one, of so many bytes."""
    return max(UNPACKED_FACTOR * packed, UNPACKED_FREELY_BYTES)


def check_unpacked(name: str, packed: int, unpacked: int, advice: str) -> None:
    """Refuses what would take far more memory than its size lets one think, before any is taken.

    Args:
        name: of the file, for the message.
        packed: bytes of the file.
        unpacked: bytes in memory that reading it takes.
        advice: what to do about a file that is no bomb.

    Raises:
        DataError: it is more than `UNPACKED_FACTOR` times the size, and more than `UNPACKED_FREELY_BYTES`.
    """
    if unpacked > most_unpacked(packed):
        raise DataError(
            f"data.path: expected a file that takes {UNPACKED_FACTOR} times its size in memory, or "
            f"{UNPACKED_FREELY_BYTES // 2**20} MiB, at most, got {unpacked} bytes out of {packed} in {name!r}. {advice}"
        )


def check_gzip(path: Path) -> None:
    """Unpacks a .gz file, keeping nothing, and refuses one that unpacks to more than memory should hold.

    Raises:
        DataError: it unpacks to too much.
        OSError, EOFError, zlib.error: it is no whole gzip file.
    """
    packed, found = path.stat().st_size, 0
    with gzip.open(path) as stream:
        while piece := stream.read(_PIECE_BYTES):
            found += len(piece)
            if found > most_unpacked(packed):
                # How much more there is, nobody needs to know.
                check_unpacked(path.name, packed, found, "Unpack the file, if you trust it.")


def check_columns(count: int, name: str) -> None:
    """Refuses a table of more columns than are read.

    Raises:
        DataError: with their number.
    """
    if count > MOST_COLUMNS:
        raise DataError(
            f"data.path: expected at most {MOST_COLUMNS:,} columns, got {count:,} in {name!r}. "
            "Save numbers that are that many as .npy, and read them with source: arrays."
        )

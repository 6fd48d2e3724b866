"""Opens .npy and .npz files without ever unpickling, after checking that their headers tell the truth."""

from __future__ import annotations

import lzma
import math
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from data.contract import DataError
from data.scratch import KEPT_IN_MEMORY_BYTES, Scratch, is_no_room
from data.source_files import absent_array
from data.unpacking import check_unpacked

MALFORMED = (
    *(ValueError, OSError, EOFError, SyntaxError, tokenize.TokenError, zipfile.BadZipFile, zlib.error, lzma.LZMAError),
    *(KeyError, TypeError, RuntimeError, NotImplementedError),  # the last two: encrypted, or packed in an unknown way
)
"""What NumPy and zipfile raise for files that are not what they say."""


MOST_DEFLATED = 1032
"""Bytes that one deflated byte can stand for at most.

Reference:
    Gailly & Adler, zlib Technical Details: the limit is 1032 to 1.
"""


def read_npy(path: Path) -> NDArray[Any]:
    """Opens an .npy file, memory-mapped.

    Raises:
        DataError: it is pickled, malformed, cut short, or of a type that holds no numbers or text.
    """
    try:
        with path.open("rb") as stream:
            _check_header(stream, path.stat().st_size, path.name)
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except MALFORMED as error:
        raise _malformed(path.name, error) from error
    return array


def npz_names(path: Path) -> list[str]:
    """Returns the names of the arrays in an .npz file.

    Raises:
        DataError: it is no such file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except MALFORMED as error:
        raise _malformed(path.name, error) from error
    for name in names:
        if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/"):
            raise DataError(
                f"data.path: expected names that stay in the file, got {name!r} in {path.name!r}. Trust no such file."
            )
    return [name.removesuffix(".npy") for name in names]


def read_npz(path: Path, name: str, field: str = "data.path", scratch: Scratch | None = None) -> NDArray[Any]:
    """Reads one array of an .npz file.

    Args:
        path: the file.
        name: name of the array.
        field: where that name comes from.
        scratch: where it is unpacked to if it is large; None: into memory.

    Raises:
        DataError: the file is malformed, or the array is missing, pickled, cut short, or more than memory holds.
        OSError: there is no room on the disk.
    """
    names = npz_names(path)
    if name not in names:
        raise absent_array(field, name, path, names)
    try:
        with zipfile.ZipFile(path) as archive:
            member = archive.getinfo(f"{name}.npy")
            array = _read_member(archive, member, path.stat().st_size, path.name, scratch)
    except MALFORMED as error:
        if is_no_room(error):
            raise
        raise _malformed(f"{path.name}:{name}", error) from error
    except MemoryError as error:
        raise DataError(
            f"data.path: expected an array that memory holds, got {member.file_size} bytes in "
            f"{f'{path.name}:{name}'!r}. Save it as .npy in a folder: such a file is read piece by piece."
        ) from error
    return array


def _unpacked(stream: IO[bytes], scratch: Scratch) -> NDArray[Any]:
    """Returns an array whose bytes lie in a file; that there are as many as its header declares is checked already."""
    shape, is_fortran, dtype = _header(stream)
    size = dtype.itemsize * math.prod(shape)
    found = scratch.unpack(stream, size)
    if len(found) < size:
        raise EOFError(f"{len(found)} of {size} bytes")
    stream.read(1)  # the end: what was unpacked is compared with its checksum there
    values = found.view(dtype) if size else np.empty(0, dtype)
    return values.reshape(shape, order="F" if is_fortran else "C")


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(stream)


def read_members(file: IO[bytes], name: str) -> dict[str, NDArray[Any]]:
    """Reads all arrays of an open zip, name -> array; other entries are passed over.

    Raises:
        DataError: the zip or one of its arrays is malformed, pickled, or more than memory should hold.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            size = file.seek(0, 2)
            members = [member for member in archive.infolist() if member.filename.endswith(".npy")]
            check_unpacked(name, size, sum(member.file_size for member in members), "Write the file anew.")
            return {
                member.filename.removesuffix(".npy"): _read_member(archive, member, size, name) for member in members
            }
    except MALFORMED as error:
        raise _malformed(name, error) from error


def _read_member(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, size: int, place: str, scratch: Scratch | None = None
) -> NDArray[Any]:
    """Reads an array of a zip of so many bytes, once its header is known to tell the truth."""
    with archive.open(member) as stream:
        _check_header(stream, member.file_size, f"{place}:{member.filename.removesuffix('.npy')}")
    _check_packing(member, size, f"{place}:{member.filename}")
    with archive.open(member) as stream:
        if scratch is not None and member.file_size > KEPT_IN_MEMORY_BYTES:
            return _unpacked(stream, scratch)
        array: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    return array


def _check_packing(member: zipfile.ZipInfo, size: int, name: str) -> None:
    """Refuses a size that the packed bytes cannot, or should not, unpack to, before any memory is asked for."""
    most = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: MOST_DEFLATED}.get(member.compress_type)
    packed = min(member.compress_size, size)
    if most is not None and member.file_size > most * packed:
        raise DataError(
            f"data.path: expected {member.file_size} bytes in {name!r} as the file "
            f"declares, got {packed} packed ones, which cannot hold them. Save the array again."
        )
    advice = "Save it as .npy in a folder, if you trust it: such a file is read piece by piece."
    check_unpacked(name, size, member.file_size, advice)


def _check_header(stream: IO[bytes], num_bytes: int, name: str) -> None:
    """Compares what the header declares with the bytes there are, before any memory is asked for.

    Raises:
        DataError: they differ, or the array is pickled.
        ValueError: there is no header.
    """
    shape, _, dtype = _header(stream)
    if dtype.hasobject:
        raise DataError(
            f"data.path: expected numbers or text, got pickled objects in {name!r}, which could run code when read. "
            "Save the array with a plain type and numpy.save(..., allow_pickle=False)."
        )
    declared = dtype.itemsize
    for length in shape:
        declared *= int(length)
    found = num_bytes - stream.tell()
    if any(length < 0 for length in shape) or declared != found:
        raise DataError(
            f"data.path: expected {declared} bytes of data in {name!r} as its header declares "
            f"(shape {_short(shape)}, {_short(dtype)}), got {found}. Save the array again."
        )


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


def _malformed(name: str, error: Exception) -> DataError:
    reason = str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
    return DataError(
        f"data.path: expected a file that numpy.save or numpy.savez wrote, without pickles, got {name!r} ({reason}). "
        "Save it again with allow_pickle=False."
    )

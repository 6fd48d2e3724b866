"""Files that are written whole or not at all, and digests of what is in them.

Below a work directory no symbolic link is followed: others may be able to write there, and a link of theirs would have
this user write, or remove, anywhere.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

_CHUNK_BYTES = 1 << 20


def sha256_of_file(path: Path) -> str:
    """Returns the SHA-256 of a file's bytes, as 64 hexadecimal digits.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as stream:
        return _sha256(stream)


def sha256_of_own(path: Path) -> str:
    """Returns the SHA-256 of a file of a work directory, as 64 hexadecimal digits; see `open_own`."""
    with open_own(path) as stream:
        return _sha256(stream)


def _sha256(stream: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := stream.read(_CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


def open_own(path: Path) -> IO[bytes]:
    """Opens a file of a work directory to read it: neither a link nor a pipe, which nobody may ever write to.

    Raises:
        OSError: it cannot be read, or is no plain file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a plain file", str(path))
    return os.fdopen(descriptor, "rb")


def read_own(path: Path) -> bytes:
    """Returns what is in a file of a work directory; see `open_own`."""
    with open_own(path) as stream:
        return stream.read()


def append_own(path: Path) -> IO[bytes]:
    """Opens a file of a work directory to write on at its end; made where it is not there.

    Raises:
        OSError: no permission, no space, or a link.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
    return os.fdopen(os.open(path, flags, 0o666), "ab")


def create_own(path: Path) -> IO[bytes]:
    """Opens a new file of a work directory to write it; what was there, a link perhaps, is gone.

    Raises:
        OSError: no permission, or no space.
    """
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666), "wb")


def make_folders(root: Path, *names: str) -> Path:
    """Makes folders, each in the one before.

    Args:
        root: made where it is not there; it may be a link, to a larger disk perhaps.
        names: of the folders below it, which may not.

    Returns:
        The last one.

    Raises:
        OSError: no permission, no space, or a link.
    """
    folder = root
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        folder = folder / name
        folder.mkdir(exist_ok=True)
        refuse_link(folder)
    return folder


def refuse_link(path: Path) -> None:
    """Raises the system's own error for a link that is not followed, where a path is one.

    Raises:
        OSError: ELOOP.
    """
    if path.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))


def refuse_links(folder: Path) -> None:
    """Raises the system's own error where a folder is a link, or has one in it.

    Raises:
        OSError: ELOOP.
    """
    for path in (folder, *folder.rglob("*")):
        refuse_link(path)


def clear_away(path: Path) -> None:
    """Removes whatever lies at a path, if anything; of a link the link.

    Raises:
        OSError: no permission.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def canonical_json(value: Any) -> str:
    """Returns JSON with sorted keys and no spaces: equal values give equal text.

    Raises:
        ValueError: the value holds NaN or an infinity, which JSON cannot say.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def sha256_of_json(value: Any) -> str:
    """Returns the SHA-256 of a value's canonical JSON, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def write_atomically(path: Path, data: str | bytes) -> None:
    """Replaces a file's content in one step that survives a crash: temporary file, fsync, rename.

    Raises:
        OSError: no permission, or no space; the old content is then still there.
    """
    write_parts_atomically(path, [data.encode() if isinstance(data, str) else data])


def write_parts_atomically(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Does so with content that comes in parts; see `write_atomically`."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with create_own(temporary) as stream:
            for part in parts:
                stream.write(part)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError:
        with suppress(OSError):  # the first refusal is the one to be told
            temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Makes everything below a folder survive a power cut, contents and names."""
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            sync_folder(path)
        else:
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
    sync_folder(folder)

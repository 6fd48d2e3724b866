"""What the operating system refuses about the work directory, told with what to do about it."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from data.contract import StoreError
from pipeline.files import make_folders, write_atomically

_REASONS: Mapping[int, str] = {
    errno.EACCES: "no permission. Choose another --workdir, or change its owner",
    errno.EPERM: "no permission. Choose another --workdir, or change its owner",
    errno.EROFS: "a read-only filesystem. Choose another --workdir",
    errno.ENOTDIR: "a path that leads through a file. Choose another --workdir",
    errno.EEXIST: "a file of that name. Choose another --workdir",
    errno.ELOOP: "a symbolic link, which is not followed below a work directory. Remove it",
    errno.ENOSPC: "no space left on the device. Make room (`gc` removes what no run needs) and start again",
    errno.EFBIG: "a limit on the size of files (ulimit -f). Raise it and start again",
    errno.EDQUOT: "a full quota. Make room (`gc` removes what no run needs) and start again",
}
"""What the commonest refusals mean, and what to do about them."""
FULL = (errno.ENOSPC, errno.EDQUOT)
"""What the system says where there is no room."""
_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Turns the operating system's refusals about a folder into errors that say what to do.

    Args:
        folder: a folder or file of the work directory. Errors that name a file elsewhere (raw data that a stage
            reads, say) pass: they are no fault of the work directory.

    Raises:
        StoreError: in place of any other OSError.
    """
    try:
        yield
    except OSError as error:
        if not _is_about(error, folder):
            raise
        named = error.filename if error.filename2 is None else error.filename2  # of a copy or a rename, where to
        where = os.fsdecode(named) if isinstance(named, str | bytes) else str(folder)
        told = f"{_told(error)}. Choose another --workdir"
        reason = told if error.errno is None else _REASONS.get(error.errno, told)
        raise StoreError(f"workdir: expected to be able to write to {where}, got {reason}.") from error


def remember(path: Path, text: str, root: Path) -> None:
    """Writes a file that only saves time: nothing where the store is not there, or can be read only.

    Args:
        path: the file, somewhere below the store.
        text: what it is to say.
        root: the store.

    Raises:
        StoreError: any other refusal, such as no space.
    """
    if not root.is_dir():
        return
    try:
        with explained(root):
            make_folders(root, *path.relative_to(root).parent.parts)
            write_atomically(path, text)
    except StoreError as error:
        if not isinstance(error.__cause__, OSError) or error.__cause__.errno not in _READ_ONLY:
            raise


def told_elsewhere(error: OSError) -> str:
    """Says what the system refused about a file that is not of the work directory."""
    where = "standard output, or a temporary file" if error.filename is None else error.filename
    advice = "Make room" if error.errno in FULL else "Check its path and permissions"
    return f"files: expected to be able to use {where}, got: {_told(error)}. {advice}."


def _told(error: OSError) -> str:
    if isinstance(error, shutil.Error):  # a list of (source, target, reason)
        return str(error.args[0][0][-1])
    return error.strerror or str(error)


def _is_about(error: OSError, folder: Path) -> bool:
    """Whether an error is about a folder: what is in it, a folder it lies in, or the device it is on."""
    if error.errno in FULL or not isinstance(error.filename, str | bytes):
        return True
    named, place = (Path(os.path.abspath(path)) for path in (os.fsdecode(error.filename), folder))  # noqa: PTH100
    return named.is_relative_to(place) or place.is_relative_to(named)

"""Copies of what lies at URLs: whether they are current, and how they are made so."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from data.contract import ConfigError, DataError, Progress
from data.paths import TABLE_SUFFIXES
from pipeline.files import clear_away, make_folders
from pipeline.own_model.files import MOST_FILES, SAVED_MODEL
from pipeline.remote.addresses import COPIES, Address
from pipeline.remote.config import RemoteConfig
from pipeline.remote.download import Download
from pipeline.remote.journal import Journal, read_journal
from pipeline.remote.listing import (
    AbsentError,
    Listing,
    RefusedError,
    Remote,
    RemoteError,
    RemoteFile,
    UnreachableError,
    clashing,
    is_wanted,
    unsafe,
)
from pipeline.store import Store

FOLDERS_ALONE = ("images", "idx")
"""Kinds of sources that are folders in any case."""

LISTING_PATIENCE = 60
"""Times of one answer that the listing of a folder may take: object stores tell a thousand files an answer."""

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Pending:
    """A URL whose copy is not current.

    Attributes:
        address: the URL.
        listing: what lies there.
        missing: what of it is not here yet, or not as it is there.
        anew: whether nothing that is here counts.
    """

    address: Address
    listing: Listing
    missing: tuple[RemoteFile, ...]
    anew: bool = False

    @property
    def reason(self) -> str:
        """Says what is to be done, for a plan."""
        count = len(self.missing)
        if not count:
            return f"{self.address.url} has lost files since it was copied"
        known = sum(file.size or 0 for file in self.missing)
        return f"{self.address.url} is to be downloaded first: {count} file{'s' * (count > 1)}, {known:,} bytes"


class Mirror:
    """The copies in one store.

    Args:
        store: where they lie.
        config: how servers are asked.
    """

    def __init__(self, store: Store, config: RemoteConfig) -> None:
        self._store = store
        self._config = config

    def pending(self, address: Address, *, anew: bool = False) -> Pending | None:
        """Asks the server whether a copy is what lies there; writes nothing.

        Args:
            address: the URL.
            anew: take no file for current.

        Returns:
            What is to be downloaded; None where the copy is current, or whole and not to be checked.

        Raises:
            DataError: the server cannot be reached within the time of the config or refuses, nothing of that kind lies
                there, or a name leads out of the folder.
            ConfigError: nobody knows the scheme, or its package is not installed; a model's file is missing.
        """
        journal = Journal(address.url, self._config.endpoint) if anew else self._journal(address)
        root = address.local(self._store.root)
        if self._config.check == "once" and journal.is_whole and _is_untouched(journal, root):
            return None
        listing = self._listing(address)
        missing = tuple(
            file
            for file in listing.files
            if file.name not in journal.kept or not journal.kept[file.name].is_current(file, _at(root, file.name))
        )
        known = (journal.is_whole, journal.is_folder, tuple(journal.folders), len(journal.kept))
        current = known == (True, listing.is_folder, listing.folders, len(listing.files))
        return None if current and not missing else Pending(address, listing, missing, anew)

    def fetch(self, pending: Pending, progress: Progress) -> None:
        """Makes a copy current: downloads what is missing, then takes out what is gone.

        Files that are here stay what they were until each is replaced by a whole new one. Killed in the middle, the
        next call goes on with the next file.

        Raises:
            DataError: the server cannot be reached any more, refuses, or a file changes while it is read.
            StoreError: another run makes the same copy for longer than the patience of the store.
            OSError: no permission, no space, or a link in the place of a folder.
        """
        address = pending.address
        with self._store.lock("remote", address.key):
            journal = Journal(address.url, self._config.endpoint) if pending.anew else self._journal(address)
            folder, root = make_folders(self._store.root, COPIES, address.key), address.local(self._store.root)
            if journal.is_folder != pending.listing.is_folder:
                clear_away(folder / "tree")
                journal.kept = {}
            make_folders(folder, "tree")
            if root.is_symlink():
                root.unlink()
            journal.is_folder, journal.folders = pending.listing.is_folder, list(pending.listing.folders)
            journal.is_whole = False
            wanted = {file.name: file for file in pending.listing.files}
            journal.kept = {
                name: kept
                for name, kept in journal.kept.items()
                if name in wanted and kept.is_current(wanted[name], _at(root, name))
            }
            journal.write(folder / "journal.jsonl")
            _clear(root, wanted)
            for name in journal.folders:
                (root / name).mkdir(parents=True, exist_ok=True)
            missing = [file for name, file in wanted.items() if name not in journal.kept]
            download = Download(folder, root, journal, self._config.threads)
            try:
                download.run(self._opened(address), missing, progress)
            except RemoteError as error:
                raise self._told(error, address) from error
            journal.is_whole = True
            journal.write(folder / "journal.jsonl")

    def _journal(self, address: Address) -> Journal:
        """Returns what is known of a copy; nothing, where another server was asked for it."""
        journal = read_journal(address.folder(self._store.root) / "journal.jsonl")
        if journal is None or journal.endpoint != self._config.endpoint or journal.url != address.url:
            return Journal(address.url, self._config.endpoint)
        return journal

    def _listing(self, address: Address) -> Listing:
        try:
            remote = self._opened(address)
            file = _within(self._config.timeout_seconds, remote.file)
            files = _within(LISTING_PATIENCE * self._config.timeout_seconds, remote.files) if file is None else [file]
        except RemoteError as error:
            raise self._told(error, address) from error
        if file is None:
            return _checked(files, address)
        if address.kind == "table" and not address.leaf.lower().endswith(TABLE_SUFFIXES):
            raise DataError(
                f"{address.field}: expected a file that ends in {', '.join(TABLE_SUFFIXES)}, or a folder of such "
                f"files, got {address.url!r}. Convert it, or name another source."
            )
        if address.kind in FOLDERS_ALONE:
            raise DataError(f"{address.field}: expected a folder, got {address.url!r}, which is a file. Name one.")
        return Listing(False, (file,))

    def _opened(self, address: Address) -> Remote:
        from pipeline.remote.arrow_files import gcs_files, s3_files
        from pipeline.remote.fsspec_files import fsspec_files

        if address.scheme in ("s3", "s3a"):
            return _within(self._config.timeout_seconds, lambda: s3_files(address.path, self._config))
        if address.scheme in ("gs", "gcs"):
            return gcs_files(address.path, self._config)
        try:
            return fsspec_files(address, self._config)
        except (ImportError, ValueError) as error:
            raise ConfigError(
                f"{address.field}: expected a URL of a storage that is installed, got {address.url!r} ({error}). "
                "Install the package of fsspec for it, or copy the data."
            ) from error

    def _told(self, error: RemoteError, address: Address) -> DataError | ConfigError:
        field, url = address.field, address.url
        if isinstance(error, AbsentError):
            kind = ConfigError if address.kind == "model" else DataError
            return kind(f"{field}: expected a file or folder, got {url!r}, which does not exist. Correct the URL.")
        if isinstance(error, RefusedError):
            return DataError(
                f"{field}: expected a URL that may be read, got {url!r}, which the server refuses ({error}). Check the "
                "credentials of its storage in the environment; a public bucket wants remote.anonymous: true."
            )
        return DataError(
            f"{field}: expected a server that answers within {self._config.timeout_seconds:g} s, got none for {url!r} "
            f"({error}). Check the network; with remote.check: once a copy that is whole is read without asking."
        )


def _within(seconds: float, work: Callable[[], _Result]) -> _Result:
    """Returns what some work gives if it comes to its end in time, whatever its library waits for.

    Raises:
        UnreachableError: it does not; the work is left to itself, and does not keep the process alive.
    """
    done: list[_Result] = []
    failed: list[Exception] = []

    def call() -> None:
        try:
            done.append(work())
        except Exception as error:  # noqa: BLE001 -- raised anew by whoever waits
            failed.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds)
    if failed:
        raise failed[0]
    if not done:
        raise UnreachableError("no answer")
    return done[0]


def _checked(files: Sequence[RemoteFile], address: Address) -> Listing:
    """Returns what a source reads of a folder.

    Raises:
        DataError: there are none, a name leads out of the folder, or is that of a file and of a folder.
        ConfigError: it is not that of a SavedModel.
    """
    wanted = [file for file in files if is_wanted(file.name, address.kind)]
    for file in files:
        wrong = unsafe(file.name)
        if wrong is not None:
            raise DataError(
                f"{address.field}: expected names that stay inside of {address.url!r}, got {file.name[:200]!r}, which "
                f"has {wrong}. Rename it, or take it out."
            )
    clash = clashing(file.name for file in wanted)
    if clash is not None:
        raise DataError(
            f"{address.field}: expected names of files or folders in {address.url!r}, got {clash!r}, which is both. "
            "Rename one."
        )
    if address.kind == "model":
        if SAVED_MODEL not in {file.name for file in wanted} or len(wanted) > MOST_FILES:
            raise ConfigError(
                f"{address.field}: expected a .keras or .h5 file, or a folder of {SAVED_MODEL} and at most "
                f"{MOST_FILES} files, got {address.url!r} with {len(wanted)}. Name the model's own folder or file."
            )
    elif not wanted:
        raise DataError(
            f"{address.field}: expected files that source {address.kind} reads in {address.url!r}, got none among its "
            f"{len(files)}. Correct the URL."
        )
    return Listing(True, tuple(wanted), _folders(files))


def _folders(files: Sequence[RemoteFile]) -> tuple[str, ...]:
    names = {file.name.rpartition("/")[0] for file in files}
    shown = {name for name in names if not any(part.startswith(".") for part in name.split("/"))}
    return tuple(sorted(shown - {""}))


def _is_untouched(journal: Journal, root: Path) -> bool:
    return all(kept.is_whole(_at(root, kept.name)) for kept in journal.kept.values())


def _at(root: Path, name: str) -> Path:
    return root / name if name else root


def _clear(root: Path, wanted: dict[str, RemoteFile]) -> None:
    """Takes out files that are gone, and folders that are empty then: they would count as classes without images.

    Links to folders go too: nobody asked for them, and files would be written where they lead.
    """
    if not root.is_dir():
        return
    for path in sorted(root.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif str(path.relative_to(root)) not in wanted:
            path.unlink()

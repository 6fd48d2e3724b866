"""Downloads files, several at a time, each whole or not at all."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data.contract import Progress
from pipeline.files import clear_away, sync_folder
from pipeline.remote.journal import Journal, Kept
from pipeline.remote.listing import Remote, RemoteError, RemoteFile, UnreachableError

CHUNK_BYTES = 8 * 2**20
"""Bytes that are asked for at a time: object stores answer each range anew."""

ATTEMPTS = 3
"""Times a file is begun before its server counts as out of reach."""

PAUSE_SECONDS = 0.5
"""Before a file is begun again; twice as long each time."""


class Download:
    """Brings the files of one copy.

    Args:
        folder: of the copy; unfinished files lie in `partial` there.
        root: where the file, or the folder of files, goes.
        journal: is told of every file that is there.
        threads: files at a time.
    """

    def __init__(self, folder: Path, root: Path, journal: Journal, threads: int) -> None:
        self._folder = folder
        self._partial = folder / "partial"
        self._root = root
        self._journal = journal
        self._threads = threads
        self._waiting: deque[RemoteFile] = deque()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._failures: list[Exception] = []
        self._received = 0
        self._finished = 0

    def run(self, remote: Remote, files: Sequence[RemoteFile], progress: Progress) -> None:
        """Downloads files.

        Args:
            remote: where they lie.
            files: which.
            progress: told the bytes that have come.

        Raises:
            RemoteError: one cannot be read.
            OSError: one cannot be written.
        """
        clear_away(self._partial)
        self._partial.mkdir()
        self._waiting.extend(files)
        threads = [
            threading.Thread(target=self._work, args=(remote, number), daemon=True)
            for number in range(min(self._threads, len(files)))
        ]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                while thread.is_alive():
                    thread.join(0.5)
                    self._tell(files, progress)
        finally:  # Ctrl-C, too: what is begun ends at its next chunk
            self._stop.set()
        if self._failures:
            raise self._failures[0]
        self._tell(files, progress)
        clear_away(self._partial)

    def _tell(self, files: Sequence[RemoteFile], progress: Progress) -> None:
        total = sum(file.size or 0 for file in files)
        if 0 < self._received <= total:
            progress.step("bytes downloaded", self._received, total, {"files": f"{self._finished}/{len(files)}"})

    def _work(self, remote: Remote, number: int) -> None:
        while not self._stop.is_set():
            try:
                file = self._waiting.popleft()
            except IndexError:
                return
            try:
                self._bring(remote, file, self._partial / str(number))
            except Exception as error:  # noqa: BLE001 -- raised anew by whoever waits for the threads
                self._failures.append(error)
                self._stop.set()

    def _bring(self, remote: Remote, file: RemoteFile, partial: Path) -> None:
        for attempt in range(ATTEMPTS):
            try:
                size = self._receive(remote, file, partial)
                break
            except UnreachableError:
                if attempt + 1 == ATTEMPTS or self._stop.wait(PAUSE_SECONDS * 2**attempt):
                    raise
        if self._stop.is_set():
            return
        target = self._root / file.name if file.name else self._root
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.replace(target)
        sync_folder(target.parent)
        with self._lock:
            self._finished += 1
            self._journal.add(
                self._folder / "journal.jsonl", [Kept(file.name, size, file.version, target.stat().st_mtime_ns)]
            )

    def _receive(self, remote: Remote, file: RemoteFile, partial: Path) -> int:
        """Writes what a file holds.

        Returns:
            Bytes.

        Raises:
            RemoteError: it cannot be read, is not as long as it was said to be, or changes meanwhile.
            OSError: it cannot be written.
        """
        sizes: list[int] = []
        try:
            with partial.open("wb") as sink, remote.open(file) as source:
                version = remote.version_in(source)
                while chunk := self._chunk(remote, source):
                    sink.write(chunk)
                    sizes.append(len(chunk))
                    self._count(len(chunk))
                sink.flush()
                os.fsync(sink.fileno())
            if self._stop.is_set():
                return sum(sizes)
            if file.size is not None and sum(sizes) != file.size:
                raise UnreachableError(f"{sum(sizes):,} of {file.size:,} bytes of {file.name or 'the file'}")
            if len(sizes) > 1 and remote.version(file) != version:
                raise UnreachableError(f"other bytes of {file.name or 'the file'} than a moment before")
        except RemoteError:
            self._count(-sum(sizes))
            raise
        return sum(sizes)

    def _chunk(self, remote: Remote, source: Any) -> bytes:
        """Returns the next bytes; none at the end, and where another thread has failed."""
        try:
            return b"" if self._stop.is_set() else source.read(CHUNK_BYTES)
        except Exception as error:  # each storage has its own errors
            raise remote.explained(error) from error

    def _count(self, received: int) -> None:
        with self._lock:
            self._received += received

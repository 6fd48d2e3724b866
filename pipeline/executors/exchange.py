"""Artifacts and checkpoints at a URL, where a run and its workers on other machines pass them to each other.

    <url>/<stage>/<key>.tar             an artifact: its files and its manifest, in one object that is there or not
    <url>/.scratch/<stage>/<key>/NAME   the checkpoints of a stage that is at work

What is taken from there is verified against its manifest, and its manifest against its key, before it is in a store.
"""

from __future__ import annotations

import shutil
import tarfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from data.contract import StoreError
from pipeline.files import sha256_of_json, sync_folder, sync_tree
from pipeline.refusals import explained
from pipeline.store import Artifact, Store

_CHUNK_BYTES = 1 << 22


class ArtifactExchange:
    """A place that fsspec opens.

    Args:
        url: where it is.
        say: called with one line where there is something to tell.
        moves: called now and then while bytes pass.

    Raises:
        StoreError: fsspec knows no such place, or lacks what it takes to open it.

    Example:
        >>> exchange = ArtifactExchange("file:///mnt/shared/penjing", print)
        >>> exchange.push(artifact)
        >>> exchange.pull("train", key, Store(Path("elsewhere")))
    """

    def __init__(self, url: str, say: Callable[[str], object], moves: Callable[[], object] = lambda: None) -> None:
        self._url, self._say, self._moves = url, say, moves
        with self._told("open"):
            from fsspec.core import url_to_fs

            self._files, self._root = url_to_fs(url, use_listings_cache=False)

    def has(self, stage: str, key: str) -> bool:
        """Whether the artifact of that key is there; its bytes are not looked at."""
        with self._told("read from"):
            return bool(self._files.exists(self._place(stage, key)))

    def push(self, artifact: Artifact) -> None:
        """Copies an artifact there, unless it is there."""
        manifest = artifact.manifest
        if self.has(manifest.stage, manifest.key):
            return
        with self._told("write to"), self._arriving(self._place(manifest.stage, manifest.key)) as stream:
            watched: Any = _Watched(stream, self._moves)
            with tarfile.open(fileobj=watched, mode="w|", bufsize=_CHUNK_BYTES) as archive:
                archive.add(artifact.folder, arcname=".")

    def pull(self, stage: str, key: str, store: Store) -> Artifact | None:
        """Returns an artifact from a store, after it was copied there where it was not.

        What arrives damaged is removed from the exchange, and said so: it is to be made again.

        Returns:
            The artifact; None where it is in neither place.
        """
        with store.lock(stage, key):
            found = store.find(stage, key)
            if found is not None or not self.has(stage, key):
                return found
            staging = store.stage_folder(stage, key)
            arrived = staging / stage / key
            damage = self._unpacked(stage, key, arrived) or _damage(Store(staging), stage, key)
            manifest = Store(staging).manifest(stage, key)
            if damage is not None or manifest is None:
                self._say(
                    f"{stage} {key[:12]}: what came from engine.store_url is damaged ({damage}); it is made again"
                )
                shutil.rmtree(staging, ignore_errors=True)
                self.forget(stage, key)
                return None
            with explained(store.root):
                sync_tree(arrived)
                target = store.folder(stage, key)
                target.parent.mkdir(parents=True, exist_ok=True)
                arrived.rename(target)
                sync_folder(target.parent)
                store.discard_scratch(stage, key)
                shutil.rmtree(staging, ignore_errors=True)
            return Artifact(target, manifest)

    def forget(self, stage: str, key: str) -> None:
        """Removes an artifact and the checkpoints of its stage."""
        with self._told("write to"):
            if self._files.exists(self._place(stage, key)):
                self._files.rm(self._place(stage, key))
        self.drop_scratch(stage, key)

    def push_checkpoint(self, stage: str, key: str, path: Path) -> None:
        """Copies a checkpoint there, in place of an earlier one.

        Raises:
            FileNotFoundError: it is gone.
        """
        place = f"{self._scratch(stage, key)}/{path.name}"
        with path.open("rb") as source, self._told("write to"), self._arriving(place) as target:
            shutil.copyfileobj(source, target, _CHUNK_BYTES)

    def pull_scratch(self, stage: str, key: str, folder: Path) -> None:
        """Copies the checkpoints of a stage into a folder, over those that are there: they are as new or newer."""
        with self._told("read from"):
            place = self._scratch(stage, key)
            names = self._files.ls(place, detail=False) if self._files.exists(place) else []
            for name in (each for each in names if each.endswith(".checkpoint")):
                folder.mkdir(parents=True, exist_ok=True)
                target = folder / Path(name).name
                arriving = target.with_suffix(".tmp")
                with self._files.open(name, "rb") as source, arriving.open("wb") as stream:
                    shutil.copyfileobj(source, _Watched(stream, self._moves), _CHUNK_BYTES)
                arriving.replace(target)

    def drop_scratch(self, stage: str, key: str) -> None:
        """Removes the checkpoints of a stage that is done."""
        with self._told("write to"):
            if self._files.exists(self._scratch(stage, key)):
                self._files.rm(self._scratch(stage, key), recursive=True)

    def _place(self, stage: str, key: str) -> str:
        return f"{self._root}/{stage}/{key}.tar"

    def _scratch(self, stage: str, key: str) -> str:
        return f"{self._root}/.scratch/{stage}/{key}"

    @contextmanager
    def _arriving(self, place: str) -> Iterator[Any]:
        """Opens an object for writing that is to be seen when it is whole, and not before."""
        self._files.makedirs(place.rpartition("/")[0], exist_ok=True)
        part = f"{place}.{uuid.uuid4().hex[:8]}.part"
        try:
            with self._files.open(part, "wb") as stream:
                yield stream
            self._files.mv(part, place)
        except BaseException:
            with suppress(Exception):  # the first refusal is the one to be told
                self._files.rm(part)
            raise

    def _unpacked(self, stage: str, key: str, folder: Path) -> str | None:
        """Unpacks an artifact; returns what is wrong with its archive."""
        folder.mkdir(parents=True)
        try:
            with self._told("read from"), self._files.open(self._place(stage, key), "rb") as stream:
                try:
                    watched: Any = _Watched(stream, self._moves)
                    with tarfile.open(fileobj=watched, mode="r|", bufsize=_CHUNK_BYTES) as archive:
                        archive.extractall(folder, filter="data")  # no links out of the folder, no devices
                except (tarfile.TarError, EOFError) as error:
                    return str(error) or type(error).__name__
        except OSError as error:
            return str(error)
        return None

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Turns whatever a filesystem of fsspec raises into an error that says where."""
        try:
            yield
        except StoreError:
            raise
        except Exception as error:
            told = " ".join(f"{type(error).__name__}: {error}".split())
            raise StoreError(
                f"engine.store_url: expected to be able to {what} {self._url}, got {told}. Check the URL, its "
                "permissions, and that what fsspec needs for it is installed here and on every node."
            ) from error


def _damage(store: Store, stage: str, key: str) -> str | None:
    """Returns what is wrong with an artifact that came from elsewhere; None where all fits."""
    damage = store.damage(stage, key)
    manifest = store.manifest(stage, key)
    if damage is None and (manifest is None or sha256_of_json(manifest.parts) != key):
        return "its key is not what it was made from"
    return damage


class _Watched:
    """A stream whose every transfer is a sign of life."""

    def __init__(self, stream: Any, moves: Callable[[], object]) -> None:
        self._stream, self._moves = stream, moves

    def read(self, size: int) -> bytes:
        self._moves()
        found: bytes = self._stream.read(size)
        return found

    def write(self, data: bytes) -> int:
        self._moves()
        written: int = self._stream.write(data)
        return written

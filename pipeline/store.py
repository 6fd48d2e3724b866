"""The artifact store: what stages made, under keys that say what it was made from.

    <store>/<stage>/<key>/          a committed artifact: its files and manifest.json; never changed
    <store>/.staging/               where artifacts are written before their one rename
    <store>/.scratch/<stage>/<key>/ what a stage keeps while it works; survives kills
    <store>/.locks/                 one lock a key
    <store>/.aside/                 what was damaged or forced, until `gc`

A manifest carries a digest of itself and of every file, so that any changed byte is noticed.
"""

from __future__ import annotations

import errno
import json
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import TypeAdapter

from data.contract import StoreError
from pipeline.files import (
    canonical_json,
    clear_away,
    make_folders,
    read_own,
    refuse_link,
    refuse_links,
    sha256_of_json,
    sha256_of_own,
    sync_folder,
    sync_tree,
)
from pipeline.ledger import AnyRow
from pipeline.refusals import explained

MANIFEST = "manifest.json"
_ROW: TypeAdapter[AnyRow] = TypeAdapter(AnyRow)
LOCK_PATIENCE_SECONDS = 6 * 3600.0
"""How long a run waits for another that makes the same artifact."""


@dataclass(frozen=True)
class Manifest:
    """What is known of one artifact.

    Attributes:
        stage: name of the stage that made it.
        key: its key.
        parts: what the key was computed from.
        parents: (stage, key) of every artifact it was made from, trials included.
        files: relative name -> SHA-256 of its bytes.
        ledger: measurements of the models in it.
        details: what the report tells of the stage; JSON.
        seconds: wall-clock time the stage took, kills and resumptions not counted.
    """

    stage: str
    key: str
    parts: dict[str, Any]
    parents: tuple[tuple[str, str], ...]
    files: dict[str, str]
    ledger: tuple[AnyRow, ...]
    details: dict[str, Any]
    seconds: float

    def to_json(self) -> str:
        """Returns the manifest's text, with its own digest in it."""
        body = {
            "stage": self.stage,
            "key": self.key,
            "parts": self.parts,
            "parents": [list(parent) for parent in self.parents],
            "files": self.files,
            "ledger": [row.model_dump(mode="json") for row in self.ledger],
            "details": self.details,
            "seconds": self.seconds,
        }
        # Digested as it will be read: a key that is a number is text in JSON, and sorts elsewhere.
        body = json.loads(canonical_json(body))
        return canonical_json({**body, "digest": sha256_of_json(body)})

    @staticmethod
    def from_json(text: str) -> Manifest:
        """Reads a manifest.

        Raises:
            ValueError: it is not the text that was written.
        """
        body = json.loads(text)
        # 1e-05 and 1E-05 are one number: the text is compared too.
        if not isinstance(body, dict) or canonical_json(body) != text:
            raise ValueError("it is not as it was written")
        if body.pop("digest", None) != sha256_of_json(body):
            raise ValueError("its digest does not fit")
        body["parents"] = tuple((stage, key) for stage, key in body["parents"])
        body["ledger"] = tuple(_ROW.validate_json(json.dumps(row)) for row in body["ledger"])
        return Manifest(**body)


@dataclass(frozen=True)
class Artifact:
    """A committed artifact: where it lies, and its manifest."""

    folder: Path
    manifest: Manifest


def unheard(text: str) -> None:
    """Says a line to nobody."""


@dataclass
class Store:
    """Artifacts below one folder.

    Args:
        root: the folder; made when first written to.
        say: called with one line where the store has something to tell (a damaged artifact, a wait).

    Example:
        >>> store = Store(Path("runs/store"))
        >>> with store.lock("train", key):
        ...     artifact = store.find("train", key)
    """

    root: Path
    say: Callable[[str], object] = unheard

    # ------------------------------------------------------------------------------------ reading

    def folder(self, stage: str, key: str) -> Path:
        """Returns where the artifact of that key is, or would be."""
        return self.root / stage / key

    def manifest(self, stage: str, key: str) -> Manifest | None:
        """Returns an artifact's manifest, its files not looked at; None where it is missing or damaged."""
        try:
            manifest = Manifest.from_json(read_own(self.folder(stage, key) / MANIFEST).decode())
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return None
        return manifest if (manifest.stage, manifest.key) == (stage, key) else None

    def damage(self, stage: str, key: str) -> str | None:
        """Returns what is wrong with an artifact that is there, or None where every byte fits its manifest."""
        folder = self.folder(stage, key)
        if folder.is_symlink():
            return "it is a symbolic link"
        manifest = self.manifest(stage, key)
        if manifest is None:
            return f"{MANIFEST} is missing or was changed"
        try:
            paths = [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
        except OSError as error:
            return f"its folder cannot be read ({error.strerror})"
        found = {str(path.relative_to(folder)) for path in paths} - {MANIFEST}
        for name in sorted(found.symmetric_difference(manifest.files)):
            return f"{name} is {'missing' if name in manifest.files else 'not of it'}"
        for name, expected in sorted(manifest.files.items()):
            try:
                if sha256_of_own(folder / name) != expected:
                    return f"{name} was changed"
            except OSError as error:
                if error.errno in (errno.ELOOP, errno.EINVAL):  # no plain file any more
                    return f"{name} was changed"
                return f"{name} cannot be read ({error.strerror})"
        return None

    def find(self, stage: str, key: str) -> Artifact | None:
        """Returns the artifact if it is there and whole; sets a damaged one aside and says so."""
        folder = self.folder(stage, key)
        if not folder.exists():
            return None
        if self.damage(stage, key) is not None:
            # Another run may have noticed too, and made it again by now: looked at once more, one run at a time.
            with self.lock("aside", f"{stage}-{key}"):
                damage = self.damage(stage, key) if folder.exists() else None
                if damage is not None:
                    self.say(f"{stage} {key[:12]}: {damage}; set aside, to be made again")
                    self.set_aside(stage, key)
            if not folder.exists():
                return None
        manifest = self.manifest(stage, key)
        if manifest is None:
            raise StoreError(f"store.{stage}: expected an artifact nobody changes, got one that changed while read.")
        return Artifact(folder, manifest)

    def artifacts(self) -> Iterator[tuple[str, str]]:
        """Yields (stage, key) of every artifact, whole or not, in order."""
        for stage in sorted(self.root.glob("[!.]*")):
            # What a link leads to is not of the store, and `gc` would remove it.
            for folder in [] if stage.is_symlink() else sorted(stage.glob("[!.]*")):
                if folder.is_dir() and not folder.is_symlink():
                    yield stage.name, folder.name

    # ------------------------------------------------------------------------------------ writing

    def scratch(self, stage: str, key: str) -> Path:
        """Returns where a stage keeps what must survive a kill; not made by asking."""
        return self.root / ".scratch" / stage / key

    def discard_scratch(self, stage: str, key: str) -> None:
        """Removes what a stage kept while it worked; to be called by who holds its lock."""
        folder = self.scratch(stage, key)
        if not folder.parent.is_symlink():
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def lock(self, stage: str, key: str, patience_seconds: float = LOCK_PATIENCE_SECONDS) -> Iterator[None]:
        """Holds the right to make one artifact; another run that wants it waits.

        Raises:
            StoreError: another run held it for longer than the patience, or the folder cannot be written.
        """
        path = self.root / ".locks" / f"{stage}-{key}.lock"
        with explained(self.root):
            make_folders(self.root, ".locks")
            lock = FileLock(path)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                self.say(f"{stage} {key[:12]}: another run is making it; waiting")
                try:
                    lock.acquire(timeout=patience_seconds)
                except Timeout:
                    raise StoreError(
                        f"store.{stage}: expected {key[:12]} within {patience_seconds:.0f} s, "
                        "got a lock that another run still holds. Is that run alive? Then wait; else start again."
                    ) from None
        try:
            yield
        finally:
            lock.release()

    def stage_folder(self, stage: str, key: str) -> Path:
        """Returns an empty folder on the store's filesystem for a stage to write into.

        Raises:
            StoreError: no permission, or no space.
        """
        with explained(self.root):
            staging = make_folders(self.root, ".staging") / f"{stage}-{key}"
            clear_away(staging)
            staging.mkdir()
            refuse_links(make_folders(self.root, ".scratch", stage, key))
        return staging

    def commit(self, staging: Path, manifest: Manifest) -> Artifact:
        """Makes a staged folder an artifact, in one rename; the scratch folder of its key is done with.

        Args:
            staging: a folder of `stage_folder`, holding the artifact's files.
            manifest: its manifest; `files` is filled in here.

        Raises:
            StoreError: no permission, or no space; nothing is then to be seen of it.
        """
        with explained(self.root):
            names = sorted(str(path.relative_to(staging)) for path in staging.rglob("*") if path.is_file())
            # A commit that failed for want of space may be tried again; its manifest is no file of the stage.
            files = {name: sha256_of_own(staging / name) for name in names if name != MANIFEST}
            text = replace(manifest, files=files).to_json()
            (staging / MANIFEST).write_text(text, encoding="utf-8")
            sync_tree(staging)
            target = make_folders(self.root, manifest.stage) / manifest.key
            staging.rename(target)
            sync_folder(target.parent)
            self.discard_scratch(manifest.stage, manifest.key)
        # As the next run will read it: a report drawn now and one drawn later are then the same.
        return Artifact(target, Manifest.from_json(text))

    def set_aside(self, stage: str, key: str) -> None:
        """Moves an artifact out of the way; `gc` removes it for good. Nothing to do where it is gone already.

        Raises:
            StoreError: no permission.
        """
        with explained(self.root):
            aside = make_folders(self.root, ".aside")
            refuse_link(self.root / stage)
            with suppress(FileNotFoundError):  # another run was faster
                self.folder(stage, key).rename(aside / f"{stage}-{key[:12]}-{uuid.uuid4().hex[:8]}")

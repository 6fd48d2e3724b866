"""What no kept run needs any more: found, listed, then removed."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.runs import Workdir
from pipeline.store import Store, explained


@dataclass(frozen=True)
class Garbage:
    """Something in the store that no kept run needs.

    Attributes:
        path: the folder.
        what: what it is, in a few words.
        bytes: its size.
    """

    path: Path
    what: str
    bytes: int


def find_garbage(workdir: Workdir, keep: int | None) -> list[Garbage]:
    """Lists what no kept run needs: artifacts, and what kills and damage left behind.

    Args:
        workdir: where runs and store are.
        keep: how many runs to keep, the last written first; None keeps all.
    """
    store = workdir.store()
    needed = _needed(workdir, store, keep)
    found = [
        _garbage(store.folder(stage, key), f"{stage} artifact")
        for stage, key in store.artifacts()
        if (stage, key) not in needed
    ]
    for folder, what in ((".scratch", "unfinished work"), (".staging", "half-written artifact")):
        for path in sorted((store.root / folder).glob("*/*" if folder == ".scratch" else "*")):
            stage, key = (path.parent.name, path.name) if folder == ".scratch" else path.name.rsplit("-", 1)
            wanted = folder == ".scratch" and (stage, key) in needed
            if not wanted and not _in_work(store, stage, key):
                found.append(_garbage(path, what))
    found.extend(_garbage(path, "set aside") for path in sorted((store.root / ".aside").glob("*")))
    return found


def remove(garbage: list[Garbage]) -> None:
    """Removes what `find_garbage` found.

    Raises:
        StoreError: no permission.
    """
    for each in garbage:
        with explained(each.path):
            shutil.rmtree(each.path)


def _needed(workdir: Workdir, store: Store, keep: int | None) -> set[tuple[str, str]]:
    """Returns (stage, key) of all that the kept runs are made of, parents and trials included."""
    needed: set[tuple[str, str]] = set()
    waiting: list[tuple[str, str]] = []
    for name in workdir.names()[:keep]:
        run = workdir.read(name)
        waiting.extend([] if run is None else run.keys.items())
    while waiting:
        reference = waiting.pop()
        if reference in needed:
            continue
        needed.add(reference)
        manifest = store.manifest(*reference)
        waiting.extend([] if manifest is None else manifest.parents)
    return needed


def _in_work(store: Store, stage: str, key: str) -> bool:
    """Whether a run is making that artifact right now."""
    path = store.root / ".locks" / f"{stage}-{key}.lock"
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def _garbage(path: Path, what: str) -> Garbage:
    return Garbage(path, what, sum(each.stat().st_size for each in path.rglob("*") if each.is_file()))

"""What no kept run needs any more: found, listed, then removed."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from data.contract import StoreError
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

    Raises:
        StoreError: no permission to look, or a kept run does not say what it is made of.
    """
    with explained(workdir.root):
        return _find(workdir, keep)


def _find(workdir: Workdir, keep: int | None) -> list[Garbage]:
    store = workdir.store()
    needed = _needed(workdir, store, keep)
    found = [
        _garbage(store.folder(stage, key), f"{stage} artifact")
        for stage, key in store.artifacts()
        if (stage, key) not in needed
    ]
    for folder, what in ((".scratch", "unfinished work"), (".staging", "half-written artifact")):
        for path in sorted((store.root / folder).glob("*/*" if folder == ".scratch" else "*")):
            name = f"{path.parent.name}-{path.name}" if folder == ".scratch" else path.name
            stage, _, key = name.rpartition("-")
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
            if each.path.is_dir() and not each.path.is_symlink():
                shutil.rmtree(each.path)
            else:
                each.path.unlink()


def _needed(workdir: Workdir, store: Store, keep: int | None) -> set[tuple[str, str]]:
    """Returns (stage, key) of all that the kept runs are made of, parents and trials included.

    A run that is on right now is kept in any case. Trials of a search that is not finished stand in
    no manifest yet; they are known by this, that all they are made from is needed.

    Raises:
        StoreError: the file of a kept run cannot be read: what it needs would be taken for garbage.
    """
    needed: set[tuple[str, str]] = set()
    waiting: list[tuple[str, str]] = []
    for position, name in enumerate(workdir.names()):
        run = workdir.read(name)
        keys = [] if run is None else list(run.keys.items())
        in_work = any(_in_work(store, stage, key) for stage, key in [*keys, ("publish", name)])
        if keep is None or position < keep or in_work:
            if run is None:
                raise StoreError(
                    f"gc: expected {workdir.run_folder(name) / 'run.json'} to say what the run is made of, got a file "
                    "that cannot be read. Run it again, or remove its folder if nothing of it is wanted."
                )
            waiting.extend(keys)
    searching = any(stage == "tune" and store.manifest(stage, key) is None for stage, key in waiting)
    while waiting:
        reference = waiting.pop()
        if reference in needed:
            continue
        needed.add(reference)
        manifest = store.manifest(*reference)
        waiting.extend([] if manifest is None else manifest.parents)
    return needed | _trials_from(store, needed) if searching else needed


def _trials_from(store: Store, needed: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Returns the trainings that were made from needed artifacts alone."""
    manifests = [store.manifest(stage, key) for stage, key in store.artifacts() if stage == "train"]
    return {(each.stage, each.key) for each in manifests if each is not None and needed.issuperset(each.parents)}


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

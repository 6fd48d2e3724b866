"""What no kept run needs any more: found, listed, then removed."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from data.contract import StoreError
from pipeline.files import clear_away
from pipeline.refusals import explained
from pipeline.remote.addresses import COPIES, addresses
from pipeline.runs import RUN_FILES, Workdir
from pipeline.store import Store

TRIED_STAGES = {
    "tune": frozenset({"build", "pretrain", "train", "prune"}),
    "search": frozenset({"prune", "cluster", "quantize", "convert"}),
}
"""Stages that try other stages -> those that they try."""


@dataclass(frozen=True)
class Garbage:
    """Something that no kept run needs.

    Attributes:
        path: the folder.
        what: what it is, in a few words.
        bytes: its size.
        names: what in the folder goes, and the folder only when it is then empty; None: the whole folder.
    """

    path: Path
    what: str
    bytes: int
    names: tuple[str, ...] | None = None


def find_garbage(workdir: Workdir, keep: int | None) -> list[Garbage]:
    """Lists what no kept run needs: artifacts, what kills and damage left behind, and the runs that are not kept.

    Of a run's folder goes what Penjing put there (run.json, log, report, bundles) and nothing else: a work directory
    may be a folder that holds other things too. Nothing is written, so that a work directory can be looked at which
    may be read only.

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
    # Listed before it is asked what is needed: what a run makes meanwhile is none of it.
    artifacts = list(store.artifacts())
    dropped = _dropped(workdir, store, keep)
    needed, tried = _needed(workdir, store, dropped, artifacts)
    found = [_run_garbage(workdir.run_folder(name)) for name in dropped]
    found += [
        _garbage(store.folder(stage, key), f"{stage} artifact")
        for stage, key in artifacts
        if (stage, key) not in needed
    ]
    for folder, what in ((".scratch", "unfinished work"), (".staging", "half-written artifact")):
        for path in _within(store.root / folder, "*/*" if folder == ".scratch" else "*"):
            name = f"{path.parent.name}-{path.name}" if folder == ".scratch" else path.name
            stage, _, key = name.rpartition("-")
            wanted = folder == ".scratch" and _goes_on(store, stage, key, needed, tried)
            if not wanted and not _in_work(store, stage, key):
                found.append(_garbage(path, what))
    found.extend(_unread_copies(workdir, store, dropped))
    found.extend(_garbage(path, "set aside") for path in _within(store.root / ".aside", "*"))
    return found


def _unread_copies(workdir: Workdir, store: Store, dropped: Sequence[str]) -> list[Garbage]:
    """Returns the copies of URLs that no kept run reads."""
    folders = _within(store.root / COPIES, "*")
    if not folders:
        return []
    from ruamel.yaml import YAML

    runs = [run for name in workdir.names() if name not in dropped and (run := workdir.read(name)) is not None]
    configs = [YAML(typ="safe").load(run.config_text) or {} for run in runs]
    read = {address.key for config in configs for address in addresses(config)}
    unread = [path for path in folders if path.name not in read and not _in_work(store, "remote", path.name)]
    return [_garbage(path, "copy of a URL that no run reads") for path in unread]


def _run_garbage(folder: Path) -> Garbage:
    """What Penjing put into a run's folder, and what a kill left half-written of it."""
    halves = (path.name for name in RUN_FILES for path in folder.glob(f".{name}.*.tmp"))
    return _garbage(folder, "run and its bundle", (*sorted(halves), *RUN_FILES))


def _within(folder: Path, pattern: str) -> list[Path]:
    """Returns what fits a pattern and lies in a folder itself: not where links on the way would lead to."""
    found = sorted(folder.glob(pattern))
    return [path for path in found if not any(map(Path.is_symlink, (folder, path.parent)))]


def remove(garbage: list[Garbage]) -> None:
    """Removes what `find_garbage` found.

    Raises:
        StoreError: no permission.
    """
    for each in garbage:
        with explained(each.path):
            for path in [each.path] if each.names is None else _present(each.path, each.names):
                clear_away(path)
            if each.names is not None and not any(each.path.iterdir()):
                each.path.rmdir()


def _dropped(workdir: Workdir, store: Store, keep: int | None) -> list[str]:
    """Returns the names of the runs that are not kept. A run that is on right now is kept in any case."""
    if keep is None:
        return []
    dropped = []
    for name in workdir.names()[keep:]:
        if workdir.run_folder(name).is_symlink():  # what it leads to is not of the work directory
            continue
        run = workdir.read(name)
        keys = [] if run is None else list(run.keys.items())
        if not any(_in_work(store, stage, key) for stage, key in [*keys, ("publish", name)]):
            dropped.append(name)
    return dropped


def _needed(
    workdir: Workdir, store: Store, dropped: Sequence[str], artifacts: Sequence[tuple[str, str]]
) -> tuple[set[tuple[str, str]], frozenset[str]]:
    """Returns (stage, key) of all that the kept runs are made of, parents and trials included.

    Trials of a `tune` or a `search` that is not finished stand in no manifest yet. They are told by this, that they are
    of a stage which it tries, and that all they are made from is needed: by the run, or as a trial's earlier stage.

    Args:
        workdir: where the runs are.
        store: its store.
        dropped: names of the runs that are not kept.
        artifacts: (stage, key) of what is in the store.

    Returns:
        (needed, tried): `tried` are the stages whose artifacts may be trials of an unfinished `tune` or `search`.

    Raises:
        StoreError: the file of a kept run cannot be read: what it needs would be taken for garbage.
    """
    needed: set[tuple[str, str]] = set()
    waiting: list[tuple[str, str]] = []
    for name in workdir.names():
        if name in dropped:
            continue
        run = workdir.read(name)
        if run is None:
            raise StoreError(
                f"gc: expected {workdir.run_folder(name) / 'run.json'} to say what the run is made of, got a file "
                "that cannot be read. Run it again, or remove its folder if nothing of it is wanted."
            )
        waiting.extend(run.keys.items())
    unfinished = [stage for stage, key in waiting if stage in TRIED_STAGES and store.manifest(stage, key) is None]
    tried = frozenset[str]().union(*(TRIED_STAGES[stage] for stage in unfinished))
    while waiting:
        reference = waiting.pop()
        if reference in needed:
            continue
        needed.add(reference)
        manifest = store.manifest(*reference)
        waiting.extend([] if manifest is None else manifest.parents)
    return _with_trials(store, needed, (each for each in artifacts if each[0] in tried)), tried


def _goes_on(store: Store, stage: str, key: str, needed: set[tuple[str, str]], tried: frozenset[str]) -> bool:
    """Whether unfinished work will be gone on with: its artifact is not there yet, and will be wanted.

    Which trial a search was in when it was killed stands nowhere: whatever was begun of a stage that it tries may be
    one.
    """
    return store.manifest(stage, key) is None and (stage in tried or (stage, key) in needed)


def _with_trials(
    store: Store, needed: set[tuple[str, str]], candidates: Iterable[tuple[str, str]]
) -> set[tuple[str, str]]:
    """Adds the candidates that were made from needed artifacts alone, then those made from these, until none is left.

    Args:
        store: where they are.
        needed: (stage, key) of what is needed anyway.
        candidates: (stage, key) of what may be trials.
    """
    manifests = [manifest for each in candidates if (manifest := store.manifest(*each)) is not None]
    found = set(needed)
    while True:
        grown = found | {(each.stage, each.key) for each in manifests if found.issuperset(each.parents)}
        if grown == found:
            return found
        found = grown


def _in_work(store: Store, stage: str, key: str) -> bool:
    """Whether a run is making that artifact right now; told by its lock, which `Store.lock` takes with flock(2)."""
    try:
        lock = os.open(store.root / ".locks" / f"{stage}-{key}.lock", os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _present(folder: Path, names: Sequence[str]) -> list[Path]:
    return [path for path in (folder / name for name in names) if path.exists() or path.is_symlink()]


def _garbage(path: Path, what: str, names: tuple[str, ...] | None = None) -> Garbage:
    parts = [path] if names is None else _present(path, names)
    files = [each for part in parts for each in (part, *part.rglob("*")) if each.is_file()]
    return Garbage(path, what, sum(each.stat().st_size for each in files), names)

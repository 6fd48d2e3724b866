"""The folder of one run: what it was asked, and which artifacts it is made of."""

from __future__ import annotations

import difflib
import json
import os
import re
import stat
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from data.contract import ConfigError, StoreError
from pipeline.files import append_own, make_folders, read_own, sha256_of_json, write_atomically
from pipeline.refusals import explained
from pipeline.store import Store, unheard

RUN_FILES = ("report.html", "export", "rejected", ".bundle", "run.log", "run.json")
"""What Penjing puts into a run's folder; `run.json`, by which it is known as one, last."""
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")

RunState = Literal["running", "done", "failed", "interrupted"]


@dataclass(frozen=True)
class RunFile:
    """What `run.json` says.

    Attributes:
        name: the run's name.
        task: `classification` or `regression`.
        seed: the run's seed.
        config_text: the resolved config, YAML.
        command: the command line that makes the run again.
        keys: stage -> key, as last planned.
        state: how it went.
        published: what the published files were made from; None where there are none.
        bundle: key of the export artifact whose bundle lies in `export`; None where none was handed over yet.
    """

    name: str
    task: str
    seed: int
    config_text: str
    command: str
    keys: dict[str, str]
    state: RunState
    published: str | None = None
    bundle: str | None = None

    @property
    def has_earlier_bundle(self) -> bool:
        """Whether the bundle in `export` is of an earlier config, data or code than the run's last plan."""
        return self.bundle is not None and self.keys.get("export") != self.bundle


@dataclass(frozen=True)
class Workdir:
    """A work directory: runs, and the store they share.

    Attributes:
        root: the directory; `runs` unless the command line says otherwise.
    """

    root: Path

    def store(self, say: Callable[[str], object] = unheard) -> Store:
        """Returns the store of all runs here."""
        return Store(self.root / "store", say)

    def run_folder(self, name: str) -> Path:
        """Returns the folder of a run."""
        return self.root / name

    def log(self, name: str) -> Path:
        """Returns the file that keeps what a run printed; its folder is made.

        Raises:
            StoreError: no permission, or no space.
        """
        path = self.run_folder(name) / "run.log"
        with explained(path):
            make_folders(self.root, name)
            append_own(path).close()
        return path

    def open_to_others(self) -> Path | None:
        """Returns a folder of the work directory that other users can write to; None where there is none.

        Whoever can, can replace what a run goes on with: see docs/faults.md.
        """
        for folder in (self.root, self.root / "store"):
            if folder.is_dir():
                status = folder.stat()
                if status.st_mode & stat.S_IWOTH or status.st_uid not in (0, os.geteuid()):
                    return folder
        return None

    def earlier_bundle(self, name: str) -> str:
        """Says that a run's bundle is not of its last config."""
        return (
            f"{self.run_folder(name) / 'export'} holds the bundle of an earlier config, data or code: "
            "the last run handed none over."
        )

    def names(self) -> list[str]:
        """Returns the names of the runs here, the one last written to first.

        Raises:
            StoreError: no permission to look into a folder, which may hold a run.
        """
        with explained(self.root):
            if not self.root.is_dir():
                return []
            files = [path for folder in self.root.iterdir() if (path := folder / "run.json").is_file()]
        return [path.parent.name for path in sorted(files, key=lambda path: (-path.stat().st_mtime_ns, path))]

    def read(self, name: str) -> RunFile | None:
        """Returns what a run's file says; None where there is none that can be read."""
        try:
            body: dict[str, Any] = json.loads(read_own(self.run_folder(name) / "run.json"))
            # Those that were written before there was a digest have none.
            if body.get("digest", digest := _digest(body)) != digest:
                return None
            run = RunFile(**{field: value for field, value in body.items() if field != "digest"})
        except (OSError, ValueError, TypeError, AttributeError, RecursionError):
            return None
        return run if _is_whole(run) else None

    def require(self, name: str) -> RunFile:
        """Returns what a run's file says.

        Raises:
            ConfigError: there is no such run, or it is no name but a path; names the nearest.
            StoreError: no permission to look for it, or its file is damaged.
        """
        # A path is no name: it would lead out of the work directory.
        found = self.read(name) if _NAME.fullmatch(name) else None
        if found is None:
            file = self.run_folder(name) / "run.json"
            if _NAME.fullmatch(name) and file.is_file():
                raise StoreError(
                    f"RUN: expected what a run was asked in {file}, got a damaged file. Run its config again: what was "
                    "finished is taken from the store."
                )
            names = self.names()
            near = difflib.get_close_matches(Path(name).name, names, 1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Runs here: {', '.join(names) or 'none yet'}."
            raise ConfigError(f"RUN: expected a run in {self.root}, got {name!r}. {hint}")
        return found

    def require_root(self) -> None:
        """Checks that the work directory is there.

        Raises:
            ConfigError: it is not, or is no folder.
        """
        if not self.root.is_dir():
            got = "which is no folder" if self.root.exists() else "which does not exist"
            raise ConfigError(f"--workdir: expected a work directory, got {self.root}, {got}. Check the path.")

    def write(self, run: RunFile) -> None:
        """Replaces a run's file.

        Raises:
            StoreError: no permission, or no space.
        """
        folder = self.run_folder(run.name)
        with explained(folder):
            make_folders(self.root, run.name)
            body = asdict(run)
            text = json.dumps({**body, "digest": _digest(body)}, indent=1, ensure_ascii=False)
            write_atomically(folder / "run.json", text + "\n")

    def mark(self, name: str, state: RunState) -> None:
        """Notes how a run went, if it has a file."""
        found = self.read(name)
        if found is not None:
            self.write(replace(found, state=state))


def _digest(body: dict[str, Any]) -> str:
    """Digests what a run's file says: by a key that changed, `gc` would take what the run is made of for garbage."""
    return sha256_of_json({field: value for field, value in body.items() if field != "digest"})


def _is_whole(run: Any) -> bool:
    """Whether every field of a run's file is of its kind: JSON does not see to that."""
    if not isinstance(run.keys, dict) or not isinstance(run.seed, int):
        return False
    texts = (run.name, run.task, run.config_text, run.command, run.state, *run.keys.values())
    perhaps = (text for text in (run.published, run.bundle) if text is not None)
    return all(isinstance(text, str) for text in (*texts, *perhaps))

"""What the measurements of `benchmarks.faults` share: runs that are started, and what is held against a whole one."""

from __future__ import annotations

import hashlib
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.store import Store

ROOT = Path(__file__).resolve().parents[1]

NETWORK = """\
name: small
seed: 3
task: classification
data: {source: builtin, name: iris}
model: {family: mlp, units: [8]}
train: {epochs: 12, batch_size: 16, optimizer: {learning_rate: 0.02}}
tune: {trials: 2, epochs: 6, oracle: random}
prune: {sparsity: 0.3, epochs: 3, recovery_epochs: 2, batch_size: 16}
quantize: {precision: int8}
"""
"""A run with every kind of stage, in seconds."""

CLASSICAL = """\
name: small
seed: 3
task: classification
data: {source: builtin, name: iris}
model: {family: decision_tree, max_depth: 3}
"""
"""A run without TensorFlow."""

TIMED = frozenset({"summary.json", "report.html", "MODEL_CARD.md", "SHA256SUMS"})
"""Files of a bundle that hold seconds and latencies: no two runs write the same."""


@dataclass(frozen=True)
class Told:
    """How a run ended: exit code (negative: the signal that killed it), standard output, standard error."""

    code: int
    out: str
    err: str


def warm_up(*, network: bool = True) -> None:
    """Imports what runs import, so that those of `warm_run` need not; TensorFlow starts no thread by that."""
    import pandas  # noqa: F401
    import plotly.graph_objects  # noqa: F401
    import sklearn.datasets
    import sklearn.tree  # noqa: F401

    import run_pipeline  # noqa: F401

    if network:
        import models.legacy_keras  # noqa: F401 -- before all else that imports TensorFlow

        import ai_edge_litert.interpreter  # isort: skip
        import keras_tuner  # noqa: F401 # isort: skip


def warm_run(*arguments: str | Path) -> Told:
    """Runs the command line in a fork of this process, which has imported all that takes long.

    It is `run_pipeline.py` as the main program, with standard streams in files; only the imports are not its own.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            _become(arguments, out.fileno(), err.fileno())
        _, status = os.waitpid(child, 0)
        streams = []
        for stream in (out, err):
            stream.seek(0)
            streams.append(stream.read().decode(errors="replace"))
    return Told(os.waitstatus_to_exitcode(status), *streams)


def _become(arguments: Sequence[str | Path], out: int, err: int) -> None:
    """Is the command line from here on, and ends this process."""
    code = 99
    try:
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.environ.update(COLUMNS="200", NO_COLOR="1")
        sys.argv = [str(ROOT / "run_pipeline.py"), *map(str, arguments)]
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:  # what the parent began is not finished by its fork
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def start_run(config: Path, workdir: Path, overrides: Sequence[str]) -> subprocess.Popen[bytes]:
    """Starts a run in a process of its own, as a user does, at the head of a process group."""
    command = [sys.executable, str(ROOT / "run_pipeline.py"), "run", str(config), *overrides, "--workdir", str(workdir)]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def digest(path: Path) -> str:
    """Returns the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def bundle_bytes(workdir: Path, name: str) -> dict[str, str]:
    """Returns file -> SHA-256 of a run's bundle, without those that hold seconds."""
    folder = workdir / name / "export"
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): digest(path) for path in sorted(files) if path.name not in TIMED}


def committed(workdir: Path) -> dict[str, tuple[int, int]]:
    """Returns `stage/key` of each artifact -> what tells it from one made again: inode and time of its manifest."""
    store = Store(workdir / "store")
    found = {}
    for stage, key in store.artifacts():
        status = (store.folder(stage, key) / "manifest.json").stat()
        found[f"{stage}/{key}"] = (status.st_ino, status.st_mtime_ns)
    return found


def damaged(workdir: Path) -> list[str]:
    """Returns what is wrong with artifacts and bundles that are there: nothing, after any fault."""
    store = Store(workdir / "store")
    found = [f"{stage}: {damage}" for stage, key in store.artifacts() if (damage := store.damage(stage, key))]
    for bundle in (path for path in workdir.glob("*/export") if path.parent.name != "store"):
        sums = bundle / "SHA256SUMS"
        for line in sums.read_text(encoding="utf-8").splitlines() if sums.is_file() else ["a sum  SHA256SUMS"]:
            expected, _, name = line.partition("  ")
            if not (bundle / name).is_file() or digest(bundle / name) != expected:
                found.append(f"{bundle / name} does not fit its sum")
    return found


def stages_done(workdir: Path, name: str) -> dict[str, int]:
    """Returns stage -> how often a run's log says that it was made."""
    counts: dict[str, int] = {}
    log = workdir / name / "run.log"
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        words = line.split()
        if len(words) >= 3 and words[1] == "done" and not line.startswith(" "):
            counts[words[0]] = counts.get(words[0], 0) + 1
    return counts

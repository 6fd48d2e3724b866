"""What the measurements of `benchmarks.faults` share: runs that are started, and what is held against a whole one."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.warm_runs import ROOT
from pipeline.store import Store

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


def made_of(workdir: Path) -> dict[str, dict[str, str]]:
    """Returns `stage/key` of each artifact -> file -> SHA-256, as their manifests say."""
    store = Store(workdir / "store")
    manifests = {each: store.manifest(*each) for each in store.artifacts()}
    return {f"{stage}/{key}": each.files for (stage, key), each in manifests.items() if each is not None}


def stages_told(workdir: Path, name: str) -> list[tuple[str, str, str]]:
    """Returns what a run's log says of stages, in order: (stage, `runs`, `resumes`, `done` or `cached`, key)."""
    log = workdir / name / "run.log"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    told = [(line, line.split()) for line in lines]
    words = ("runs", "resumes", "done", "cached")
    return [
        (each[0], each[1], each[2])
        for line, each in told
        if len(each) >= 3 and each[1] in words and not line.startswith(" ")
    ]


def repeated(workdir: Path, *names: str) -> list[str]:
    """Returns the artifacts that the logs of some runs say were made more than once."""
    made = [(stage, key) for name in names for stage, word, key in stages_told(workdir, name) if word == "done"]
    return sorted({f"{stage} {key}" for stage, key in made if made.count((stage, key)) > 1})

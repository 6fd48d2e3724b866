"""Runs of overlapping configs that are started at once in one work directory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.fault_runs import bundle_bytes, damaged, repeated
from benchmarks.warm_runs import WarmRun, warm_run


@dataclass(frozen=True)
class Crowd:
    """What became of runs that were started at once.

    Attributes:
        artifacts: that were made.
        shared: how many of them more than one run is made of.
        repeated: that were made more than once.
        wrong: what was not as it must be.
    """

    artifacts: int
    shared: int
    repeated: tuple[str, ...]
    wrong: tuple[str, ...]


def crowd(config: Path, folder: Path, overrides: Mapping[str, tuple[str, ...]]) -> Crowd:
    """Starts all runs at once, and holds each against one that was alone.

    Args:
        config: what all of them run.
        folder: scratch.
        overrides: name of a run -> what it has of its own.
    """
    workdir = folder / "runs"
    runs = {name: WarmRun("run", config, f"name={name}", *own, "--workdir", workdir) for name, own in overrides.items()}
    wrong = [f"{name}: exit code {told.code}: {told.err}" for name, run in runs.items() if (told := run.wait()).code]
    wrong += damaged(workdir)
    for name, own in overrides.items():
        warm_run("run", config, f"name={name}", *own, "--workdir", folder / "alone")
        if bundle_bytes(workdir, name) != bundle_bytes(folder / "alone", name):
            wrong.append(f"{name}: other bytes than alone")
    keys = [key for name in overrides for key in _keys(workdir, name)]
    shared = sum(keys.count(key) > 1 for key in set(keys))
    return Crowd(len(set(keys)), shared, tuple(repeated(workdir, *overrides)), tuple(wrong))


def _keys(workdir: Path, name: str) -> list[str]:
    from pipeline.runs import Workdir

    run = Workdir(workdir).read(name)
    return [] if run is None else [f"{stage}/{key}" for stage, key in run.keys.items()]

"""Runs that are killed at random moments, each started again until it comes to its end."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.fault_runs import bundle_bytes, committed, damaged, repeated, stages_told, start_run


@dataclass(frozen=True)
class Killed:
    """What became of one run.

    Attributes:
        hit: where each kill hit: a stage, `start` before the first and `publish` behind the last.
        same: whether it ended in the bytes of the run that nobody killed.
        repeated: artifacts that were made more than once.
        wrong: whatever else was not as it must be.
    """

    hit: tuple[str, ...]
    same: bool
    repeated: tuple[str, ...]
    wrong: tuple[str, ...]


def kill_runs(
    config: Path, name: str, overrides: Sequence[str], folder: Path, runs: int, seed: int
) -> Iterator[Killed]:
    """Kills runs with SIGKILL, each after a time between none and what a whole run takes; again, until it has ended.

    Args:
        config: what is run.
        name: of the run.
        overrides: of the config: an engine, say.
        folder: scratch.
        runs: how many.
        seed: of the moments.
    """
    started = time.monotonic()
    whole = folder / "whole"
    if start_run(config, whole, overrides).wait() not in (0, 4):
        raise SystemExit(f"the run does not end well when nobody kills it: see {whole / name / 'run.log'}")
    seconds, expected = time.monotonic() - started, bundle_bytes(whole, name)
    dice = random.Random(seed)
    for number in range(runs):
        workdir = folder / f"killed-{number}"
        yield _killed(config, name, overrides, workdir, expected, lambda: dice.uniform(0, seconds))
        shutil.rmtree(workdir, ignore_errors=True)


def _killed(
    config: Path,
    name: str,
    overrides: Sequence[str],
    workdir: Path,
    expected: dict[str, str],
    moment: Callable[[], float],
) -> Killed:
    hit: list[str] = []
    wrong: list[str] = []
    while True:
        before = committed(workdir)
        process = start_run(config, workdir, overrides)
        try:
            code = process.wait(timeout=moment())
            break
        except subprocess.TimeoutExpired:
            pass
        finally:  # whatever ends this measurement leaves no run behind
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        hit.append(_place(workdir, name))
        after = committed(workdir)
        wrong += damaged(workdir)
        wrong += [f"made again: {each}" for each, identity in before.items() if after.get(each) != identity]
    if code not in (0, 4):
        wrong.append(f"exit code {code}")
    same = bundle_bytes(workdir, name) == expected
    return Killed(tuple(hit), same, tuple(repeated(workdir, name)), tuple(wrong))


def _place(workdir: Path, name: str) -> str:
    told = stages_told(workdir, name)
    if not told:
        return "start"
    stage, word, _ = told[-1]
    if word in ("runs", "resumes"):
        return stage
    return "publish" if stage == "export" else f"after {stage}"

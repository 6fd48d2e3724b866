"""Runs with worker processes that are interrupted or killed: no process stays behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.small_run import ROOT

CONFIG = """\
name: small
seed: 3
task: classification
data: {source: builtin, name: iris}
model: {family: mlp, units: [8]}
train: {epochs: 2, batch_size: 16}
tune: {trials: 2, epochs: 100000, oracle: random, batch_trials: 2}
engine: {workers: 2}
"""


def family(process: int) -> list[int]:
    """Process ids of all that a process started, and they in turn, zombies left out."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state != "Z":
            parents[int(folder.name)] = int(parent)
    found, waiting = [], [process]
    while waiting:
        waiting = [each for each, parent in parents.items() if parent in waiting]
        found += waiting
    return found


def alive(processes: list[int]) -> list[int]:
    found = []
    for each in processes:
        try:
            if Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                found.append(each)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def test_interrupted_or_killed_a_run_leaves_no_process_behind(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    config = tmp_path / "small.yaml"
    config.write_text(CONFIG)
    command = [sys.executable, str(ROOT / "run_pipeline.py"), "run", str(config), "--workdir", str(tmp_path / "runs")]
    log = tmp_path / "runs" / "small" / "run.log"
    for number in (signal.SIGINT, signal.SIGKILL):
        told = log.stat().st_size if log.exists() else 0
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        request.addfinalizer(process.kill)  # its workers end with it
        deadline = time.monotonic() + 200
        while time.monotonic() < deadline and process.poll() is None:
            lines = log.read_text()[told:] if log.exists() else ""
            # One epoch is told of before its checkpoint is written; the next comes after it.
            if all(re.search(rf"trial {each}: train (?!1/)\d+/", lines) for each in (1, 2)):
                break
            time.sleep(0.05)
        children = family(process.pid)
        assert len(children) == 2, log.read_text()
        # To the group, as a terminal does.
        os.killpg(process.pid, number)
        printed, errors = process.communicate(timeout=60)
        if number == signal.SIGINT:
            assert process.returncode == 130, errors
            assert errors == "interrupted\n"
            assert "go on with: python run_pipeline.py run" in printed
            assert alive(children) == []
        deadline = time.monotonic() + 10
        while alive(children) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert alive(children) == []
    # The second run went on from where the first was.
    assert min(map(int, re.findall(r"trial \d: train (\d+)/", log.read_text()[told:]))) > 1


@pytest.mark.parametrize("engine", ["null", "{workers: 1}"])
def test_engine_is_in_no_key(engine: str, tmp_path: Path) -> None:
    config = tmp_path / "small.yaml"
    config.write_text(CONFIG)
    command = [sys.executable, str(ROOT / "run_pipeline.py"), "plan", str(config), "--json"]
    plans = [
        subprocess.run([*command, each], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for each in (f"engine={engine}", "engine={workers: 2}")
    ]
    assert plans[0] == plans[1]

"""Requests: the command that a user is told to go on with."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from pipeline.planner import Scope
from pipeline.requests import Request
from pipeline.runs import Workdir


@pytest.mark.parametrize(
    ("workdir", "expected"),
    [
        ("runs", ["run", "a.yaml", "seed=2"]),
        ("my runs", ["run", "a.yaml", "seed=2", "--workdir", "my runs"]),
    ],
)
def test_command_finds_the_same_work_directory_and_runs_to_the_end(workdir: str, expected: list[str]) -> None:
    request = Request(Path("a.yaml"), ("seed=2",), Workdir(Path(workdir)), Scope(last="train", force="train"))
    assert shlex.split(request.command) == ["python", "run_pipeline.py", *expected]


def test_command_spells_out_bytes_that_are_no_text() -> None:
    command = Request(Path(os.fsdecode(b"it's \xff.yaml")), (), Workdir(Path("runs"))).command
    assert command == r"python run_pipeline.py run $'it\x27s\x20\xff.yaml'"
    told = subprocess.run(["bash", "-c", f"printf %s {command.split(maxsplit=3)[3]}"], capture_output=True, check=True)
    assert told.stdout == b"it's \xff.yaml"

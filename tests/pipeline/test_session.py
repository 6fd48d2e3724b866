"""Requests: the command that a user is told to go on with."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from pipeline.planner import Scope
from pipeline.runs import Workdir
from pipeline.session import Request


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

"""The command line itself: options before and after a command, refusals, help. Nothing is trained here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.small_run import ROOT, SMALL, Run


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


def test_workdir_before_a_command_counts_unless_there_is_one_after_it(penjing: Run, config: Path) -> None:
    folder = config.parent
    (folder / "here").mkdir()
    told = penjing("--workdir", "here", "report", "small", cwd=folder)
    assert "RUN: expected a run in here, got 'small'" in told.stderr
    told = penjing("--workdir", "here", "report", "small", "--workdir", "there", cwd=folder)
    assert "RUN: expected a run in there, got 'small'" in told.stderr
    told = penjing("--workdir", "here", "run", config, "data.target=x", cwd=folder)
    assert told.returncode == 2
    told = penjing("--workdir", "here", "gc", cwd=folder)
    assert told.returncode == 0, told.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["here", "small.yaml"]


def test_workdir_before_a_command_that_has_none_is_refused(penjing: Run, tmp_path: Path) -> None:
    told = penjing("--workdir", tmp_path, "schema")
    assert told.returncode == 2
    assert told.stderr.startswith("error: --workdir: expected a command that reads or writes runs, got schema.")


@pytest.mark.parametrize("option", ["--from", "--to", "--force"])
@pytest.mark.parametrize("command", ["run", "plan"])
def test_option_that_is_given_twice_is_refused(penjing: Run, config: Path, command: str, option: str) -> None:
    told = penjing(command, config, option, "train", option, "export", "--workdir", config.parent / "runs")
    assert told.returncode == 2
    assert told.stderr == f"error: {option}: expected it once, got train, export. Choose one stage.\n"
    assert not (config.parent / "runs").exists()


@pytest.mark.parametrize("width", ["80", "200"])
def test_help_cuts_no_sentence(width: str) -> None:
    told = subprocess.run(
        [sys.executable, "run_pipeline.py", "--help"],
        cwd=ROOT, env={**os.environ, "COLUMNS": width}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "..." not in told.stdout.replace("[ARGS]...", "")
    assert "per stage cached, or runs and why, or resumes and where." in " ".join(told.stdout.split())


def test_plan_leaves_nothing_behind(penjing: Run, config: Path) -> None:
    told = penjing("plan", config, "--json", cwd=config.parent)
    assert told.returncode == 0, told.stderr
    assert {row["state"] for row in json.loads(told.stdout)} == {"runs"}
    assert [path.name for path in config.parent.iterdir()] == ["small.yaml"]


def test_workdir_that_cannot_be_made_is_told_in_a_line(penjing: Run, config: Path) -> None:
    for workdir in ("/proc/none", "x" * 300):
        told = penjing("run", config, "--workdir", workdir)
        assert told.returncode == 1
        assert told.stderr.startswith(f"error: workdir: expected to be able to write to {workdir}")
        assert told.stderr.endswith("Choose another --workdir.\n")
        assert told.stderr.count("\n") == 1


def test_refusal_of_a_file_elsewhere_is_told_in_a_line(tmp_path: Path) -> None:
    program = (
        "import sys, run_pipeline\n"
        "def refuse(*_, **__): raise OSError(5, 'Input/output error', 'rows.csv')\n"
        "run_pipeline.run_request = refuse\n"
        "run_pipeline.main()\n"
    )
    config = tmp_path / "small.yaml"
    config.write_text(SMALL)
    told = subprocess.run(
        [sys.executable, "-c", program, "run", str(config), "--workdir", str(tmp_path / "runs")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.returncode == 1
    assert told.stderr == (
        "error: files: expected to be able to use rows.csv, got: Input/output error. Check its path and permissions.\n"
    )


def test_what_the_same_command_would_meet_again_offers_no_such_command(penjing: Run, config: Path) -> None:
    (config.parent / "rows.csv").write_text("x,y\n")
    rows = ("data={source: table, path: rows.csv, target: y}", "--workdir", config.parent / "runs")
    told = penjing("run", config, *rows)
    assert told.returncode == 3, told.stderr
    assert "go on with" not in told.stdout
    told = penjing("run", config, "--from", "train", "--workdir", config.parent / "runs")
    assert told.returncode == 2, told.stderr
    assert "go on with" not in told.stdout


def test_gc_wants_a_work_directory(penjing: Run, config: Path) -> None:
    told = penjing("gc", "--workdir", config.parent / "typo")
    assert told.returncode == 2
    assert told.stderr.endswith("typo, which does not exist. Check the path.\n")
    told = penjing("gc", "--workdir", config)
    assert told.returncode == 2
    assert told.stderr.endswith("small.yaml, which is no folder. Check the path.\n")


@pytest.mark.parametrize("command", ["report", "predict"])
def test_path_is_no_name_of_a_run(penjing: Run, tmp_path: Path, command: str) -> None:
    for folder in ("runs", "other/mine"):
        (tmp_path / folder).mkdir(parents=True)
    fields = {"task": "", "seed": 1, "config_text": "", "command": "", "keys": {}, "state": "done"}
    (tmp_path / "other" / "mine" / "run.json").write_text(json.dumps({"name": "mine", **fields}))
    rest = ["rows.csv"] if command == "predict" else []
    told = penjing(command, "../other/mine", *rest, "--workdir", tmp_path / "runs")
    assert told.returncode == 2
    assert "RUN: expected a run in" in told.stderr
    assert "got '../other/mine'. Runs here: none yet." in told.stderr

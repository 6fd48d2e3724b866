"""The command line itself: options before and after a command, refusals, help. Nothing is trained here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from pipeline.planner import Plan, PlannedStage
from pipeline.stages.catalog import STAGES as ALL_STAGES
from pipeline.summary import Summary
from pipeline.terminal import ledger_table, plan_table
from tests.cli.small_run import ROOT, SMALL, Run
from tests.pipeline.report_records import ledger_row


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


def test_predict_reads_no_urls(penjing: Run, tmp_path: Path) -> None:
    told = penjing("predict", "small", "https://a.example/rows.csv", "--workdir", tmp_path)
    assert told.returncode == 3
    expected = "expected a file or folder of this machine, got 'https://a.example/rows.csv'. Download it first."
    assert told.stderr == f"error: INPUT: {expected}\n"


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


def test_damaged_run_is_told_by_its_file(penjing: Run, config: Path) -> None:
    file = config.parent / "runs" / "small" / "run.json"
    file.parent.mkdir(parents=True)
    file.write_text('{"name": "small", ')
    for command in (("report", "small"), ("predict", "small", config)):
        told = penjing(*command, "--workdir", config.parent / "runs")
        assert told.returncode == 1
        assert told.stderr.startswith(f"error: RUN: expected what a run was asked in {file}, got a damaged file.")


def test_run_that_cannot_begin_leaves_no_run_behind(penjing: Run, config: Path) -> None:
    told = penjing("run", config, "--from", "train", "--workdir", config.parent / "runs")
    assert told.returncode == 2
    assert "--from: expected ingest to be in the store already" in told.stderr
    assert not (config.parent / "runs" / "small").exists()


def test_first_stages_alone_have_a_part_of_the_summary_as_json(penjing: Run, config: Path) -> None:
    told = penjing("run", config, "--to", "build", "--json", "--workdir", config.parent / "runs")
    assert told.returncode == 0, told.stderr
    known = json.loads(told.stdout)
    assert (known["name"], known["task"], known["metric"]) == ("small", "classification", "accuracy")
    assert [(row["stage"], row["variant"]) for row in known["ledger"]] == [("build", "keras")]
    assert known.keys() < Summary.model_fields.keys()


def test_what_only_the_data_shows_is_told_with_the_line_of_the_config(penjing: Run, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 4, 4), np.uint8)
    np.savez(tmp_path / "tiny.npz", x=pixels, y=np.arange(60) % 2)
    text = (
        "name: tiny\ntask: classification\ndata: {source: arrays, path: tiny.npz}\nmodel:\n  family: cnn\n  blocks:\n"
    )
    (tmp_path / "tiny.yaml").write_text(text + 3 * "    - {filters: 4, pool: 2}\n")
    command = ("run", tmp_path / "tiny.yaml", "--workdir", tmp_path / "runs")
    told = penjing(*command)
    assert told.returncode == 2
    said = f"error: {tmp_path / 'tiny.yaml'}:9: model.blocks[2].pool: expected a feature map of at least"
    assert said in told.stderr
    assert said in (tmp_path / "runs" / "tiny" / "run.log").read_text()
    told = penjing(*command, "model.blocks.0.pool=8")
    assert "error: override model.blocks.0.pool=8: model.blocks[0].pool: expected a feature map" in told.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_full_standard_output_is_told_in_a_line(config: Path) -> None:
    command = [sys.executable, str(ROOT / "run_pipeline.py")]
    for arguments in (["schema"], ["validate", str(config)], ["plan", str(config), "--workdir", str(config.parent)]):
        with Path("/dev/full").open("w") as full:
            told = subprocess.run([*command, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        assert told.returncode == 1
        where = "standard output, or a temporary file"
        assert told.stderr == (
            f"error: files: expected to be able to use {where}, got: No space left on device. Make room.\n"
        )


def test_reader_that_is_gone_is_no_fault_to_tell_of(config: Path) -> None:
    program = f"{sys.executable} {ROOT / 'run_pipeline.py'} schema | true; exit ${{PIPESTATUS[0]}}"
    told = subprocess.run(["bash", "-c", program], capture_output=True, text=True, cwd=config.parent, check=False)
    assert (told.returncode, told.stderr) in ((1, ""), (0, ""))  # 0: it was faster than its reader


def test_terminal_without_the_characters_gets_them_spelled_out(config: Path) -> None:
    path = config.with_name("größe.yaml")
    path.write_text(SMALL)
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C.UTF-8"}
    command = [sys.executable, str(ROOT / "run_pipeline.py"), "validate", str(path)]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.endswith("gr\\xf6\\xdfe.yaml: valid; run 'small'\n")


@pytest.mark.parametrize("command", ["plan", "run"])
def test_work_directory_whose_name_is_no_text_is_refused_before_anything_is_made(config: Path, command: str) -> None:
    folder = os.fsencode(config.parent) + b"/runs\xff"
    words = [sys.executable, str(ROOT / "run_pipeline.py"), command, str(config), "--workdir", folder]
    told = subprocess.run(words, capture_output=True, text=True, check=False)
    assert told.returncode == 2
    assert told.stderr.startswith("error: --workdir: expected a name that is text in utf-8, got")
    assert told.stderr.count("\n") == 1
    assert [path.name for path in config.parent.iterdir()] == ["small.yaml"]


@pytest.mark.parametrize("closed", ["1", "2", "0,1,2"])
@pytest.mark.parametrize(("name", "code"), [("small.yaml", 0), ("none.yaml", 2)])
def test_closed_streams_take_nothing_and_change_no_exit_code(config: Path, closed: str, name: str, code: int) -> None:
    shut = " ".join(f"{number}>&-" for number in closed.split(","))
    words = f"{sys.executable} {ROOT / 'run_pipeline.py'} plan {name} {shut}"
    told = subprocess.run(["bash", "-c", words], capture_output=True, text=True, cwd=config.parent, check=False)
    assert told.returncode == code
    assert "Traceback" not in told.stderr
    assert "error" not in told.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_full_standard_error_changes_no_exit_code(config: Path) -> None:
    words = [sys.executable, str(ROOT / "run_pipeline.py"), "validate", str(config.with_name("none.yaml"))]
    with Path("/dev/full").open("w") as full:
        assert subprocess.run(words, stderr=full, check=False).returncode == 2


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_ledger_is_readable_at_any_width(width: int) -> None:
    rows = [ledger_row("train", "keras", 0.98123), ledger_row("convert", "dynamic_range", 0.97)]
    console = Console(width=width, force_terminal=False)
    with console.capture() as captured:
        console.print(ledger_table(rows, "accuracy", console))
    lines = captured.get().splitlines()
    assert "…" not in captured.get()
    assert max(len(line) for line in lines) <= width
    assert len(lines) == (3 if width >= 80 else 2 * 8)
    words = captured.get().split()
    assert all(word in words for word in ("accuracy*", "0.9812", "2,778", "13,212", "dynamic_range", "4.2"))


def test_plan_cuts_no_word_on_a_narrow_terminal() -> None:
    reason = "train.regularization.l1 changed from 0.0 to 0.001"
    planned = PlannedStage(ALL_STAGES[0], "0123456789abcdef", {}, {}, {}, "runs", reason)
    console = Console(width=40, force_terminal=False)
    with console.capture() as captured:
        console.print(plan_table(Plan(None, (planned,))))  # type: ignore[arg-type]  # a table reads no config
    assert "…" not in captured.get()
    assert max(len(line) for line in captured.get().splitlines()) <= 40

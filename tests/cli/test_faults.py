"""Whole runs that something happens to: kills, Ctrl-C, a flipped byte, a target out of reach."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.fault_runs import committed
from pipeline.store import Store
from tests.cli.small_run import ROOT, STAGES, Finished, Run, digest


def test_killed_again_and_again_it_ends_in_the_same_bytes(finished: Finished, tmp_path: Path) -> None:
    workdir = tmp_path / "runs"
    command = [sys.executable, str(ROOT / "run_pipeline.py"), "run", str(finished.config), "--workdir", str(workdir)]
    log = workdir / "small" / "run.log"
    kills, dice = 0, random.Random(5)
    # Killed within a training, within the search, within pruning; then it may end.
    for mark in ("train 2/", "tune      runs", "prune 1/", None):
        told = len(log.read_text()) if log.exists() else 0
        before = committed(workdir)
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        deadline = time.monotonic() + 300
        while process.poll() is None and time.monotonic() < deadline:
            if mark is not None and log.exists() and mark in log.read_text()[told:]:
                time.sleep(dice.uniform(0.0, 0.2))
                break
            time.sleep(0.01)
        if process.poll() is not None:
            assert process.returncode == 0, process.communicate()[0]
            break
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        kills += 1
        assert before.items() <= committed(workdir).items(), "an artifact was made again"
    printed, _ = process.communicate()
    assert kills > 0
    assert before.items() <= committed(workdir).items(), "an artifact was made again"
    model = workdir / "small" / "export" / "model.tflite"
    assert digest(model) == digest(finished.export / "model.tflite")
    words = [line.split()[:2] for line in log.read_text().splitlines()]
    for stage in STAGES:
        # A kill between a stage's rename and its line leaves it without one; the next run finds what it made.
        assert words.count([stage, "done"]) <= 1, f"{stage} was repeated"
        assert [stage, "done"] in words or [stage, "cached"] in words
    assert "done" in printed


def test_flipped_byte_is_noticed_and_made_again(penjing: Run, finished: Finished) -> None:
    artifact = next((finished.workdir / "store" / "prune").iterdir())
    target = artifact / "model.keras"
    data = bytearray(target.read_bytes())
    data[len(data) // 2] ^= 1
    target.write_bytes(bytes(data))
    before = digest(finished.export / "model.tflite")
    told = penjing("run", finished.config, "--workdir", finished.workdir)
    assert told.returncode == 0, told.stderr
    assert "model.keras was changed; set aside" in told.stdout
    assert told.stdout.count("done") == 1
    assert digest(finished.export / "model.tflite") == before


def test_every_kind_of_damage_to_every_file_is_noticed(finished: Finished) -> None:
    store = Store(finished.workdir / "store")
    dice = random.Random(7)
    harmed = 0
    for stage, key in store.artifacts():
        folder = store.folder(stage, key)
        assert store.damage(stage, key) is None
        for path in sorted(each for each in folder.rglob("*") if each.is_file()):
            whole = path.read_bytes()
            flipped = bytearray(whole or b"?")
            if whole:
                flipped[dice.randrange(len(whole))] ^= 1 << dice.randrange(8)
            for content in (bytes(flipped), whole[: len(whole) // 2] if whole else b"??", None):
                path.unlink()
                if content is not None:
                    path.write_bytes(content)
                assert store.damage(stage, key) is not None, path
                path.write_bytes(whole)
            harmed += 1
        extra = folder / "one-too-many"
        extra.touch()
        assert store.damage(stage, key) == "one-too-many is not of it"
        extra.unlink()
        assert store.damage(stage, key) is None
    assert harmed > 3 * len(STAGES)


def measured(what: str, *arguments: str) -> str:
    """Runs a measurement of faults on a small config without TensorFlow; returns its table."""
    command = [sys.executable, "-m", "benchmarks.faults", what, "--config", "classical", *arguments]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)
    assert told.returncode == 0, told.stdout + told.stderr
    return told.stdout


def test_full_disk_is_told_in_one_line_and_with_room_the_run_goes_on(tmp_path: Path) -> None:
    told = measured("full-disk", "--sizes", "3", "--scratch", str(tmp_path))
    assert "3 of the size of one file" in told
    # What ended the run is told, not that `run.json` could not be marked as failed either.
    assert "/.run.json." not in told
    if "no small filesystem: " not in told:  # only root may mount one
        assert "limits that were met: 3 of space, 3 of files" in told


def test_damaged_file_is_made_again_in_the_same_bytes(tmp_path: Path) -> None:
    told = measured("flips", "--count", "4", "--others", "1", "--scratch", str(tmp_path))
    for kind, count in (("flip", 4), ("cut", 1), ("empty", 1), ("gone", 1), ("extra", 1)):
        assert re.search(rf"^{kind} +{count} damaged +{count} noticed", told, re.MULTILINE), told


def test_four_runs_at_once_make_what_they_share_once(tmp_path: Path) -> None:
    told = measured("crowd", "--scratch", str(tmp_path))
    assert re.search(r"^4 runs at once: \d+ artifacts, [1-9]\d* of them of more than one run; 0 made more", told), told


def test_unreachable_target_keeps_the_bundle_and_ends_with_4(penjing: Run, finished: Finished) -> None:
    told = penjing("run", finished.config, "name=strict", "target.max_model_bytes=100", "--workdir", finished.workdir)
    assert told.returncode == 4
    assert "target.max_model_bytes: expected" in told.stderr
    summary = json.loads((finished.workdir / "strict" / "export" / "summary.json").read_text())
    assert summary["model_bytes"] > 100


def test_interrupt_ends_with_130_and_says_how_to_go_on(finished: Finished, tmp_path: Path) -> None:
    command = [
        sys.executable,
        str(ROOT / "run_pipeline.py"),
        "run",
        str(finished.config),
        "train.epochs=100000",
        "--workdir",
        str(tmp_path / "runs"),
    ]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    log = tmp_path / "runs" / "small" / "run.log"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (log.exists() and "train 5/" in log.read_text()):
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    printed, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "go on with: python run_pipeline.py run" in printed
    assert f"--workdir {tmp_path / 'runs'}\n" in printed
    assert errors == "interrupted\n"
    told = subprocess.run([*command[:2], "plan", *command[3:], "--json"], cwd=ROOT, capture_output=True, text=True)
    train = next(row for row in json.loads(told.stdout) if row["stage"] == "train")
    assert train["state"] == "resumes"
    finished_epochs = len(re.findall(r"train \d+/100000", log.read_text()))
    assert train["because"] in {f"at epoch {finished_epochs}", f"at epoch {finished_epochs + 1}"}


def test_interrupt_while_modules_load_leaves_no_traceback(finished: Finished) -> None:
    command = [
        sys.executable, "-X", "importtime", str(ROOT / "run_pipeline.py"), "run", str(finished.config),
        "--workdir", str(finished.workdir),
    ]  # fmt: skip
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "pydantic" in line:
            process.send_signal(signal.SIGINT)
            break
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.endswith("interrupted\n")
    assert "Traceback" not in errors


INTERRUPTED = """
import atexit, importlib, signal, sys
import run_pipeline
module, name = sys.argv.pop(1).split(":")
signal.signal(signal.SIGINT, signal.default_int_handler)
setattr(importlib.import_module(module), name, lambda *_, **__: signal.raise_signal(signal.SIGINT))
atexit.register(signal.raise_signal, signal.SIGINT)  # a second Ctrl-C, while the process clears away
run_pipeline.LOADING = True
run_pipeline.main()
"""


@pytest.mark.parametrize(
    ("command", "place"),
    [
        ("run", "run_pipeline:run_request"),
        ("plan", "run_pipeline:plan_request"),
        ("validate", "pipeline.config_reading.file:load_config"),
        ("predict", "pipeline.predict:predict"),
    ],
)
def test_interrupted_command_says_so_and_ends_with_130(
    finished: Finished, tmp_path: Path, command: str, place: str
) -> None:
    workdir = finished.workdir if command == "predict" else tmp_path
    rest = ["small", "rows.csv"] if command == "predict" else [str(finished.config)]
    told = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, place, command, *rest, "--workdir", str(workdir)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert told.returncode == 130
    assert told.stderr == "interrupted\n"

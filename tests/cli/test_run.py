"""Whole runs from the command line: what they leave, what a second one repeats, what kills do to them."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STAGES = ["ingest", "build", "train", "tune", "prune", "convert", "export"]
SMALL = """\
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
Run = Callable[..., subprocess.CompletedProcess[str]]


@dataclass(frozen=True)
class Finished:
    """A finished run of the small config."""

    config: Path
    workdir: Path
    printed: str

    @property
    def export(self) -> Path:
        return self.workdir / "small" / "export"


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def states(penjing: Run, config: Path, workdir: Path, *arguments: str) -> dict[str, tuple[str, str]]:
    told = penjing("plan", config, "--json", "--workdir", workdir, *arguments)
    assert told.returncode == 0, told.stderr
    return {row["stage"]: (row["state"], row["because"]) for row in json.loads(told.stdout)}


@pytest.fixture(scope="module")
def finished(penjing: Run, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("finished")
    config = folder / "small.yaml"
    config.write_text(SMALL)
    told = penjing("run", config, "--workdir", folder / "runs")
    assert told.returncode == 0, told.stdout + told.stderr
    return Finished(config, folder / "runs", told.stdout)


def test_prints_the_ledger_and_where_to_look(finished: Finished) -> None:
    for stage in STAGES[1:-1]:
        assert f"\n{stage} " in finished.printed
    assert str(finished.workdir / "small" / "report.html") in finished.printed
    assert str(finished.export) in finished.printed
    # What TensorFlow's C++ says on its own belongs into the log.
    assert "oneDNN" not in finished.printed


def test_bundle_is_whole_and_checks_out(finished: Finished) -> None:
    sums = (finished.export / "SHA256SUMS").read_text().splitlines()
    named = {line[66:]: line[:64] for line in sums}
    found = {str(p.relative_to(finished.export)) for p in finished.export.rglob("*") if p.is_file()}
    assert found == named.keys() | {"SHA256SUMS"}
    assert all(digest(finished.export / name) == value for name, value in named.items())
    expected = {
        "model.tflite",
        "model_data.cc",
        "model_data.h",
        "preprocessing.json",
        "labels.txt",
        "summary.json",
        "report.html",
        "MODEL_CARD.md",
        "variants/int8.tflite",
        "golden/golden.h",
    }
    assert expected <= found
    summary = json.loads((finished.export / "summary.json").read_text())
    assert summary["model_bytes"] == (finished.export / "model.tflite").stat().st_size
    assert summary["arena_bytes"] > 0
    assert summary["micro_max_steps"] <= 2


def test_second_run_repeats_nothing(penjing: Run, finished: Finished) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.export.rglob("*")}
    told = penjing("run", finished.config, "--workdir", finished.workdir)
    assert told.returncode == 0, told.stderr
    assert told.stdout.count(" cached ") == len(STAGES)
    assert {path: path.stat().st_mtime_ns for path in finished.export.rglob("*")} == before


def test_plan_says_what_changed(penjing: Run, finished: Finished) -> None:
    assert set(states(penjing, finished.config, finished.workdir).values()) == {("cached", "")}
    planned = states(penjing, finished.config, finished.workdir, "prune.sparsity=0.4")
    assert planned["tune"] == ("cached", "")
    assert planned["prune"] == ("runs", "prune.sparsity changed from 0.3 to 0.4")
    assert planned["convert"] == ("runs", "input model changed")


def test_neither_planning_nor_a_cached_run_imports_anything_heavy(finished: Finished) -> None:
    program = (
        "import sys, run_pipeline\n"
        "sys.argv = ['run_pipeline.py', *sys.argv[1:]]\n"
        "try:\n    run_pipeline.main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "print('HEAVY', sorted({'tensorflow', 'pandas', 'sklearn', 'keras_tuner', 'plotly'} & set(sys.modules)))\n"
    )
    for command in ("plan", "run", "validate"):
        arguments = [command, str(finished.config), "--workdir", str(finished.workdir)]
        told = subprocess.run(
            [sys.executable, "-c", program, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert told.returncode == 0, told.stderr
        assert "HEAVY []" in told.stdout, command


def test_predicts_raw_rows(penjing: Run, finished: Finished, tmp_path: Path) -> None:
    # Three flowers of Fisher's table: a setosa, a versicolor, a virginica.
    rows = tmp_path / "flowers.csv"
    names = "sepal length (cm),sepal width (cm),petal length (cm),petal width (cm)"
    rows.write_text(f"{names}\n5.1,3.5,1.4,0.2\n5.7,2.8,4.1,1.3\n6.9,3.1,5.4,2.1\n")
    told = penjing("predict", "small", rows, "--json", "--workdir", finished.workdir)
    assert told.returncode == 0, told.stderr
    assert [each["label"] for each in json.loads(told.stdout)] == ["setosa", "versicolor", "virginica"]


def test_report_is_drawn_anew(penjing: Run, finished: Finished) -> None:
    report = finished.workdir / "small" / "report.html"
    before = digest(report)
    report.unlink()
    told = penjing("report", "small", "--workdir", finished.workdir)
    assert told.returncode == 0, told.stderr
    assert digest(report) == before


def test_two_cold_runs_end_in_the_same_bytes(penjing: Run, finished: Finished, tmp_path: Path) -> None:
    told = penjing("run", finished.config, "--workdir", tmp_path / "again")
    assert told.returncode == 0, told.stderr
    assert digest(tmp_path / "again" / "small" / "export" / "model.tflite") == digest(finished.export / "model.tflite")


def test_killed_again_and_again_it_ends_in_the_same_bytes(finished: Finished, tmp_path: Path) -> None:
    workdir = tmp_path / "runs"
    command = [sys.executable, str(ROOT / "run_pipeline.py"), "run", str(finished.config), "--workdir", str(workdir)]
    log = workdir / "small" / "run.log"
    kills, dice = 0, random.Random(5)
    # Killed within a training, within the search, within pruning; then it may end.
    for mark in ("train 2/", "tune     runs", "prune 1/", None):
        told = len(log.read_text()) if log.exists() else 0
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
    printed, _ = process.communicate()
    assert kills > 0
    model = workdir / "small" / "export" / "model.tflite"
    assert digest(model) == digest(finished.export / "model.tflite")
    for stage in STAGES:
        assert sum(line.startswith(f"{stage:<9}done") for line in log.read_text().splitlines()) == 1, (
            f"{stage} was repeated"
        )
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
    assert "Traceback" not in errors
    told = subprocess.run([*command[:2], "plan", *command[3:], "--json"], cwd=ROOT, capture_output=True, text=True)
    train = next(row for row in json.loads(told.stdout) if row["stage"] == "train")
    assert train["state"] == "resumes"
    finished_epochs = len(re.findall(r"train \d+/100000", log.read_text()))
    assert train["reason"] in {f"at epoch {finished_epochs}", f"at epoch {finished_epochs + 1}"}


def test_wider_search_repeats_no_trial_and_is_never_worse(penjing: Run, finished: Finished) -> None:
    trained = finished.workdir / "store" / "train"
    before = {path: path.stat().st_mtime_ns for path in trained.iterdir()}
    # What `train` made, and two trials under other penalties.
    assert len(before) == 3
    arguments = ("tune.trials=3", "--to", "tune", "--workdir", finished.workdir)
    told = penjing("run", finished.config, "name=wider", *arguments)
    assert told.returncode == 0, told.stderr
    after = {path: path.stat().st_mtime_ns for path in trained.iterdir()}
    assert len(after) == 4
    assert {path: after[path] for path in before} == before
    keys = json.loads((finished.workdir / "wider" / "run.json").read_text())["keys"]
    details = json.loads((finished.workdir / "store" / "tune" / keys["tune"] / "manifest.json").read_text())["details"]
    assert [trial["trial"] for trial in details["trials"]] == [0, 1, 2, 3]
    scores = [trial["score"] for trial in details["trials"]]
    assert scores[details["best"]] == max(scores)
    assert details["trials"][0]["kind"] == "none"


def test_regression_runs_to_a_bundle_that_answers_in_real_units(penjing: Run, tmp_path: Path) -> None:
    config = tmp_path / "line.yaml"
    rows = [f"{x},{3 * x + 100}" for x in range(200)]
    (tmp_path / "line.csv").write_text("size,price\n" + "\n".join(rows) + "\n")
    config.write_text(
        "name: line\ntask: regression\ndata: {source: table, path: line.csv, target: price, features: [size]}\n"
        "model: {family: mlp, units: [8]}\ntrain: {epochs: 60, batch_size: 16, optimizer: {learning_rate: 0.02}}\n"
    )
    told = penjing("run", config, "--workdir", tmp_path / "runs")
    assert told.returncode == 0, told.stderr
    (tmp_path / "new.csv").write_text("size\n20\n100\n180\n")
    told = penjing("predict", "line", tmp_path / "new.csv", "--json", "--workdir", tmp_path / "runs")
    assert told.returncode == 0, told.stderr
    values = [each["value"] for each in json.loads(told.stdout)]
    assert values == pytest.approx([160, 400, 640], abs=15)


@pytest.mark.parametrize("kind", ["autoencoder", "supervised"])
def test_layer_wise_training_runs_to_a_bundle(penjing: Run, tmp_path: Path, kind: str) -> None:
    config = tmp_path / "layers.yaml"
    config.write_text(
        "name: layers\ntask: classification\ndata: {source: builtin, name: wine}\n"
        f"model: {{family: mlp, units: [8, 6]}}\npretrain: {{kind: {kind}, epochs: 3}}\n"
        "train: {mode: layer_wise, epochs: 5}\nquantize: {precision: int8}\n"
    )
    told = penjing("run", config, "--workdir", tmp_path / "runs")
    assert told.returncode == 0, told.stderr
    key = json.loads((tmp_path / "runs" / "layers" / "run.json").read_text())["keys"]["pretrain"]
    details = json.loads((tmp_path / "runs" / "store" / "pretrain" / key / "manifest.json").read_text())["details"]
    assert details["kind"] == kind
    assert [len(layer["loss"]) for layer in details["layers"]] == [3, 3]
    assert all(layer["loss"][-1] < layer["loss"][0] for layer in details["layers"])


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
    assert "Traceback" not in errors

"""Whole runs from the command line: what they leave, and what a second one repeats."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.small_run import ROOT, STAGES, Finished, Run, digest, states


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
    # Other tests may have had an artifact made again since the run, and its seconds are in the report.
    assert penjing("report", "small", "--workdir", finished.workdir).returncode == 0
    before = digest(report)
    report.unlink()
    told = penjing("report", "small", "--workdir", finished.workdir)
    assert told.returncode == 0, told.stderr
    assert digest(report) == before


def test_two_cold_runs_end_in_the_same_bytes(penjing: Run, finished: Finished, tmp_path: Path) -> None:
    told = penjing("run", finished.config, "--workdir", tmp_path / "again")
    assert told.returncode == 0, told.stderr
    assert digest(tmp_path / "again" / "small" / "export" / "model.tflite") == digest(finished.export / "model.tflite")


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
        "train: {mode: layer_wise, epochs: 5, control: true}\nquantize: {precision: int8}\n"
    )
    told = penjing("run", config, "--workdir", tmp_path / "runs")
    assert told.returncode == 0, told.stderr
    report = (tmp_path / "runs" / "layers" / "report.html").read_text(encoding="utf-8")
    for title in (
        "Loss of each layer",
        "What each layer gives to a linear model",
        "Both trainings over the same budget",
    ):
        assert title in report
    key = json.loads((tmp_path / "runs" / "layers" / "run.json").read_text())["keys"]["pretrain"]
    details = json.loads((tmp_path / "runs" / "store" / "pretrain" / key / "manifest.json").read_text())["details"]
    assert details["kind"] == kind
    assert [len(layer["loss"]) for layer in details["layers"]] == [3, 3]
    assert all(layer["loss"][-1] < layer["loss"][0] for layer in details["layers"])


def test_bundle_of_an_earlier_config_is_told_by_run_and_predict(
    penjing: Run, finished: Finished, tmp_path: Path
) -> None:
    workdir = tmp_path / "runs"
    shutil.copytree(finished.workdir, workdir)
    told = penjing("run", finished.config, "prune.sparsity=0.2", "--to", "train", "--workdir", workdir)
    assert told.returncode == 0, told.stderr
    note = f"{workdir / 'small' / 'export'} holds the bundle of an earlier config, data or code"
    assert f"note    {note}" in told.stdout
    rows = tmp_path / "flowers.csv"
    rows.write_text("sepal length (cm),sepal width (cm),petal length (cm),petal width (cm)\n5.1,3.5,1.4,0.2\n")
    told = penjing("predict", "small", rows, "--json", "--workdir", workdir)
    assert json.loads(told.stdout)[0]["label"] == "setosa"
    assert told.stderr.startswith(f"note: {note}")
    told = penjing("predict", "small", rows, "--json", "--workdir", finished.workdir)
    assert told.stderr == ""

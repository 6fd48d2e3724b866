"""The whole thread of classical models, as a user runs it: bundles of plain C, and baselines beside a network."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from data.contract import derive_seed
from data.dataset import Dataset
from tests.cli.small_run import ROOT, Run

FOREST = """\
name: forest
seed: 3
task: classification
data: {source: builtin, name: iris}
model: {family: random_forest, num_trees: 7, max_depth: 3}
target: {max_model_bytes: 4000, max_score_drop: 0.0}
"""
SVR = """\
name: svr
task: regression
data: {source: table, path: flats.csv, target: rent}
model: {family: svm, c: 10.0}
"""
NETWORK = """\
name: beside
task: classification
data: {source: builtin, name: iris}
model: {family: mlp, units: [2]}
baselines: {models: [logistic_regression]}
train: {epochs: 1, batch_size: 64}
convert: {variants: [float32]}
"""
FILES = {
    "MODEL_CARD.md",
    "SHA256SUMS",
    "golden",
    "labels.txt",
    "model.c",
    "model.h",
    "model.json",
    "model.npz",
    "preprocessing.c",
    "preprocessing.h",
    "preprocessing.json",
    "report.html",
    "summary.json",
}
# Runs the command line and says which heavy libraries it imported.
WATCHED = """
import sys, run_pipeline
try:
    run_pipeline.main()
except SystemExit as end:
    assert not end.code, end.code
print("HEAVY", sorted({"tensorflow", "tf_keras", "keras", "sklearn"} & set(sys.modules)), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def forest(penjing: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("forest")
    (folder / "forest.yaml").write_text(FOREST)
    command = [sys.executable, "-c", WATCHED, "run", str(folder / "forest.yaml"), "--workdir", str(folder / "runs")]
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
    told = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    assert told.stderr.splitlines()[-1] == "HEAVY ['sklearn']"
    return folder / "runs", told.stdout


def test_a_forest_is_handed_over_as_c(forest: tuple[Path, str]) -> None:
    export = forest[0] / "forest" / "export"
    assert {path.name for path in export.iterdir()} == FILES
    summary = json.loads((export / "summary.json").read_text())
    assert (summary["classical_family"], summary["model_file"], summary["precision"]) == (
        "random_forest",
        "model.c",
        "float32",
    )
    assert (summary["arena_bytes"], summary["micro_max_steps"], summary["operators"]) == (None, None, [])
    assert summary["arena_reason"] == "plain C needs no arena: it works on the stack alone"
    assert (summary["agreement"], summary["macs"]) == (1.0, 0)
    assert summary["model_score"] == summary["float_score"] == summary["baseline_score"]
    assert summary["target"]["max_score_drop"] == {"asked": 0.0, "got": 0.0, "met": True}
    (fit,) = summary["ledger"]
    assert (fit["stage"], fit["variant"]) == ("fit", "random_forest")
    assert fit["constant_bytes"] == summary["model_bytes"] <= 4000
    assert "scikit-learn" in summary["versions"]
    assert "tensorflow" not in summary["versions"]
    printed = forest[1].splitlines()
    bytes_of_constants = f"{summary['model_bytes']:,} bytes of constants"
    assert f"model.c: accuracy {summary['model_score']:.4f} on the test split, {bytes_of_constants}" in printed


TEST_PROGRAM = r"""
#include <stdio.h>
#include "model.h"
#include "golden.h"
int main(void) {
  float input[PENJING_INPUT_SIZE], output[PENJING_OUTPUT_SIZE];
  for (int row = 0; row < PENJING_GOLDEN_ROWS; ++row) {
    penjing_predict(penjing_golden_inputs[row], output);
    for (int k = 0; k < PENJING_OUTPUT_SIZE; ++k) if (output[k] != penjing_golden_outputs[row][k]) return 1;
  }
  while (fread(input, sizeof(float), PENJING_INPUT_SIZE, stdin) == PENJING_INPUT_SIZE) {
    penjing_predict(input, output);
    printf("%d\n", penjing_decide(output));
  }
  return 0;
}
"""


def test_its_c_decides_as_a_forest_that_scikit_learn_fits_here(forest: tuple[Path, str], tmp_path: Path) -> None:
    (ingested,) = (path for path in (forest[0] / "store" / "ingest").iterdir() if (path / "schema.json").exists())
    dataset = Dataset.open(ingested)
    expected = RandomForestClassifier(7, max_depth=3, random_state=derive_seed(3, "fit"))
    expected.fit(dataset.inputs("train"), dataset.split("train").y)
    export = forest[0] / "forest" / "export"
    (tmp_path / "main.c").write_text(TEST_PROGRAM)
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion"]
    place = [f"-I{export}", f"-I{export / 'golden'}", tmp_path / "main.c", export / "model.c", "-o", tmp_path / "main"]
    # The raw golden rows are for preprocessing.c, which this program does not use.
    subprocess.run(["cc", *flags, "-Wno-unused-variable", "-Wno-unused-const-variable", *place, "-lm"], check=True)
    rows = np.concatenate([dataset.inputs(split) for split in ("train", "validation", "test")])
    told = subprocess.run([tmp_path / "main"], input=rows.tobytes(), capture_output=True, check=True)
    np.testing.assert_array_equal(np.array(told.stdout.split(), np.int64), expected.predict(rows))
    cxx = ["g++", "-std=c++11", "-fsyntax-only", "-x", "c++", export / "model.h"]
    subprocess.run(cxx, check=True)


def test_predict_answers_with_its_numbers_and_without_tensorflow(
    forest: tuple[Path, str], penjing: Run, tmp_path: Path
) -> None:
    raw = np.load(forest[0] / "forest" / "export" / "golden" / "inputs_raw.npy")[:3]
    expected = np.load(forest[0] / "forest" / "export" / "golden" / "outputs_expected.npy")[:3]
    np.save(tmp_path / "rows.npy", raw)
    told = penjing("predict", "forest", tmp_path / "rows.npy", "--json", "--workdir", forest[0])
    assert told.returncode == 0, told.stderr
    answers = json.loads(told.stdout)
    found = np.array([list(each["probabilities"].values()) for each in answers])
    np.testing.assert_allclose(found, expected, atol=1e-6)
    names = ("setosa", "versicolor", "virginica")
    assert [each["label"] for each in answers] == [names[code] for code in expected.argmax(axis=1)]


def test_a_damaged_model_is_refused(forest: tuple[Path, str], penjing: Run, tmp_path: Path) -> None:
    arrays = forest[0] / "forest" / "export" / "model.npz"
    whole = arrays.read_bytes()
    arrays.write_bytes(whole[:-1])
    np.save(tmp_path / "rows.npy", np.zeros((1, 4), np.float32))
    told = penjing("predict", "forest", tmp_path / "rows.npy", "--workdir", forest[0])
    arrays.write_bytes(whole)
    assert told.returncode == 1
    assert "a model.npz that is not the one SHA256SUMS tells of: edited, or cut short" in told.stderr


def test_the_same_config_gives_the_same_bytes_and_repeats_nothing(
    forest: tuple[Path, str], penjing: Run, tmp_path: Path
) -> None:
    config = forest[0].parent / "forest.yaml"
    again = penjing("run", config, "--workdir", forest[0])
    assert again.stdout.count(" cached ") == 3, again.stdout + again.stderr
    other = penjing("run", config, "--workdir", tmp_path / "runs")
    assert other.returncode == 0, other.stderr
    for name in ("model.c", "model.h", "model.npz", "model.json", "golden/golden.h"):
        one, two = (folder / "forest" / "export" / name for folder in (forest[0], tmp_path / "runs"))
        assert hashlib.sha256(one.read_bytes()).digest() == hashlib.sha256(two.read_bytes()).digest(), name


def test_numbers_by_a_machine_of_a_table(penjing: Run, tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    area, district = generator.uniform(20, 120, 90), generator.integers(0, 3, 90)
    rent = 300 + 9 * area + 150 * district
    lines = [f"{area[n]:.1f},{'abc'[district[n]]},{rent[n]:.1f}" for n in range(90)]
    (tmp_path / "flats.csv").write_text("area,district,rent\n" + "\n".join(lines) + "\n")
    (tmp_path / "svr.yaml").write_text(SVR)
    told = penjing("run", tmp_path / "svr.yaml", "--workdir", tmp_path / "runs")
    assert told.returncode == 0, told.stdout + told.stderr
    summary = json.loads((tmp_path / "runs" / "svr" / "export" / "summary.json").read_text())
    assert (summary["metric"], summary["agreement"]) == ("r2", None)
    assert summary["model_score"] == pytest.approx(summary["float_score"], abs=1e-5)
    assert summary["model_score"] > 0.9
    told = penjing("predict", "svr", tmp_path / "flats.csv", "--json", "--workdir", tmp_path / "runs")
    predicted = np.array([each["value"] for each in json.loads(told.stdout)])
    assert np.abs(predicted - rent).mean() < 60.0
    card = (tmp_path / "runs" / "svr" / "export" / "MODEL_CARD.md").read_text()
    assert "`model.c` is an SVM for regression" in card
    assert "float number(const float *input)" in card


def test_without_a_compiler_nothing_is_handed_over(forest: tuple[Path, str], tmp_path: Path) -> None:
    config = forest[0].parent / "forest.yaml"
    command = [sys.executable, str(ROOT / "run_pipeline.py"), "run", str(config), "--workdir", str(tmp_path / "runs")]
    environment = {**os.environ, "PATH": str(tmp_path)}
    told = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert told.returncode == 1
    assert "gate.plain C: expected a C compiler (cc, gcc, clang) on PATH, got none. Install one" in told.stderr
    assert not (tmp_path / "runs" / "forest" / "export").exists()


def test_a_baseline_that_beats_a_network_is_told_first(penjing: Run, tmp_path: Path) -> None:
    (tmp_path / "beside.yaml").write_text(NETWORK)
    told = penjing("run", tmp_path / "beside.yaml", "--workdir", tmp_path / "runs")
    assert told.returncode == 0, told.stdout + told.stderr
    summary = json.loads((tmp_path / "runs" / "beside" / "export" / "summary.json").read_text())
    (baseline,) = summary["baselines"]
    converted = next(row for row in summary["ledger"] if row["stage"] == "convert")
    assert baseline["beats"]
    assert (baseline["delivered_score"], baseline["delivered_bytes"]) == (converted["score"], summary["model_bytes"])
    assert baseline["test_score"] > 0.8
    score = f"{baseline['validation_score']:.4f}"
    sentence = f"A baseline beats the network: logistic regression has a validation accuracy of {score}"
    assert sentence in told.stdout
    report = (tmp_path / "runs" / "beside" / "report.html").read_text()
    assert report.index("<h1>") < report.index(sentence) < report.index('role="status"')

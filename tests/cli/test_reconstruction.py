"""An autoencoder tells abnormal rows: the whole way from a config to predictions and C."""

from __future__ import annotations

import ctypes
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import r2_score, roc_auc_score

from models.tflite.interpreter import LiteRT
from tests.cli.small_run import Run

CONFIG = """\
name: odd
seed: 1
task: reconstruction
data: {source: builtin, name: digits, normal: ["0", "1", "6"]}
model: {family: autoencoder, units: [24], bottleneck: 6}
reconstruction: {false_alarm_fraction: 0.1}
train: {epochs: 15, batch_size: 32, optimizer: {learning_rate: 0.005}}
prune: {unit: node, sparsity: 0.2, epochs: 1, recovery_epochs: 1, batch_size: 32}
quantize: {precision: int8}
convert: {variants: [float32]}
"""


@pytest.fixture(scope="module")
def workdir(penjing: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("odd")
    (folder / "odd.yaml").write_text(CONFIG)
    told = penjing("run", folder / "odd.yaml", "--workdir", folder / "runs")
    assert told.returncode == 0, told.stdout + told.stderr
    assert "ROC AUC 0." in told.stdout
    return folder / "runs"


@pytest.fixture(scope="module")
def export(workdir: Path) -> Path:
    return workdir / "odd" / "export"


@pytest.fixture(scope="module")
def summary(export: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((export / "summary.json").read_text())
    return found


def rows(workdir: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    key = json.loads((workdir / "odd" / "run.json").read_text())["keys"]["ingest"]
    stored = workdir / "store" / "ingest" / key
    return np.load(stored / f"{split}_x.npy"), np.load(stored / f"{split}_y.npy")


def errors_of(export: Path, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(rows,) errors and (rows, 64) reconstructions of model.tflite, worked out here."""
    runtime = LiteRT((export / "model.tflite").read_bytes())
    outputs = runtime.invoke((pixels.astype(int) - 128).astype(np.int8)).astype(np.float64)
    values = (outputs - runtime.output.zero_point) * runtime.output.scale
    return np.mean((values - pixels.reshape(len(pixels), -1) / 255) ** 2, axis=1), values


def test_the_threshold_is_a_quantile_of_normal_validation_rows(
    workdir: Path, export: Path, summary: dict[str, Any]
) -> None:
    pixels, labels = rows(workdir, "validation")
    assert not labels.any()
    errors, _ = errors_of(export, pixels)
    threshold = summary["reconstruction"]["threshold"]
    above = int((errors > threshold * (1 + 1e-5)).sum())
    assert above == int(0.1 * len(errors))
    assert np.abs(errors / threshold - 1).min() < 1e-5  # summed up in float32
    assert summary["reconstruction"]["validation_false_alarm_fraction"] == pytest.approx(above / len(errors))


def test_the_figures_are_scikit_learns(workdir: Path, export: Path, summary: dict[str, Any]) -> None:
    pixels, labels = rows(workdir, "test")
    errors, values = errors_of(export, pixels)
    told = summary["reconstruction"]
    assert told["roc_auc"] == pytest.approx(roc_auc_score(labels, errors), abs=1e-9)
    assert told["roc_auc"] == pytest.approx(told["float_roc_auc"], abs=0.01)
    assert told["roc_auc"] > 0.85
    called = errors > told["threshold"]
    assert told["detected"] == pytest.approx(called[labels == 1].mean())
    assert told["false_alarms"] == pytest.approx(called[labels == 0].mean())
    # The score is of normal rows alone: nothing else was to be given back.
    normal = pixels[labels == 0].reshape(-1, 64) / 255
    assert summary["model_score"] == pytest.approx(
        1 - np.sum((normal - values[labels == 0]) ** 2) / np.sum((normal - normal.mean(0)) ** 2), abs=1e-6
    )
    varying = np.ptp(normal, axis=0) > 0
    assert summary["model_score"] == pytest.approx(
        r2_score(normal[:, varying], values[labels == 0][:, varying], multioutput="variance_weighted"), abs=0.01
    )


def test_predictions_name_abnormal_rows(workdir: Path, export: Path, penjing: Run, tmp_path: Path) -> None:
    pixels, _ = rows(workdir, "test")
    np.save(tmp_path / "rows.npy", pixels[::9])
    told = penjing("predict", "odd", tmp_path / "rows.npy", "--json", "--workdir", workdir)
    assert told.returncode == 0, told.stderr
    errors, _ = errors_of(export, pixels[::9])
    for said, error in zip(json.loads(told.stdout), errors, strict=True):
        assert said["error"] == pytest.approx(error, rel=1e-5)
        assert said["label"] == ("abnormal" if said["error"] > said["threshold"] else "normal")
        assert (said["probability"], said["value"], said["probabilities"]) == (None, None, None)
    table = penjing("predict", "odd", tmp_path / "rows.npy", "--workdir", workdir).stdout.splitlines()
    assert table[0].split() == ["input", "label", "error", "threshold"]


def c_library(export: Path, folder: Path) -> Any:
    """reconstruction.h, compiled."""
    takes = "const int8_t *x, const int8_t *y"
    (folder / "check.c").write_text(
        f'#include "reconstruction.h"\nint abnormal({takes});\nfloat error({takes});\n'
        f"int abnormal({takes}) {{ return penjing_is_abnormal(x, y); }}\n"
        f"float error({takes}) {{ return penjing_error(x, y); }}\n"
    )
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-shared", "-fPIC", f"-I{export}"]
    subprocess.run(["cc", *flags, "-o", folder / "check.so", folder / "check.c"], check=True)
    library = ctypes.CDLL(str(folder / "check.so"))
    library.error.restype = ctypes.c_float
    return library


def test_c_calls_the_golden_rows_as_predict_does(export: Path, summary: dict[str, Any], tmp_path: Path) -> None:
    library = c_library(export, tmp_path)
    raw = np.load(export / "golden" / "inputs_raw.npy")
    fed, answered = (np.load(export / "golden" / f"{name}.npy") for name in ("inputs_quantized", "outputs_expected"))
    runtime = LiteRT((export / "model.tflite").read_bytes())
    values = runtime.dequantize(answered)
    errors = np.mean((values - raw.reshape(len(raw), -1) / 255) ** 2, axis=1)
    called = [
        library.abnormal(row.ctypes.data_as(ctypes.c_void_p), answer.ctypes.data_as(ctypes.c_void_p))
        for row, answer in zip(fed, answered, strict=True)
    ]
    assert called == (errors > summary["reconstruction"]["threshold"]).tolist()
    assert 0 < sum(called) < len(called)


def test_c_decides_the_row_whose_error_is_the_threshold_as_predict_does(
    workdir: Path, export: Path, summary: dict[str, Any], penjing: Run, tmp_path: Path
) -> None:
    pixels, _ = rows(workdir, "validation")
    np.save(tmp_path / "rows.npy", pixels)
    told = penjing("predict", "odd", tmp_path / "rows.npy", "--json", "--workdir", workdir)
    said = json.loads(told.stdout)
    library = c_library(export, tmp_path)
    fed = (pixels.astype(int) - 128).astype(np.int8)
    answered = LiteRT((export / "model.tflite").read_bytes()).invoke(fed)
    pointers = [[each.ctypes.data_as(ctypes.c_void_p) for each in both] for both in zip(fed, answered, strict=True)]
    assert [library.error(*both) for both in pointers] == [each["error"] for each in said]
    called = [library.abnormal(*both) for both in pointers]
    assert called == [int(each["label"] == "abnormal") for each in said]
    assert np.mean(called) == pytest.approx(summary["reconstruction"]["validation_false_alarm_fraction"])
    assert summary["reconstruction"]["threshold"] in [each["error"] for each in said]


def test_report_and_card_tell_of_abnormal_rows(workdir: Path, export: Path, summary: dict[str, Any]) -> None:
    report = (workdir / "odd" / "report.html").read_text()
    for told in ("Normal and abnormal rows", "figure-errors", "figure-roc", "What the model gives back for row"):
        assert told in report
    card = (export / "MODEL_CARD.md").read_text()
    threshold = summary["reconstruction"]["threshold"]
    assert f"Rows count as abnormal above an error of {threshold:.5g}" in card
    assert "`penjing_is_abnormal(input, output)`" in card
    assert "R², normal rows of the test split" in card

"""Inputs that never change leave the model; the bundle says which stay, in JSON and in C."""

from __future__ import annotations

import ctypes
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from models.tflite.interpreter import LiteRT
from tests.cli.small_run import Run

CONFIG = """\
name: inputs
seed: 1
task: classification
data: {source: builtin, name: digits}
model: {family: mlp, units: [32]}
train: {epochs: 4, batch_size: 32, optimizer: {learning_rate: 0.01}}
prune: {unit: node, inputs: varying, sparsity: 0.25, epochs: 1, recovery_epochs: 1, batch_size: 32, distillation: {}}
cluster: {clusters: 16, epochs: 1, batch_size: 32}
quantize: {precision: int8, aware: {epochs: 1, batch_size: 32}}
convert: {variants: [float32]}
"""


@pytest.fixture(scope="module")
def workdir(penjing: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "inputs.yaml").write_text(CONFIG)
    told = penjing("run", folder / "inputs.yaml", "--workdir", folder / "runs")
    assert told.returncode == 0, told.stdout + told.stderr
    return folder / "runs"


def test_the_model_takes_the_pixels_that_vary(workdir: Path) -> None:
    export = workdir / "inputs" / "export"
    keys = json.loads((workdir / "inputs" / "run.json").read_text())["keys"]
    stored = workdir / "store" / "ingest" / keys["ingest"]
    pixels = np.load(stored / "train_x.npy").reshape(-1, 64)
    varying = np.flatnonzero((pixels != pixels[0]).any(axis=0))
    assert 32 < len(varying) < 64
    kept = json.loads((export / "preprocessing.json").read_text())["kept_inputs"]
    assert kept == varying.tolist()
    runtime = LiteRT((export / "model.tflite").read_bytes())
    assert runtime.input.shape == (1, len(varying))
    rows = np.load(stored / "test_x.npy").reshape(-1, 64)[:, varying]
    accuracy = np.mean(
        runtime.invoke((rows.astype(int) - 128).astype(np.int8)).argmax(1) == np.load(stored / "test_y.npy")
    )
    summary = json.loads((export / "summary.json").read_text())
    assert accuracy == summary["model_score"] > 0.8
    assert summary["baseline_score"] > 0.8
    # The dense model is 64 × 32 + 32 + 32 × 10 + 10; 24 nodes stay.
    assert summary["parameters"] == len(varying) * 24 + 24 + 24 * 10 + 10


def test_c_picks_the_same_pixels(workdir: Path, tmp_path: Path) -> None:
    export = workdir / "inputs" / "export"
    library = tmp_path / "preprocessing.so"
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion", "-shared", "-fPIC"]
    subprocess.run(["cc", *flags, "-o", library, export / "preprocessing.c"], check=True)
    pick = ctypes.CDLL(str(library)).penjing_preprocess
    raw, expected = (np.load(export / "golden" / name) for name in ("inputs_raw.npy", "inputs_quantized.npy"))
    for pixels, fed in zip(raw, expected, strict=True):
        picked = np.zeros(fed.size, np.uint8)
        pick(np.ascontiguousarray(pixels).ctypes.data_as(ctypes.c_char_p), picked.ctypes.data_as(ctypes.c_char_p))
        np.testing.assert_array_equal(picked.astype(int) - 128, fed.ravel())


def test_predictions_take_whole_images(workdir: Path, penjing: Run, tmp_path: Path) -> None:
    export = workdir / "inputs" / "export"
    np.save(tmp_path / "rows.npy", np.load(export / "golden" / "inputs_raw.npy"))
    told = penjing("predict", "inputs", tmp_path / "rows.npy", "--json", "--workdir", workdir)
    assert told.returncode == 0, told.stderr
    labels = [int(each["label"]) for each in json.loads(told.stdout)]
    assert labels == np.load(export / "golden" / "outputs_expected.npy").argmax(1).tolist()


def test_the_report_and_the_card_tell(workdir: Path) -> None:
    export = workdir / "inputs" / "export"
    told = "inputs are the same in every training row: the model takes the other"
    assert told in (export / "report.html").read_text()
    card = (export / "MODEL_CARD.md").read_text()
    assert "of the numbers of an image of 8 × 8 × 1" in card
    assert "`model_data.cc` and `preprocessing.c`" in card


def test_a_cnn_reads_every_place(penjing: Run, tmp_path: Path) -> None:
    config = tmp_path / "cnn.yaml"
    config.write_text(CONFIG.replace("{family: mlp, units: [32]}", "{family: cnn}"))
    told = penjing("validate", config)
    assert told.returncode == 2
    assert "prune.inputs: expected all with a cnn, got varying." in " ".join((told.stdout + told.stderr).split())

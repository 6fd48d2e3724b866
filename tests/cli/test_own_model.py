"""A model of one's own through the whole pipeline: a file as it came, a function trained; and what is refused."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.architectures.dropout import StatelessDropout
from models.legacy_keras import keras
from tests.cli.small_run import Run, states

FILE = """\
name: own
seed: 3
task: classification
data: {source: builtin, name: iris}
model: {file: models/net.keras}
prune: {sparsity: 0.3, epochs: 2, recovery_epochs: 1, batch_size: 16}
quantize: {precision: int8}
"""
BUILDER = """\
name: built
seed: 3
task: classification
data: {source: builtin, name: iris}
model: {builder: nets:network, arguments: {units: 10}}
train: {epochs: 6, batch_size: 16, optimizer: {learning_rate: 0.02}}
prune: {sparsity: 0.3, epochs: 2, recovery_epochs: 1, batch_size: 16}
quantize: {precision: int8}
"""
NETS = """\
from tensorflow import keras
from parts import activation

def network(schema, units):
    x = keras.Input(schema.input_shape)
    h = keras.layers.Dense(units, activation=activation(), name="hidden")(x)
    h = keras.layers.Dropout(0.1)(h)
    return keras.Model(x, keras.layers.Dense(schema.num_classes, activation="softmax", name="answer")(h))
"""


def network(units: int = 3, width: int = 4) -> Any:
    keras.utils.set_random_seed(2)
    hidden = keras.layers.Dense(12, activation="relu", name="hidden")
    answer = keras.layers.Dense(units, activation="softmax", name="answer")
    return keras.Sequential([keras.Input((width,)), hidden, keras.layers.Dropout(0.1), answer])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a config for each of the two kinds, and what they name."""
    (tmp_path / "models").mkdir()
    network().save(tmp_path / "models" / "net.keras")
    (tmp_path / "own.yaml").write_text(FILE)
    (tmp_path / "built.yaml").write_text(BUILDER)
    (tmp_path / "nets.py").write_text(NETS)
    (tmp_path / "parts.py").write_text("def activation():\n    return 'relu'\n")
    return tmp_path


def kept(workdir: Path, name: str, stage: str) -> Path:
    keys = json.loads((workdir / name / "run.json").read_text())["keys"]
    return workdir / "store" / stage / keys[stage]


def test_a_file_goes_to_a_bundle_without_being_trained(penjing: Run, folder: Path) -> None:
    workdir = folder / "runs"
    told = penjing("run", folder / "own.yaml", "--workdir", workdir, cwd=folder.parent)
    assert told.returncode == 0, told.stdout + told.stderr
    summary = json.loads((workdir / "own" / "export" / "summary.json").read_text())
    assert [row["stage"] for row in summary["ledger"]][:2] == ["build", "prune"]
    # The dense model is the file's: bit for bit the same weights, and the score that it came with.
    model = keras.models.load_model(kept(workdir, "own", "build") / "model.keras")
    assert isinstance(model.layers[2], StatelessDropout)
    floats = [array for array in model.get_weights() if array.dtype == np.float32]  # dropout's counter left out
    for found, original in zip(floats, network().get_weights(), strict=True):
        np.testing.assert_array_equal(found, original)
    assert summary["parameters"] == 4 * 12 + 12 + 12 * 3 + 3
    report = (workdir / "own" / "report.html").read_text()
    assert "a network from net.keras" in report
    assert "none: the model is taken as trained" in report
    assert "a network from net.keras" in (workdir / "own" / "export" / "MODEL_CARD.md").read_text()
    # Nothing changed: nothing runs. Other bytes in the file: its stage and what follows run.
    assert set(states(penjing, folder / "own.yaml", workdir).values()) == {("cached", "")}
    time.sleep(2.1)  # a digest is remembered by time and size
    network().save(folder / "models" / "net.keras")
    planned = states(penjing, folder / "own.yaml", workdir)
    assert planned["ingest"] == ("cached", "")
    assert planned["build"] == ("runs", "source changed")
    assert "train" not in planned
    # Trained on where the config says so.
    planned = states(penjing, folder / "own.yaml", workdir, "model.fine_tune=true", "train.epochs=2")
    assert planned["train"][0] == "runs"


def test_a_function_is_built_and_trained_to_a_bundle(penjing: Run, folder: Path) -> None:
    workdir = folder / "runs"
    told = penjing("run", folder / "built.yaml", "--workdir", workdir)
    assert told.returncode == 0, told.stdout + told.stderr
    details = json.loads((kept(workdir, "built", "build") / "manifest.json").read_text())["details"]
    assert (details["family"], details["builder"]) == ("builder", "nets:network")
    assert [layer["type"] for layer in details["layers"]] == ["Dense", "StatelessDropout", "Dense"]
    assert "a network by nets:network" in (workdir / "built" / "report.html").read_text()
    # A comment does not count; code does, beside the module too; and so do arguments.
    (folder / "nets.py").write_text(f"# a network\n{NETS}")
    assert set(states(penjing, folder / "built.yaml", workdir).values()) == {("cached", "")}
    planned = states(penjing, folder / "built.yaml", workdir, "model.arguments.units=11")
    assert planned["build"] == ("runs", "model.arguments.units changed from 10 to 11")
    (folder / "parts.py").write_text("def activation():\n    return 'tanh'\n")
    assert states(penjing, folder / "built.yaml", workdir)["build"] == ("runs", "source changed")


def refused(penjing: Run, config: Path, *overrides: str) -> str:
    told = penjing("run", config, *overrides, "--workdir", config.parent / "runs")
    assert told.returncode == 2, told.stdout + told.stderr
    assert "Traceback" not in told.stderr
    assert "train    runs" not in told.stdout
    errors = [line for line in told.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    return errors[0]


def test_refusals_come_before_any_training_with_their_line(penjing: Run, folder: Path) -> None:
    own, built = folder / "own.yaml", folder / "built.yaml"
    network(width=5).save(folder / "models" / "wide.keras")
    assert refused(penjing, own, f"model.file={folder}/models/wide.keras") == (
        f"error: override model.file={folder}/models/wide.keras: model.file: expected an input of shape (4,), "
        f"got (5,). "
        "The data's rows are vectors of standardized features; give the model such an input."
    )
    (folder / "nets.py").write_text("def network(schema, units):\n    print('made')\n")
    assert refused(penjing, built) == (
        f"error: {built}:5: model.builder: expected an uncompiled functional or sequential tf_keras model, got nothing "
        "(None). Return the keras.Model."
    )
    (folder / "nets.py").unlink()
    assert refused(penjing, built).startswith(
        f"error: {built}:5: model.builder: expected nets.py in '{folder}', got none"
    )


def test_later_stages_run_code_that_is_allowed(penjing: Run, folder: Path) -> None:
    inputs = keras.Input((4,))
    hidden = keras.layers.Lambda(lambda x: x * 2.0, name="twice")(keras.layers.Dense(6, activation="relu")(inputs))
    keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(hidden)).save(folder / "models" / "net.keras")
    (folder / "own.yaml").write_text(FILE.replace("net.keras", "net.keras, allow: [twice]"))
    told = penjing("run", folder / "own.yaml", "--to", "prune", "--workdir", folder / "runs")
    assert told.returncode == 0, told.stdout + told.stderr
    assert "code allowed in twice" in (folder / "runs" / "own" / "report.html").read_text()

"""Models on disk, opened by a process that has built none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from data.contract import Schema, StoreError
from models.architectures.builder import build
from models.autoencoder_config import AutoencoderConfig
from models.config import BlockConfig, CnnConfig, LinearConfig, MlpConfig, NetworkConfig
from models.field_types import Activation
from models.legacy_keras import keras
from models.rnn_config import RnnConfig
from pipeline.artifacts import ModelRecord, SavedModel, save_model
from pipeline.lineage import refuse_planted_code

ROOT = Path(__file__).resolve().parents[2]


def test_layers_of_the_project_s_own_are_known_to_whoever_opens_a_model(tmp_path: Path) -> None:
    """As in a run whose training is cached and whose stage convert is not."""
    schema = Schema(
        kind="vector", input_shape=(4,), input_range=None, storage_divisor=1.0, class_names=("a", "b"), target_name="y"
    )
    network = MlpConfig(family="mlp", units=(3,), activation="hard_swish", dropout_fraction=0.2)
    model = build(network, schema, "classification", 1)
    save_model(tmp_path, model, ModelRecord(task="classification", data_schema=schema))
    program = (
        "import sys; from pathlib import Path; from pipeline.artifacts import SavedModel\n"
        "print(*[type(layer).__name__ for layer in SavedModel.open(Path(sys.argv[1]), 'train').load().layers])"
    )
    told = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr
    assert told.stdout.split() == ["InputLayer", "Dense", "StatelessDropout", "Dense"]


CNN = CnnConfig(
    family="cnn",
    blocks=(
        BlockConfig(filters=4),
        BlockConfig(filters=4, residual=True, separable=True),
        BlockConfig(filters=6, residual=True, stride=2),
    ),
    activation="hard_swish",
    head="dense",
    head_units=(4,),
)
NETWORKS: list[tuple[NetworkConfig, str]] = [
    (LinearConfig(family="linear"), "classification"),
    *((MlpConfig(family="mlp", units=(3,), activation=each), "regression") for each in get_args(Activation)),
    (CNN, "classification"),
    (CnnConfig(family="cnn"), "classification"),
    *(
        (RnnConfig(family="rnn", cell=cell, units=(3, 2), bidirectional=both, pooling=pooling), "classification")
        for cell in ("lstm", "gru", "simple")
        for both, pooling in ((True, "last"), (False, "mean"))
    ),
    (RnnConfig(family="rnn", units=(3,), head_units=(2,), dropout_fraction=0.5), "regression"),
    (AutoencoderConfig(family="autoencoder", units=(6,), bottleneck=2), "reconstruction"),
    (AutoencoderConfig(family="autoencoder", units=(6,), bottleneck=2), "clustering"),
    (AutoencoderConfig(family="autoencoder", kind="convolutional", bottleneck=2), "reconstruction"),
]


@pytest.mark.parametrize(("network", "task"), NETWORKS)
def test_networks_of_the_project_s_own_are_taken_for_no_foreign_code(
    network: NetworkConfig, task: str, tmp_path: Path
) -> None:
    pixels = {"kind": "image", "input_shape": (8, 8, 1), "input_range": (0.0, 1.0), "storage_divisor": 255.0}
    names = ("a", "b", "c") if task == "classification" else ()
    schema = Schema.model_validate({**pixels, "class_names": names, "target_name": "y"})
    build(network, schema, task, 1, 3 if task == "clustering" else None).save(tmp_path / "model.keras")
    refuse_planted_code(tmp_path / "model.keras", "train", allow_code=False)


def test_record_that_claims_leave_to_run_code_gives_none(tmp_path: Path) -> None:
    schema = Schema(
        kind="vector", input_shape=(4,), input_range=None, storage_divisor=1.0, class_names=("a", "b"), target_name="y"
    )
    bomb = keras.layers.Lambda(lambda x: 2 * x, name="twice", output_shape=(4,))
    model = keras.Sequential([keras.layers.Input((4,)), bomb, keras.layers.Dense(2, activation="softmax")])
    record = ModelRecord(task="classification", data_schema=schema, foreign_layers=("twice",))
    save_model(tmp_path, model, record)
    with pytest.raises(StoreError, match=r"got Python byte code \(a Lambda layer\) in layer 'twice'"):
        refuse_planted_code(tmp_path / "model.keras", "train", allow_code=False)
    with pytest.raises(ValueError, match="safe_mode"):
        SavedModel.open(tmp_path, "train").load()
    refuse_planted_code(tmp_path / "model.keras", "train", allow_code=True)
    loaded = SavedModel.open(tmp_path, "train", allow_code=True).load()
    assert loaded.layers[0].name == "twice"

"""Models on disk, opened by a process that has built none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from data.contract import Schema
from models.architectures.builder import build
from models.config import MlpConfig
from pipeline.artifacts import ModelRecord, save_model

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

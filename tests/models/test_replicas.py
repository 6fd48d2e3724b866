"""Replicas that share each batch against one network that takes all of it: in a process with two logical CPUs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data.batches import ArrayBatches
from data.contract import Part, Schema
from models.architectures.builder import build
from models.architectures.dropout import StatelessDropout
from models.config import BlockConfig, CnnConfig, MlpConfig, OptimizerConfig, RegularizationConfig
from models.legacy_keras import tf, use_determinism
from models.replicas import Replicas
from models.shares import RowShare, sharing
from models.tasks import task_for
from models.training import TrainingSettings, train

SCHEMA = Schema(
    kind="image",
    input_shape=(8, 8, 1),
    input_range=(0.0, 1.0),
    storage_divisor=1.0,
    class_names=("a", "b", "c"),
    target_name="class",
)
BLOCKS = (BlockConfig(filters=3, pool=2), BlockConfig(filters=4, separable=True))
CASES = {
    "mlp": (MlpConfig(family="mlp", units=(8, 8), dropout_fraction=0.2), "nesterov"),
    "cnn": (CnnConfig(family="cnn", blocks=BLOCKS, head_units=(6,), dropout_fraction=0.2), "rmsprop"),
}
EPOCHS = 17


def trained(name, replicas=None):
    """What a training of 6 steps an epoch comes to; the last batch has a single row, so one replica has none."""
    use_determinism(1)
    generator = np.random.default_rng(5)
    y = generator.integers(0, 3, 201).astype(np.int32)
    x = (generator.random((201, 8, 8, 1)) * 0.5 + y[:, None, None, None] / 8).astype(np.float32)
    config, optimizer = CASES[name]
    model = build(config, SCHEMA, "classification", 1)
    settings = TrainingSettings(
        epochs=EPOCHS,
        optimizer=OptimizerConfig(name=optimizer, learning_rate=0.01, warmup_steps=5),
        seed=1,
        class_weights=(1.0, 2.0, 0.5),
        regularization=RegularizationConfig(l1=1e-3, l2=1e-3),
    )
    batches = ArrayBatches(x, y, 40, 3)
    result = train(model, batches, (x, y), task_for("classification"), settings, replicas=replicas)
    return {
        "losses": [record.loss for record in result.history],
        "norms": [record.gradient_norm for record in result.history],
        "scores": [record.score for record in result.history],
        "weights": [weight.tolist() for weight in model.get_weights()],
    }


def main() -> None:
    """Trains every case on two logical CPUs, and prints what came of it."""
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )
    replicas = Replicas(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
    print(json.dumps({name: trained(name, replicas) for name in CASES}))


@pytest.fixture(scope="module")
def mirrored():
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", "from tests.models.test_replicas import main; main()"]
    told = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", CASES)
def test_two_replicas_learn_what_one_does(name, mirrored):
    alone, shared = trained(name), mirrored[name]
    assert len(alone["losses"]) * 6 >= 100
    for what in ("losses", "norms"):
        np.testing.assert_allclose(shared[what], alone[what], rtol=0, atol=1e-4)
    assert shared["scores"] == alone["scores"]
    # Also what batch normalization remembers, and the steps that dropout counts.
    for own, other in zip(alone["weights"], shared["weights"], strict=True):
        np.testing.assert_allclose(other, own, rtol=0, atol=1e-3)
    zeros = [int(np.sum(np.array(weight) == 0.0)) for weight in alone["weights"]]
    assert [int(np.sum(np.array(weight) == 0.0)) for weight in shared["weights"]] == zeros


@pytest.mark.parametrize(("total", "expected"), [(7, [(0, 2), (2, 2), (4, 3)]), (2, [(0, 0), (0, 1), (1, 1)])])
def test_the_rows_of_a_share(total, expected):
    shares = [RowShare(replica, 3, tf.constant(total)) for replica in range(3)]
    assert [(int(share.first), int(share.rows)) for share in shares] == expected
    assert shares[0].row_counts.numpy().tolist() == [rows for _, rows in expected]
    assert [float(share.fraction) for share in shares] == pytest.approx([rows / total for _, rows in expected])
    assert [Part(index, 3).rows(total) for index in range(3)] == [(first, first + rows) for first, rows in expected]


def test_each_replica_drops_what_its_rows_would_lose_in_the_whole_batch():
    rows = np.ones((7, 50), np.float32)
    whole = StatelessDropout(0.5, 3)(rows, training=True).numpy()
    assert 0.3 < np.mean(whole == 0.0) < 0.7
    for replica in range(3):
        share = RowShare(replica, 3, tf.constant(7))
        first, end = Part(replica, 3).rows(7)

        def drop(part, share=share):
            layer = StatelessDropout(0.5, 3)
            with sharing(share):
                return layer(part, training=True)

        assert np.array_equal(drop(rows[first:end]).numpy(), whole[first:end])

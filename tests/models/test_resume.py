from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest

from data.contract import TrainingError
from models.architectures.builder import build
from models.config import BlockConfig, CnnConfig, MlpConfig, OptimizerConfig, StopConfig
from models.legacy_keras import tf
from models.rnn_config import RnnConfig
from models.tasks import task_for
from models.training import TrainingSettings, train

TASK = task_for("classification")


def settings(epochs=4, name="adam", rate=0.01, stop=StopConfig()):  # noqa: B008 - frozen
    optimizer = OptimizerConfig(name=name, learning_rate=rate)
    return TrainingSettings(epochs=epochs, optimizer=optimizer, seed=1, stop=stop)


def mlp(schema, units=(8,)):
    return build(MlpConfig(family="mlp", units=units), schema, "classification", 1)


class ScriptedScores:
    """The task's loss, and scores read from a list."""

    def __init__(self, scores):
        self.scores = iter(scores)
        self.loss = TASK.loss

    def score(self, y, outputs):
        return next(self.scores)


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first.get_weights(), second.get_weights(), strict=True))


def small_cnn(schema):
    blocks = (BlockConfig(filters=3, pool=2), BlockConfig(filters=4, separable=True))
    return build(CnnConfig(family="cnn", blocks=blocks), schema, "classification", 1)


@pytest.fixture
def images():
    generator = np.random.default_rng(5)
    y = generator.integers(0, 3, 90).astype(np.int32)
    return (generator.random((90, 8, 8, 1)) * 0.5 + y[:, None, None, None] / 8).astype(np.float32), y


@pytest.mark.parametrize(("name", "killed_after"), [("adam", 1), ("adam", 3), ("adam", 4), ("momentum", 2)])
def test_resume_after_any_epoch_ends_with_the_same_bits(
    name, killed_after, image_schema, images, memory_batches, checkpoints, killed
):
    def run(model, kept):
        return train(model, memory_batches(*images, 32), images, TASK, settings(4, name), checkpoints=kept)

    whole = small_cnn(image_schema)
    expected = run(whole, None)
    checkpoints.kill_after = killed_after
    with pytest.raises(killed):
        run(small_cnn(image_schema), checkpoints)
    place = f"epoch {killed_after + 1}" if killed_after < 4 else "the end of training"
    assert checkpoints.load()[1]["resumes_at"] == place
    resumed = small_cnn(image_schema)
    result = run(resumed, checkpoints)
    assert same(resumed, whole)
    assert [(r.epoch, r.loss, r.score, r.learning_rate) for r in result.history] == [
        (r.epoch, r.loss, r.score, r.learning_rate) for r in expected.history
    ]
    assert (result.best_epoch, result.best_score) == (expected.best_epoch, expected.best_score)
    assert checkpoints.saves == 4  # no epoch twice, none after the last


@pytest.mark.parametrize("cell", ["lstm", "gru", "simple"])
def test_a_recurrent_network_resumes_with_the_same_bits(
    cell, image_schema, images, memory_batches, checkpoints, killed
):
    def network():
        config = RnnConfig(family="rnn", cell=cell, units=(5,), bidirectional=cell == "lstm", dropout_fraction=0.2)
        return build(config, image_schema, "classification", 1)

    def run(model, kept):
        train(model, memory_batches(*images, 32), images, TASK, settings(2), checkpoints=kept)

    whole, resumed = network(), network()
    run(whole, None)
    checkpoints.kill_after = 1
    with pytest.raises(killed):
        run(network(), checkpoints)
    run(resumed, checkpoints)
    assert same(resumed, whole)


def test_patience_survives_a_resume(vector_schema, blobs, memory_batches, checkpoints, killed):
    checkpoints.kill_after = 2
    batches, patient = memory_batches(*blobs, 64), settings(9, stop=StopConfig(patience=3))
    with pytest.raises(killed):
        train(mlp(vector_schema), batches, blobs, ScriptedScores([0.9, 0.1]), patient, checkpoints=checkpoints)
    model = mlp(vector_schema)
    result = train(model, batches, blobs, ScriptedScores([0.2, 0.3]), patient, checkpoints=checkpoints)
    assert (len(result.history), result.stopped_by, result.best_epoch, result.best_score) == (4, "patience", 1, 0.9)
    again = mlp(vector_schema)
    train(again, batches, blobs, ScriptedScores([]), patient, checkpoints=checkpoints)
    assert same(again, model)


@pytest.mark.parametrize(
    ("changed", "units", "message"),
    [
        ({"epochs": 5}, (8,), "checkpoint.epochs: expected 5, got 4: it was kept by another training."),
        ({"rate": 0.5}, (8,), "checkpoint.optimizer: expected {'name': 'adam', 'learning_rate': 0.5,"),
        ({}, (9,), "checkpoint.shapes: expected "),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(
    changed, units, message, vector_schema, blobs, memory_batches, checkpoints
):
    batches = memory_batches(*blobs, 64)
    train(mlp(vector_schema), batches, blobs, TASK, settings(), checkpoints=checkpoints)
    with pytest.raises(TrainingError, match=re.escape(message)):
        train(mlp(vector_schema, units), batches, blobs, TASK, settings(**changed), checkpoints=checkpoints)


def test_what_is_no_state_of_a_training_is_refused(vector_schema, blobs, memory_batches, checkpoints):
    """Anybody who can write to the work directory can make a digest that fits."""
    batches = memory_batches(*blobs, 64)
    train(mlp(vector_schema), batches, blobs, TASK, settings(), checkpoints=checkpoints)
    arrays, state = checkpoints.load()
    record = state["history"][0]
    forged = [
        ({}, state),
        ({**arrays, "model/0": arrays["model/0"][:1]}, state),
        (arrays, {"fingerprint": state["fingerprint"]}),
        (arrays, {**state, "fingerprint": [1]}),
        (arrays, {**state, "history": [{**record, "loss": "low"}]}),
        (arrays, {**state, "history": [{"epoch": 1}]}),
        (arrays, {**state, "best_epoch": None}),
        (arrays, {**state, "best_score": "high"}),
    ]
    for each in forged:
        checkpoints.save(*each)
        with pytest.raises(TrainingError, match=r"^checkpoint: expected the state of a training, got something else"):
            train(mlp(vector_schema), batches, blobs, TASK, settings(), checkpoints=checkpoints)


CHILD = """
import os, pickle, sys
from pathlib import Path
import numpy as np
from data.contract import Schema
from models.architectures.builder import build
from models.config import BlockConfig, CnnConfig, OptimizerConfig
from models.legacy_keras import use_determinism
from models.tasks import task_for
from models.training import TrainingSettings, train

state, last = Path(sys.argv[1]), int(sys.argv[2])

class Checkpoints:
    saves = 0
    def save(self, arrays, kept):
        state.write_bytes(pickle.dumps((dict(arrays), kept)))
        self.saves += 1
        if self.saves == last:
            os._exit(9)
    def load(self):
        return pickle.loads(state.read_bytes()) if state.exists() else None

class Rows:
    num_rows, num_batches, batch_size = 96, 3, 32
    def batch(self, epoch, index):
        return self.stored(epoch, index, 1)
    divisor = 1.0
    def stored(self, epoch, index, count):
        chosen = np.random.default_rng([7, epoch]).permutation(96)[index * 32 : (index + count) * 32]
        return x[chosen], y[chosen]

use_determinism(1)
generator = np.random.default_rng(5)
x, y = generator.random((96, 8, 8, 1)).astype(np.float32), generator.integers(0, 3, 96).astype(np.int32)
schema = Schema(kind="image", input_shape=(8, 8, 1), input_range=(0.0, 1.0), storage_divisor=255.0,
                class_names=("a", "b", "c"), target_name="class")
blocks = (BlockConfig(filters=3, pool=2), BlockConfig(filters=4, separable=True))
model = build(CnnConfig(family="cnn", blocks=blocks), schema, "classification", 1)
settings = TrainingSettings(epochs=4, optimizer=OptimizerConfig(), seed=1)
train(model, Rows(), (x, y), task_for("classification"), settings, checkpoints=Checkpoints())
np.savez(sys.argv[3], *model.get_weights())
"""


def test_resume_in_another_process_ends_with_the_same_bits(tmp_path):
    def start(state, last, out):
        command = [sys.executable, "-c", CHILD, str(tmp_path / state), str(last), str(tmp_path / out)]
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    whole, killed = start("whole", 0, "whole.npz"), start("killed", 2, "none.npz")
    errors = whole.communicate()[1]
    assert whole.returncode == 0, errors
    killed.communicate()
    assert killed.returncode == 9
    resumed = start("killed", 0, "resumed.npz")
    errors = resumed.communicate()[1]
    assert resumed.returncode == 0, errors
    with np.load(tmp_path / "whole.npz") as first, np.load(tmp_path / "resumed.npz") as second:
        assert len(first.files) == len(second.files) == 17
        for name in first.files:
            assert first[name].tobytes() == second[name].tobytes()


# --------------------------------------------------------------------------------- constraints


class Halves:
    """Holds the kernel's first row at a value that each update halves."""

    stopped_by = None

    def __init__(self, kernel, update_steps, settled_step):
        self.kernel, self.update_steps, self.settled_step = kernel, update_steps, settled_step
        self.value = tf.Variable(8.0)
        self.variables = (self.value,)
        self.updates = []

    def update(self, step):
        self.updates.append((step, self.kernel.numpy()[0, 0]))
        self.value.assign(self.value / 2)
        self.apply()

    def apply(self):
        self.kernel[0].assign(tf.fill([self.kernel.shape[1]], self.value))


def test_constraints_are_updated_at_their_steps_and_hold(vector_schema, memory_batches, checkpoints, killed):
    generator = np.random.default_rng(1)
    x, y = generator.normal(size=(200, 6)).astype(np.float32), generator.integers(0, 3, 200).astype(np.int32)
    batches = memory_batches(x, y, 5)  # 40 steps an epoch

    def run(steps, settled, kept=None):
        model = mlp(vector_schema)
        constraint = Halves(model.get_layer("dense_1").kernel, steps, settled)
        scores = ScriptedScores([0.9, 0.5, 0.5, 0.4][0 if kept is None or kept.saves == 0 else kept.saves :])
        try:
            result = train(model, batches, (x, y), scores, settings(4), constraint=constraint, checkpoints=kept)
        except killed:
            result = None
        return model, constraint, result

    model, constraint, result = run((3, 40, 41, 73), 73)
    # Each update finds what the one before it left: steps in between kept to it.
    assert constraint.updates == [(3, 8.0), (40, 4.0), (41, 2.0), (73, 1.0)]
    assert result.best_epoch == 2  # 0.9 came before it settled; of the two 0.5 the earlier
    assert np.all(model.get_layer("dense_1").kernel.numpy()[0] == 0.5)
    checkpoints.kill_after = 1
    run((3, 40, 41, 73), 73, checkpoints)
    resumed, constraint, _ = run((3, 40, 41, 73), 73, checkpoints)
    assert constraint.updates == [(41, 2.0), (73, 1.0)]
    assert same(resumed, model)


def test_stop_rules_wait_for_a_constraint(vector_schema, blobs, memory_batches):
    model = mlp(vector_schema)
    constraint = Halves(model.get_layer("dense_1").kernel, (9,), 9)  # 3 steps an epoch
    stop = StopConfig(patience=1, loss_below=1e9)
    result = train(model, memory_batches(*blobs, 64), blobs, TASK, settings(5, stop=stop), constraint=constraint)
    assert (len(result.history), result.stopped_by, result.best_epoch) == (3, "loss_below", 3)


def test_too_few_epochs_for_a_constraint(vector_schema, blobs, memory_batches):
    model = mlp(vector_schema)
    constraint = Halves(model.get_layer("dense_1").kernel, (13,), 13)
    message = "train.epochs: expected at least 13 steps for the constraint to settle, got 12. Train for more epochs."
    with pytest.raises(TrainingError, match=re.escape(message)):
        train(model, memory_batches(*blobs, 64), blobs, TASK, settings(4), constraint=constraint)

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, log_loss, r2_score

from data.contract import ConfigError
from models.config import RegularizationConfig
from models.legacy_keras import keras, tf
from models.regularization import kernels_of, penalty
from models.tasks import r2, task_for


def test_accuracy_and_decisions():
    outputs = np.array([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2], [0.0, 0.1, 0.9], [1.0, 0.0, 0.0]], np.float32)
    y = np.array([1, 1, 2, 0], np.int32)
    task = task_for("classification")
    assert task.decide(outputs).tolist() == [1, 0, 2, 0]
    assert task.score(y, outputs) == accuracy_score(y, [1, 0, 2, 0]) == 0.75


def test_r2_is_scikit_learns():
    rng = np.random.default_rng(2)
    y, outputs = rng.normal(size=40).astype(np.float32), rng.normal(size=(40, 1)).astype(np.float32)
    task = task_for("regression")
    assert task.score(y, outputs) == pytest.approx(r2_score(np.float64(y), np.float64(outputs)), abs=1e-12)
    assert task.score(y * 3 + 5, task.decide(outputs) * 3 + 5) == pytest.approx(task.score(y, outputs), abs=1e-6)
    wide_y, wide = rng.normal(size=(40, 3)), rng.normal(size=(40, 3))
    assert r2(wide_y, wide) == pytest.approx(r2_score(wide_y, wide, multioutput="variance_weighted"), abs=1e-12)


@pytest.mark.parametrize(("answer", "expected"), [(2.0, 1.0), (2.5, 0.0)])
def test_r2_of_a_constant_target(answer, expected):
    y, outputs = np.full(4, 2.0), np.full((4, 1), answer)
    assert task_for("regression").score(y, outputs) == expected == r2_score(y, outputs)


def test_losses_against_scikit_learn_and_by_hand():
    probabilities = np.array([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2], [0.05, 0.05, 0.9]], np.float32)
    y, weights = np.array([1, 0, 2]), np.array([1.0, 2.0, 0.5], np.float32)
    loss = task_for("classification").loss
    assert float(loss(y, probabilities, None)) == pytest.approx(log_loss(y, probabilities), rel=1e-5)
    by_hand = -(np.log(0.5) + 2 * np.log(0.4) + 0.5 * np.log(0.9)) / 3
    assert float(loss(y, probabilities, weights)) == pytest.approx(by_hand, rel=1e-5)
    squared = task_for("regression").loss
    y, outputs = np.array([1.0, 2.0], np.float32), np.array([[0.0], [4.0]], np.float32)
    assert float(squared(y, tf.constant(outputs), None)) == 2.5
    assert float(squared(y, tf.constant(outputs), np.array([1.0, 0.5], np.float32))) == 1.5


def test_unknown_task():
    with pytest.raises(ConfigError, match=re.escape("task: expected classification or regression, got 'clustering'.")):
        task_for("clustering")


def test_tasks_and_shapes_import_no_tensorflow():
    code = "import sys, models.tasks, models.shapes, models.config; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_tensorflow_imported_too_early_is_said():
    code = (
        "import os, sys, types; os.environ.pop('TF_USE_LEGACY_KERAS', None); "
        "sys.modules['tensorflow'] = types.ModuleType('tensorflow'); import models.legacy_keras"
    )
    child = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert "environment.TF_USE_LEGACY_KERAS: expected '1' before TensorFlow is imported, got None" in child.stderr


def test_penalty_by_hand():
    kernels = [tf.constant([[1.0, -2.0]]), tf.constant([0.5])]
    assert float(penalty(RegularizationConfig(l1=0.1, l2=0.01), kernels)) == pytest.approx(0.1 * 3.5 + 0.01 * 5.25)
    assert float(penalty(RegularizationConfig(), kernels)) == 0.0
    with pytest.raises(ConfigError, match=r"train\.regularization: expected a model with Dense"):
        penalty(RegularizationConfig(l1=0.1), [])


def test_kernels_and_no_biases_are_penalized():
    inputs = keras.Input((8, 8, 2))
    maps = keras.layers.DepthwiseConv2D(3, name="depthwise")(keras.layers.Conv2D(4, 3, name="conv")(inputs))
    maps = keras.layers.BatchNormalization()(maps)
    model = keras.Model(inputs, keras.layers.Dense(3, name="output")(keras.layers.Flatten()(maps)))
    shapes = [tuple(kernel.shape) for kernel in kernels_of(model)]
    assert shapes == [(3, 3, 2, 4), (3, 3, 4, 1), (64, 3)]

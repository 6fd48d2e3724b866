from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    d2_absolute_error_score,
    f1_score,
    log_loss,
    r2_score,
)

from data.contract import ConfigError
from models.config import LossConfig, RegularizationConfig
from models.legacy_keras import keras, tf
from models.regularization import kernels_of, l1_penalty, l2_penalty, require_kernels
from models.tasks import d2, r2, task_for


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


def test_smoothed_and_focal_loss_by_hand():
    logits = np.array([[0.3, -1.0, 2.0], [4.0, 0.0, -2.0]])
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    y, weights = np.array([2, 1]), np.array([1.0, 3.0], np.float32)
    outputs = tf.constant(p, tf.float32)
    smoothed = task_for("classification", LossConfig(label_smoothing_fraction=0.3)).loss
    labels = 0.7 * np.eye(3)[y] + 0.1
    per_row = -(labels * np.log(p)).sum(axis=1)
    assert float(smoothed(y, outputs, None)) == pytest.approx(per_row.mean(), rel=1e-4)
    assert float(smoothed(y, outputs, weights)) == pytest.approx((per_row * weights).mean(), rel=1e-4)
    focal = task_for("classification", LossConfig(name="focal", focal_gamma=1.5)).loss
    q = p[[0, 1], y]
    per_row = -((1 - q) ** 1.5) * np.log(q)
    assert float(focal(y, outputs, None)) == pytest.approx(per_row.mean(), rel=1e-4)
    assert float(focal(y, outputs, weights)) == pytest.approx((per_row * weights).mean(), rel=1e-4)


@pytest.mark.parametrize(
    ("loss", "by_hand"),
    [
        (LossConfig(name="mse"), (0.25 + 4.0 + 9.0) / 3),
        (LossConfig(name="mae"), (0.5 + 2.0 + 3.0) / 3),
        (LossConfig(name="huber"), (0.125 + 1.5 + 2.5) / 3),
        (LossConfig(name="huber", huber_delta=2.5), (0.125 + 2.0 + 2.5 * (3.0 - 1.25)) / 3),
    ],
)
def test_losses_of_numbers_by_hand(loss, by_hand):
    y, outputs = np.array([1.0, 2.0, -1.0], np.float32), np.array([[0.5], [4.0], [2.0]], np.float32)
    assert float(task_for("regression", loss).loss(y, tf.constant(outputs), None)) == pytest.approx(by_hand)


def test_scores_are_scikit_learns():
    generator = np.random.default_rng(4)
    y, outputs = generator.integers(0, 4, 60), generator.random((60, 5))
    decided = outputs.argmax(axis=1)
    assert task_for("classification", metric="balanced_accuracy").score(y, outputs) == pytest.approx(
        np.mean([np.mean(decided[y == code] == code) for code in range(4)])
    )
    four = outputs[:, :4]
    decided = four.argmax(axis=1)
    balanced = task_for("classification", metric="balanced_accuracy").score(y, four)
    assert balanced == pytest.approx(balanced_accuracy_score(y, decided))
    macro = task_for("classification", metric="macro_f1").score(y, four)
    assert macro == pytest.approx(f1_score(y, decided, average="macro"))
    numbers, answers = generator.normal(size=50), generator.normal(size=(50, 1))
    expected = d2_absolute_error_score(numbers, answers)
    assert task_for("regression", metric="d2").score(numbers, answers) == pytest.approx(expected, abs=1e-12)
    assert (d2(np.ones(3), np.ones(3)), d2(np.ones(3), np.zeros(3))) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("name", "loss", "metric", "message"),
    [
        ("regression", LossConfig(name="focal"), None, "train.loss.name: expected one of mse, mae, huber, got focal."),
        ("classification", None, "r2", "metric: expected one of accuracy, balanced_accuracy, macro_f1, got r2."),
    ],
)
def test_what_another_task_has_is_refused(name, loss, metric, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        task_for(name, loss, metric)


def test_unknown_task():
    with pytest.raises(
        ConfigError,
        match=re.escape("task: expected classification or regression or reconstruction or clustering, got 'ranking'."),
    ):
        task_for("ranking")


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
    assert float(l1_penalty(0.1, kernels)) == pytest.approx(0.1 * 3.5)
    assert float(l2_penalty(0.01, kernels)) == pytest.approx(0.01 * 5.25)
    require_kernels(RegularizationConfig(), [])
    with pytest.raises(ConfigError, match=r"train\.regularization: expected a model with dense"):
        require_kernels(RegularizationConfig(l1=0.1), [])


def test_kernels_and_no_biases_are_penalized():
    inputs = keras.Input((8, 8, 2))
    maps = keras.layers.DepthwiseConv2D(3, name="depthwise")(keras.layers.Conv2D(4, 3, name="conv")(inputs))
    maps = keras.layers.BatchNormalization()(maps)
    model = keras.Model(inputs, keras.layers.Dense(3, name="output")(keras.layers.Flatten()(maps)))
    shapes = [tuple(kernel.shape) for kernel in kernels_of(model)]
    assert shapes == [(3, 3, 2, 4), (3, 3, 4, 1), (64, 3)]

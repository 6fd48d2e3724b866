"""Linear probes against scikit-learn, on what Keras answers."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from models.architectures.builder import build
from models.config import BlockConfig, CnnConfig, MlpConfig
from models.legacy_keras import keras
from models.linear_probe import STRENGTH, drawn, flat_features, probe, probe_answers
from models.prediction import predict
from models.tasks import task_for

CLASSES, NUMBERS = task_for("classification"), task_for("regression")


def test_the_probes_of_a_network_are_those_of_scikit_learn(vector_schema, blobs):
    x, y = blobs
    model = build(MlpConfig(family="mlp", units=(8, 5)), vector_schema, "classification", 1)
    found = probe(model, (x[:100], y[:100]), (x[100:], y[100:]), CLASSES)
    assert [(layer["layer"], layer["features"]) for layer in found] == [("input", 6), ("dense_1", 8), ("dense_2", 5)]
    for layer in found[1:]:
        answers = predict(keras.Model(model.input, model.get_layer(layer["layer"]).output), x)
        fitted = make_pipeline(StandardScaler(), LogisticRegression(C=1 / (STRENGTH * 100)))
        fitted.fit(answers[:100], y[:100])
        assert layer["score"] == pytest.approx(fitted.score(answers[100:], y[100:]))
    fitted = make_pipeline(StandardScaler(), LogisticRegression(C=1 / (STRENGTH * 100))).fit(x[:100], y[:100])
    assert found[0]["score"] == pytest.approx(fitted.score(x[100:], y[100:]))


def test_numbers_are_probed_by_ridge_regression():
    generator = np.random.default_rng(1)
    x = generator.normal(size=(80, 5)).astype(np.float32)
    y = (x @ [1, 2, 0, 0, -1] + generator.normal(size=80)).astype(np.float32)
    fitted = make_pipeline(StandardScaler(), Ridge(alpha=STRENGTH * 60)).fit(x[:60], y[:60])
    answers = probe_answers(x[:60], y[:60], x[60:])
    np.testing.assert_allclose(answers[:, 0], fitted.predict(x[60:]), rtol=1e-4)
    assert NUMBERS.score(y[60:], answers) == pytest.approx(fitted.score(x[60:], y[60:]), rel=1e-4)


def test_classes_that_no_row_has_and_features_that_do_not_vary():
    x = np.column_stack([np.arange(20), np.full(20, 3.0)]).astype(np.float32)
    y = np.repeat([1, 3], 10).astype(np.int32)
    answers = probe_answers(x, y, x)
    assert answers.shape == (20, 4)
    assert np.all(answers[:, [0, 2]] == 0.0)
    np.testing.assert_array_equal(answers.argmax(axis=1), y)
    alone = probe_answers(x, np.full(20, 2, np.int32), x[:4])
    np.testing.assert_array_equal(alone, np.tile([0.0, 0.0, 1.0], (4, 1)))


@pytest.mark.parametrize(
    ("shape", "side", "features"),
    [
        ((14, 14, 16), 2, 784),
        ((28, 28, 16), 4, 784),
        ((7, 7, 32), 2, 512),
        ((5, 5, 4), 1, 100),
        ((2, 2, 1500), 2, 1500),
    ],
)
def test_large_maps_are_averaged_over_the_smallest_squares_that_do(shape, side, features):
    inputs = keras.Input(shape)
    network = keras.Model(inputs, flat_features(inputs))
    assert network.output_shape == (None, features)
    rows = np.random.default_rng(1).random((2, *shape)).astype(np.float32)
    height, width, channels = shape
    cells = [
        rows[:, i : i + side, j : j + side].mean(axis=(1, 2))
        for i in range(0, height, side)
        for j in range(0, width, side)
    ]
    # Squares that do not fill at the border: Keras pads evenly, the smaller half first.
    if height % side == 0:
        np.testing.assert_allclose(predict(network, rows), np.concatenate(cells, axis=1), atol=1e-6)
    assert channels * len(cells) == features


def test_blocks_are_probed_behind_their_pooling(image_schema):
    model = build(CnnConfig(family="cnn", blocks=(BlockConfig(filters=3, pool=2),)), image_schema, "classification", 1)
    generator = np.random.default_rng(1)
    rows = generator.random((30, 8, 8, 1)).astype(np.float32), np.arange(30, dtype=np.int32) % 3
    found = probe(model, rows, rows, CLASSES)
    assert [(layer["layer"], layer["features"]) for layer in found] == [("input", 64), ("block_1", 48)]


def test_rows_are_drawn_once_and_in_order():
    chosen = drawn(100, 30, 7)
    assert len(set(chosen.tolist())) == 30
    assert np.all(np.diff(chosen) > 0)
    np.testing.assert_array_equal(chosen, drawn(100, 30, 7))
    assert not np.array_equal(chosen, drawn(100, 30, 8))
    np.testing.assert_array_equal(drawn(5, 30, 7), np.arange(5))

"""Every activation in int8: LiteRT against Keras, TFLite Micro against LiteRT."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from models.activations import ELEMENTWISE, activation, activation_name, hard_swish
from models.architectures.builder import build
from models.config import BlockConfig, CnnConfig, MlpConfig
from models.field_types import Activation
from models.legacy_keras import keras, tf
from models.prediction import predict
from models.tflite.audit import operator_details, operators
from models.tflite.convert import convert
from models.tflite.interpreter import LiteRT
from models.tflite.micro import MicroResult, run_micro

NAMES = get_args(Activation)
OWN_OPERATOR = {
    "leaky_relu": "LEAKY_RELU",
    "elu": "ELU",
    "sigmoid": "LOGISTIC",
    "tanh": "TANH",
    "hard_swish": "HARD_SWISH",
}


@pytest.mark.parametrize("name", NAMES)
def test_int8(name, image_schema):
    blocks = (BlockConfig(filters=6, pool=2), BlockConfig(filters=6, residual=True))
    config = CnnConfig(family="cnn", blocks=blocks, head="dense", head_units=(12,), activation=name)
    model = build(config, image_schema, "classification", 1)
    for layer in model.layers:  # batch normalization that does something
        if isinstance(layer, keras.layers.BatchNormalization):
            generator = np.random.default_rng(3)
            layer.set_weights([generator.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])
    rows = np.random.default_rng(1).integers(0, 256, (64, 8, 8, 1)).astype(np.float32) / np.float32(255)
    rows[0, 0, :2, 0] = 0.0, 1.0
    file = convert(model, "int8", rows)
    assert not any(operator.works_on_floats for operator in operator_details(file))
    assert (name in OWN_OPERATOR) == (OWN_OPERATOR.get(name) in operators(file))
    answers = LiteRT(file).predict(rows)
    np.testing.assert_allclose(answers, predict(model, rows), atol=0.05)
    micro = run_micro(file, np.round(rows[:8] * 255 - 128).astype(np.int8))
    assert isinstance(micro, MicroResult), micro
    steps = (micro.outputs.astype(np.float32).reshape(8, 3) + 128) - answers[:8] * 256
    assert np.abs(steps).max() <= 2.0


@pytest.mark.parametrize("name", NAMES)
def test_it_is_named_saved_and_pruned(name, vector_schema, tmp_path):
    model = build(MlpConfig(family="mlp", units=(5,), activation=name), vector_schema, "classification", 1)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    assert activation_name(loaded.get_layer("dense_1").activation) == name
    assert name in ELEMENTWISE


@pytest.mark.parametrize("name", NAMES)
def test_keras_computes_the_formula(name):
    z = np.linspace(-8, 8, 101, dtype=np.float32)
    expected = {
        "relu": np.maximum(z, 0),
        "relu6": np.clip(z, 0, 6),
        "leaky_relu": np.where(z > 0, z, 0.2 * z),
        "elu": np.where(z > 0, z, np.exp(z) - 1),
        "sigmoid": 1 / (1 + np.exp(-z)),
        "tanh": np.tanh(z),
        "hard_swish": z * np.clip(z + 3, 0, 6) / 6,
    }[name]
    got = keras.activations.get(activation(name))(tf.constant(z)).numpy()
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_hard_swish_by_hand():
    np.testing.assert_allclose(
        hard_swish(tf.constant([-4.0, -1.0, 0.0, 1.0, 4.0])), [0, -1 / 3, 0, 2 / 3, 4], atol=1e-6
    )

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flatbuffers
import numpy as np
import pytest
from sklearn.datasets import load_digits

from models.legacy_keras import keras
from models.tflite import audit
from models.tflite.calibration import calibration_rows
from models.tflite.convert import ConverterPrecision, convert

PRECISIONS: tuple[ConverterPrecision, ...] = ("float32", "float16", "dynamic_range", "int8")


def tiny_mlp(seed: int = 0, activation: str = "relu") -> Any:
    """8x8 images, 20 hidden neurons (1,280 weights, above the 1,024 that dynamic range asks for), 10 classes."""
    inputs = keras.Input((8, 8, 1), name="input")
    hidden = keras.layers.Flatten(name="flatten")(inputs)
    hidden = keras.layers.Dense(20, activation=activation, name="dense_1")(hidden)
    return drawn(keras.Model(inputs, keras.layers.Dense(10, activation="softmax", name="output")(hidden)), seed)


def tiny_cnn(seed: int = 0) -> Any:
    """A convolution and a depthwise separable block, batch-normalized, then the mean and 10 classes."""
    inputs = keras.Input((8, 8, 1), name="input")
    x = keras.layers.Conv2D(6, 3, strides=2, padding="same", use_bias=False, name="conv_1")(inputs)
    x = keras.layers.ReLU(name="relu_1")(keras.layers.BatchNormalization(name="bn_1")(x))
    x = keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="depthwise_2")(x)
    x = keras.layers.ReLU(name="relu_2")(keras.layers.BatchNormalization(name="bn_2")(x))
    x = keras.layers.Conv2D(12, 1, use_bias=False, name="conv_2")(x)
    x = keras.layers.ReLU(name="relu_3")(keras.layers.BatchNormalization(name="bn_3")(x))
    x = keras.layers.GlobalAveragePooling2D(name="mean")(x)
    return drawn(keras.Model(inputs, keras.layers.Dense(10, activation="softmax", name="output")(x)), seed)


def drawn(model: Any, seed: int) -> Any:
    """Weights from NumPy, so that they are the same in any process; variances stay positive."""
    generator = np.random.default_rng(seed)
    weights = [generator.normal(0, 0.4, weight.shape) for weight in model.get_weights()]
    names = [weight.name for weight in model.weights]
    model.set_weights([abs(w) + 0.5 if "variance" in name else w for w, name in zip(weights, names, strict=True)])
    return model


@pytest.fixture(scope="session")
def digits() -> np.ndarray:
    """(1797, 8, 8, 1) float32 in [0, 1], from whole pixels of 0 to 255."""
    return np.asarray(np.round(load_digits().images * 255 / 16) / 255, np.float32)[..., np.newaxis]


@pytest.fixture(scope="session")
def mlp() -> Any:
    return tiny_mlp()


@pytest.fixture(scope="session")
def cnn() -> Any:
    return tiny_cnn()


@pytest.fixture(scope="session")
def variants(mlp: Any, cnn: Any, digits: np.ndarray) -> dict[tuple[str, str], bytes]:
    """(network, precision) -> .tflite bytes."""
    calibration = calibration_rows(digits[:1000].__getitem__, len(digits[:1000]), (0.0, 1.0), 100, 3)
    return {
        (name, precision): convert(model, precision, calibration)
        for name, model in (("mlp", mlp), ("cnn", cnn))
        for precision in PRECISIONS
    }


@pytest.fixture
def edited() -> Callable[[bytes, Callable[[Any], None]], bytes]:
    """Unpacks a .tflite file, lets a function change it, and packs it again."""

    def edit(model: bytes, change: Callable[[Any], None]) -> bytes:
        unpacked = audit.read_model(model)
        change(unpacked)
        builder = flatbuffers.Builder(1024)
        builder.Finish(unpacked.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    return edit

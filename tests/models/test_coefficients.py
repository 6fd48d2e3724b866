"""What a penalty leaves of a network's weights."""

from __future__ import annotations

import numpy as np
import pytest

from models.architectures.builder import build
from models.coefficients import MOST_KEPT, Coefficients, input_coefficients, kernel_zeros
from models.config import CnnConfig, LinearConfig, MlpConfig

NAMES = ("a", "b", "c")


def linear(vector_schema, classes, kernel, task="classification"):
    schema = vector_schema.model_copy(update={"input_shape": (3,), "class_names": tuple(classes)})
    model = build(LinearConfig(family="linear"), schema, task, 1)
    model.layers[-1].set_weights([np.array(kernel, np.float32), np.zeros(len(kernel[0]), np.float32)])
    return model


@pytest.mark.parametrize(
    ("classes", "kernel", "task", "expected"),
    [
        ("", [[0.5], [0.0], [-2.0]], "regression", Coefficients("weight", {"c": -2.0, "a": 0.5, "b": 0.0})),
        (
            "xy",
            [[1.0, 3.0], [0.0, 0.0], [2.0, -1.0]],
            "classification",
            Coefficients("log_odds", {"c": -3.0, "a": 2.0, "b": 0.0}),
        ),
        (
            "xyz",
            [[3.0, -4.0, 0.0], [0.0, 0.0, 0.0], [2.0, -1.0, 2.0]],
            "classification",
            Coefficients("norm", {"a": 5.0, "c": 3.0, "b": 0.0}),
        ),
    ],
)
def test_linear_models_by_hand(classes, kernel, task, expected, vector_schema):
    model = linear(vector_schema, classes, kernel, task)
    assert input_coefficients(model, NAMES) == expected
    assert list(input_coefficients(model, NAMES).values) == list(expected.values)
    zeros = sum(value == 0.0 for row in kernel for value in row)
    assert kernel_zeros(model) == (len(kernel) * len(kernel[0]), zeros)


def test_first_hidden_layer_of_an_mlp(vector_schema):
    schema = vector_schema.model_copy(update={"input_shape": (3,), "class_names": ("x", "y")})
    model = build(MlpConfig(family="mlp", units=(4,)), schema, "classification", 1)
    kernel = model.get_layer("dense_1").kernel.numpy()
    found = input_coefficients(model, NAMES)
    assert found.what == "norm"
    for name, row in zip(NAMES, kernel, strict=True):
        assert found.values[name] == pytest.approx(np.linalg.norm(row), rel=1e-5)
    assert kernel_zeros(model) == (3 * 4 + 4 * 2, 0)


def test_only_the_largest_of_many_are_kept(vector_schema):
    names = tuple(f"f{i}" for i in range(100))
    schema = vector_schema.model_copy(update={"input_shape": (100,), "class_names": ()})
    model = build(LinearConfig(family="linear"), schema, "regression", 1)
    model.layers[-1].set_weights([np.arange(100, dtype=np.float32)[:, None], np.zeros(1, np.float32)])
    assert list(input_coefficients(model, names).values) == [f"f{i}" for i in range(99, 99 - MOST_KEPT, -1)]


def test_inputs_without_names_and_convolutions_have_none(image_schema):
    assert input_coefficients(build(CnnConfig(family="cnn"), image_schema, "classification", 1), ()) is None
    assert input_coefficients(build(MlpConfig(family="mlp"), image_schema, "classification", 1), NAMES) is None

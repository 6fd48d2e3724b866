"""Kernels of TFLite Micro and LiteRT, one operator at a time, on the same integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.activations import activation
from models.legacy_keras import keras
from models.tflite import operator_agreement
from models.tflite.convert import convert
from models.tflite.interpreter import LiteRT
from models.tflite.micro import MicroFailure, run_micro, run_micro_tensors
from models.tflite.operator_agreement import OperatorAgreement, compare_operators
from tests.models.tflite.conftest import drawn


def steep(name: str) -> Any:
    """A convolution, an addition and two dense layers whose sums reach where the activation is steep."""
    inputs = keras.Input((8, 8, 1), name="input")
    x = keras.layers.Conv2D(4, 3, padding="same", name="conv")(inputs)
    x = keras.layers.Add(name="add")([x, keras.layers.Activation(activation(name), name="bent")(x)])
    x = keras.layers.Flatten(name="flatten")(keras.layers.MaxPooling2D(4, name="pool")(x))
    for number in (1, 2):
        x = keras.layers.Dense(24, activation=activation(name), name=f"dense_{number}")(x)
    return drawn(keras.Model(inputs, keras.layers.Dense(10, activation="softmax", name="output")(x)), 5)


@pytest.mark.parametrize(("name", "kernel"), [("sigmoid", "LOGISTIC"), ("tanh", "TANH"), ("elu", "ELU")])
def test_activations_agree_to_the_bit_and_sums_to_one_rounding(digits: np.ndarray, name: str, kernel: str) -> None:
    model = convert(steep(name), "int8", digits[:100])
    rows = LiteRT(model).quantize(digits[200:260])
    found = compare_operators(model, rows)
    assert isinstance(found, OperatorAgreement)
    steps: dict[str, int] = {}
    for each in found.operators:
        steps[each.name] = max(each.steps, steps.get(each.name, 0))
    assert steps[kernel] == 0
    assert max(steps.values()) <= 1
    assert {"CONV_2D", "ADD", "FULLY_CONNECTED", "SOFTMAX"} <= set(steps)
    assert [each.position for each in found.operators] == list(range(len(found.operators)))
    np.testing.assert_array_equal(found.outputs, run_micro(model, rows).outputs)  # type: ignore[union-attr]


def test_a_kernel_that_answers_otherwise_is_named(digits: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    model = convert(steep("tanh"), "int8", digits[:100])
    rows = LiteRT(model).quantize(digits[200:210])
    names = [each.name for each in compare_operators(model, rows).operators]  # type: ignore[union-attr]
    last = len(names) - 1
    assert names[last] == "SOFTMAX"

    def three_off(*arguments: Any) -> Any:
        tensors = run_micro_tensors(*arguments)
        assert not isinstance(tensors, MicroFailure)
        tensors[last][4, 0, 7] += 3
        return tensors

    monkeypatch.setattr(operator_agreement, "run_micro_tensors", three_off)
    found = compare_operators(model, rows)
    assert isinstance(found, OperatorAgreement)
    assert found.operators[last].steps in (2, 3, 4)
    assert all(each.steps <= 1 for each in found.operators[:last])


def test_a_model_that_tflite_micro_refuses_is_not_compared(variants: Any, digits: np.ndarray) -> None:
    found = compare_operators(variants["mlp", "float16"], digits[:2])
    assert isinstance(found, MicroFailure) and found.refused and "DEQUANTIZE" in found.reason

"""The gate on networks in which single roundings grow: TFLite Micro is then judged operator by operator."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_digits

from data.contract import Schema
from models.legacy_keras import keras
from models.prediction import predict
from models.tasks import task_for
from models.tflite.convert import convert
from models.tflite.micro import MicroResult
from pipeline.gate import answers as gate_answers
from pipeline.gate import micro_answers
from pipeline.gate.records import GateInputs

IMAGES = Schema(
    kind="image",
    input_shape=(8, 8, 1),
    input_range=(0.0, 1.0),
    storage_divisor=255.0,
    class_names=tuple("0123456789"),
    target_name="class",
)


@pytest.fixture(scope="module")
def steep() -> GateInputs:
    """Four layers of elu, drawn large: single steps grow so far that 6% of the rows are more than 2 steps off."""
    digits = (np.round(load_digits().images * 255 / 16) / 255).astype(np.float32)[..., np.newaxis]
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Flatten()(inputs)
    for _ in range(4):
        x = keras.layers.Dense(32, activation="elu")(x)
    model = keras.Model(inputs, keras.layers.Dense(10, activation="softmax")(x))
    generator = np.random.default_rng(5)
    model.set_weights([generator.normal(0, 0.3, weight.shape) for weight in model.get_weights()])
    x = digits[200:300]
    file = convert(model, "int8", digits[:200])
    return GateInputs(file, "int8", IMAGES, task_for("classification"), x, predict(model, x))


def test_roundings_that_add_up_pass_where_every_operator_is_sound(steep: GateInputs) -> None:
    answers = gate_answers.answer(steep.model, steep.x)
    result = micro_answers.run(steep, answers)
    assert isinstance(result, MicroResult)
    beyond = int((np.abs(result.outputs.astype(int) - answers.outputs).max(axis=-1) > 2).sum())
    assert beyond > micro_answers.STEEP_ROWS * 100
    check = micro_answers.check_micro(steep, answers, result)
    assert check.passed
    assert (
        f"{beyond} of them beyond 2 steps and 0 decided otherwise, in near ties: roundings that add up" in check.message
    )
    assert check.figure == np.abs(result.outputs.astype(int) - answers.outputs).max()


def test_answers_that_sound_operators_do_not_give_are_noticed(steep: GateInputs) -> None:
    answers = gate_answers.answer(steep.model, steep.x)
    result = micro_answers.run(steep, answers)
    assert isinstance(result, MicroResult)
    outputs = result.outputs.copy()
    outputs[0, 0] += 1
    check = micro_answers.check_micro(steep, answers, replace(result, outputs=outputs))
    assert not check.passed and "asked again, TFLite Micro gave other answers" in check.message


def test_an_operator_that_is_off_is_named(steep: GateInputs, monkeypatch: pytest.MonkeyPatch) -> None:
    """No kernel at hand is off by more than a step: the limit is lowered instead."""
    monkeypatch.setattr(micro_answers, "OPERATOR_STEPS", 0)
    answers = gate_answers.answer(steep.model, steep.x)
    check = micro_answers.check_micro(steep, answers, micro_answers.run(steep, answers))
    assert not check.passed
    assert re.search(r"given the same integers, operator \d+ \(FULLY_CONNECTED\) is 1 steps off", check.message)

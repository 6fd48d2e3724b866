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
from models.tflite.operator_agreement import OperatorAgreement, OperatorSteps
from pipeline.gate import answers as gate_answers
from pipeline.gate import micro_answers
from pipeline.gate.records import Check, GateInputs

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
        f"{beyond} of them beyond 2 steps and 0 decided otherwise, all in near ties: roundings that add up"
        in check.message
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


def _judged(
    steep: GateInputs, monkeypatch: pytest.MonkeyPatch, ours: list[int], micro: list[int], task: str = "classification"
) -> Check:
    """One of 100 rows is answered as given by LiteRT and by TFLite Micro, the others alike; operators are sound."""
    monkeypatch.setattr(micro_answers, "final_softmax_scale", lambda _: None)
    answers = gate_answers.answer(steep.model, steep.x)
    outputs = answers.outputs.copy()
    outputs[:, :] = -100
    outputs[:, 1] = 100
    outputs[0, : len(ours)] = ours
    theirs = outputs.copy()
    theirs[0, : len(micro)] = micro
    sound = OperatorAgreement((OperatorSteps(0, "FULLY_CONNECTED", 1),), theirs)
    monkeypatch.setattr(micro_answers, "compare_operators", lambda *_: sound)
    inputs = replace(steep, task=task_for(task))
    return micro_answers.check_micro(inputs, replace(answers, outputs=outputs), MicroResult(theirs, 3000))


def test_sound_operators_excuse_no_decision_that_was_clear(steep: GateInputs, monkeypatch: pytest.MonkeyPatch) -> None:
    near = _judged(steep, monkeypatch, [20, 30], [30, 20])
    assert near.passed and "1 decided otherwise, all in near ties" in near.message
    clear = _judged(steep, monkeypatch, [-4, 30], [28, 0])
    assert not clear.passed and "1 rows are decided otherwise, 1 of them without a near tie" in clear.message


@pytest.mark.parametrize(("task", "most"), [("classification", 32), ("regression", 6)])
def test_sound_operators_excuse_no_distance_beyond_a_bound(
    steep: GateInputs, monkeypatch: pytest.MonkeyPatch, task: str, most: int
) -> None:
    assert _judged(steep, monkeypatch, [-100, 100], [-100, 100 - most], task).passed
    beyond = _judged(steep, monkeypatch, [-100, 100], [-100, 99 - most], task)
    assert not beyond.passed
    assert f"too many rows are far off (at most 25%, by at most {most} steps)" in beyond.message
    assert "ties" not in _judged(steep, monkeypatch, [-100, 100], [-100, 97], "regression").message

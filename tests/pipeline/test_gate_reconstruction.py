"""The gate on an autoencoder: outputs, rows called abnormal, and TFLite Micro, judged by what they do to the error."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_digits

from data.contract import Schema
from models.anomaly import Thresholds, error_threshold, row_errors
from models.architectures.builder import build
from models.autoencoder_config import AutoencoderConfig
from models.legacy_keras import keras, use_determinism
from models.prediction import predict
from models.tasks import task_for
from models.tflite.convert import convert
from models.tflite.interpreter import LiteRT
from models.tflite.micro import MicroResult
from pipeline.gate import answers as gate_answers
from pipeline.gate import micro_answers
from pipeline.gate.checks import GateInputs, run_gate

IMAGES = Schema(
    kind="image",
    input_shape=(8, 8, 1),
    input_range=(0.0, 1.0),
    storage_divisor=255.0,
    class_names=("normal", "abnormal"),
    target_name="class",
)


@pytest.fixture(scope="module")
def gated() -> GateInputs:
    """An autoencoder of the digits 0 to 4, asked about all digits."""
    digits = load_digits()
    x = (np.round(digits.images * 255 / 16) / 255).astype(np.float32)[..., np.newaxis]
    normal, others = x[digits.target < 5], x[digits.target >= 5]
    use_determinism(7)
    config = AutoencoderConfig(family="autoencoder", units=(24,), bottleneck=8)
    model = build(config, IMAGES, "reconstruction", 1)
    model.compile(keras.optimizers.Adam(0.005), "mse")
    model.fit(normal[:600], normal[:600].reshape(600, -1), epochs=12, batch_size=32, verbose=0)
    file = convert(model, "int8", normal[:200])
    held, tested = normal[600:750], np.concatenate([normal[750:], others[:150]])
    limits = [
        error_threshold(row_errors(held, each(held)), 0.05)
        for each in (LiteRT(file).predict, lambda rows: predict(model, rows))
    ]
    task = task_for("reconstruction")
    return GateInputs(file, "int8", IMAGES, task, tested, predict(model, tested), thresholds=Thresholds(*limits))


def check(report: object, name: str) -> object:
    return next(each for each in report.checks if each.name == name)  # type: ignore[attr-defined]


def test_a_sound_file_passes_and_agreement_is_of_rows_called_abnormal(gated: GateInputs) -> None:
    report = run_gate(gated)
    assert report.failures == ()
    assert gated.thresholds is not None
    ours = row_errors(gated.x, LiteRT(gated.model).predict(gated.x)) > gated.thresholds.file
    keras_calls = row_errors(gated.x, gated.keras_outputs) > gated.thresholds.keras
    assert 20 < ours.sum() < len(ours) - 20
    assert report.agreement == np.mean(ours == keras_calls)
    error = check(report, "same outputs as Keras")
    keras_answers = gated.keras_outputs[~keras_calls]  # of abnormal rows the decision alone counts
    spread = np.sqrt(np.mean((keras_answers - keras_answers.mean(0)) ** 2))
    assert error.limit == pytest.approx(0.15 * spread, rel=1e-4)
    rms = np.sqrt(np.mean((LiteRT(gated.model).predict(gated.x[~keras_calls]) - keras_answers) ** 2))
    assert error.figure == pytest.approx(rms, rel=1e-4)


def test_another_threshold_calls_other_rows_abnormal(gated: GateInputs) -> None:
    assert gated.thresholds is not None
    wrong = replace(gated, thresholds=replace(gated.thresholds, file=gated.thresholds.file * 1.5))
    report = run_gate(wrong)
    assert [each.name for each in report.failures] == ["same decisions as Keras"]
    assert (
        "rows whose error is more than 10% off the threshold to be decided alike, got 0." in report.failures[0].message
    )


def test_abnormal_rows_may_leave_the_range_of_normal_ones(gated: GateInputs) -> None:
    """Rows ten times as bright as the file can say: it cuts them off, and they are abnormal in both."""
    normal = row_errors(gated.x, gated.keras_outputs) <= gated.thresholds.keras  # type: ignore[union-attr]
    bright = np.concatenate([gated.x[normal], np.float32(10) * gated.x[~normal]])
    outputs = np.concatenate([gated.keras_outputs[normal], np.float32(10) * gated.keras_outputs[~normal]])
    report = run_gate(replace(gated, x=bright, keras_outputs=outputs))
    assert report.failures == ()
    assert np.sqrt(np.mean((LiteRT(gated.model).predict(bright) - outputs) ** 2)) > 0.5


def test_another_network_is_not_the_same(gated: GateInputs) -> None:
    report = run_gate(replace(gated, keras_outputs=np.roll(gated.keras_outputs, 1, axis=0)))
    assert "same outputs as Keras" in [each.name for each in report.failures]
    assert "expected a root mean squared error of at most" in check(report, "same outputs as Keras").message


@pytest.mark.parametrize(("steps", "passes"), [(12, True), (20, False)])
def test_tflite_micro_is_judged_by_the_root_mean_square_of_a_row(gated: GateInputs, steps: int, passes: bool) -> None:
    """One output of 64 that is n steps off is n / 8 steps off in the root mean square."""
    answers = gate_answers.answer(gated.model, gated.x)
    rows = np.linspace(0, len(gated.x) - 1, min(256, len(gated.x))).astype(int)
    outputs = answers.outputs[rows].astype(int)
    outputs[3, 5] += steps if outputs[3, 5] < 0 else -steps
    result = micro_answers.check_micro(gated, answers, MicroResult(outputs.astype(np.int8), 1000))
    assert result.passed is passes
    assert result.figure == pytest.approx(steps / 8)
    assert (
        f"{steps / 8:.3g} steps from LiteRT over {len(rows)} rows (root mean square over a row's outputs)"
        in result.message
    )
    assert micro_answers.difference(gated, answers, outputs) == steps


def test_errors_move_no_further_than_the_limit_allows(gated: GateInputs) -> None:
    """2 D sqrt(e) + D², as docs/runtimes.md and `check_micro` say, for any answers that keep the limit."""
    answers = gate_answers.answer(gated.model, gated.x)
    moved = micro_answers.MICRO_STEPS * answers.runtime.output.scale
    errors = row_errors(gated.x, answers.values)
    generator = np.random.default_rng(1)
    noise = generator.normal(size=answers.values.shape)
    noise *= moved / np.sqrt(np.mean(noise**2, axis=1, keepdims=True))
    for shift in (noise, moved * np.sign(answers.values - gated.x.reshape(len(gated.x), -1))):
        apart = np.abs(row_errors(gated.x, answers.values + shift) - errors)
        assert (apart <= (2 * moved * np.sqrt(errors) + moved**2) * (1 + 1e-6)).all()

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema_fb
from sklearn.datasets import load_diabetes, load_digits

from data.contract import Schema
from models.legacy_keras import keras, use_determinism
from models.tasks import task_for
from models.tflite import audit
from models.tflite.audit import final_softmax_scale
from models.tflite.calibration import calibration_rows
from models.tflite.convert import ConverterPrecision, convert
from models.tflite.flatbuffer import pack, read_whole
from models.tflite.micro import MicroFailure, MicroResult
from models.tflite.micro_encodings import encode
from models.tflite.mixed_precision import Recipe, quantize
from pipeline.gate import answers as gate_answers
from pipeline.gate import micro_answers
from pipeline.gate.answers import CLASSIFICATION
from pipeline.gate.checks import LITERT, TFLITE_MICRO, Check, GateInputs, GateReport, Golden, check_golden, run_gate
from pipeline.gate.records import Answers
from pipeline.gate.structure import arithmetic

ROOT = Path(__file__).resolve().parents[2]
PRECISIONS: tuple[ConverterPrecision, ...] = ("float32", "float16", "dynamic_range", "int8")
IMAGES = Schema(
    kind="image",
    input_shape=(8, 8, 1),
    input_range=(0.0, 1.0),
    storage_divisor=255.0,
    class_names=tuple("0123456789"),
    target_name="class",
)
VECTORS = Schema(
    kind="vector", input_shape=(10,), input_range=None, storage_divisor=1.0, class_names=(), target_name="progression"
)
PRUNED = "dense_1"


def _digits() -> tuple[Any, np.ndarray, np.ndarray, np.ndarray]:
    """A trained network whose first layer has half of its weights at zero; training rows; held-out rows; the mask."""
    digits = load_digits()
    x = (np.round(digits.images * 255 / 16) / 255).astype(np.float32)[..., np.newaxis]
    use_determinism(7)
    inputs = keras.Input((8, 8, 1), name="input")
    hidden = keras.layers.Dense(32, activation="relu", name=PRUNED)(keras.layers.Flatten(name="flatten")(inputs))
    model = keras.Model(inputs, keras.layers.Dense(10, activation="softmax", name="output")(hidden))
    model.compile(keras.optimizers.Adam(0.005), "sparse_categorical_crossentropy")
    model.fit(x[:1400], digits.target[:1400], epochs=6, batch_size=64, verbose=0)
    kernel = model.get_layer(PRUNED).kernel
    mask = np.abs(kernel.numpy()) > np.median(np.abs(kernel.numpy()))
    kernel.assign(kernel.numpy() * mask)
    model.fit(x[:1400], digits.target[:1400], epochs=1, batch_size=64, verbose=0)
    kernel.assign(kernel.numpy() * mask)
    return model, x[:1400], x[1400:], mask


@pytest.fixture(scope="module")
def sound() -> dict[str, GateInputs]:
    """precision -> what the gate is given for a model that deserves to pass."""
    model, train, held_out, mask = _digits()
    rows = calibration_rows(train.__getitem__, len(train), (0.0, 1.0), 200, 1)
    return {
        precision: GateInputs(
            model=convert(model, precision, rows),
            precision=precision,
            schema=IMAGES,
            task=task_for("classification"),
            x=held_out,
            keras_outputs=model.predict(held_out, verbose=0),
            masks={PRUNED: mask},
            kernels={PRUNED: model.get_layer(PRUNED).kernel.numpy()},
            micro_rows=100,
        )
        for precision in PRECISIONS
    }


@pytest.fixture(scope="module")
def regression() -> dict[str, GateInputs]:
    data = load_diabetes()
    x = ((data.data - data.data.mean(0)) / data.data.std(0)).astype(np.float32)
    y = ((data.target - data.target.mean()) / data.target.std()).astype(np.float32)
    use_determinism(7)
    inputs = keras.Input((10,), name="input")
    hidden = keras.layers.Dense(24, activation="relu", name="dense_1")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1, name="output")(hidden))
    model.compile(keras.optimizers.Adam(0.005), "mse")
    model.fit(x[:350], y[:350], epochs=15, batch_size=32, verbose=0)
    return {
        precision: GateInputs(
            model=convert(model, precision, calibration_rows(x[:350].__getitem__, len(x[:350]), None, 200, 1)),
            precision=precision,
            schema=VECTORS,
            task=task_for("regression"),
            x=x[350:],
            keras_outputs=model.predict(x[350:], verbose=0),
        )
        for precision in PRECISIONS
    }


def _edited(model: bytes, change: Callable[[Any], None]) -> bytes:
    unpacked = audit.read_model(model)
    change(unpacked)
    builder = flatbuffers.Builder(1024)
    builder.Finish(unpacked.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _weights(unpacked: Any, fully_connected: int = 0) -> np.ndarray:
    """The bytes of a FULLY_CONNECTED's kernel, made writable in place."""
    graph = unpacked.subgraphs[0]
    operator = graph.operators[fully_connected + 1]  # after RESHAPE
    buffer = unpacked.buffers[graph.tensors[operator.inputs[1]].buffer]
    data = np.array(buffer.data, np.uint8)
    buffer.data = data
    return data


def _failed(report: GateReport) -> dict[str, Check]:
    return {check.name: check for check in report.failures}


# ------------------------------------------------------------------------------------ what passes


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_sound_model_passes(sound: dict[str, GateInputs], precision: str) -> None:
    report = run_gate(sound[precision])
    assert _failed(report) == {}
    assert report.passed
    names = [check.name for check in report.checks]
    expected = ["built-in operators", "integer operators", "pruned zeros", "pixel input", "finite outputs"]
    expected += ["varying outputs", "same outputs as Keras", "same decisions as Keras", "TFLite Micro", "XNNPACK"]
    if precision != "int8":
        expected = [name for name in expected if name not in ("integer operators", "pixel input")]
    assert names == expected
    assert report.agreement is not None and report.agreement > 0.98
    assert report.litert_outputs is not None and report.litert_outputs.shape == (397, 10)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_sound_regression_passes(regression: dict[str, GateInputs], precision: str) -> None:
    report = run_gate(regression[precision])
    assert _failed(report) == {}
    assert report.agreement is None
    assert "same decisions as Keras" not in [check.name for check in report.checks]


def test_figures_are_those_of_numpy(sound: dict[str, GateInputs]) -> None:
    inputs = sound["int8"]
    report = run_gate(inputs)
    assert report.litert_outputs is not None
    values = (report.litert_outputs.astype(np.float64) + 128) / 256
    error = np.abs(values - inputs.keras_outputs)
    figures = {check.name: check.figure for check in report.checks}
    assert figures["same outputs as Keras"] == pytest.approx(error.max(axis=1).mean())
    assert report.max_abs_error == pytest.approx(error.max())
    assert report.agreement == np.mean(values.argmax(1) == inputs.keras_outputs.argmax(1))
    ranked = np.sort(inputs.keras_outputs, axis=1)
    clear = ranked[:, -1] - ranked[:, -2] > 0.3
    alike = values.argmax(1) == inputs.keras_outputs.argmax(1)
    assert figures["same decisions as Keras"] == alike[clear].mean()


def test_tflite_micro_is_measured_or_gives_its_reason(sound: dict[str, GateInputs]) -> None:
    int8, float16, float32 = (run_gate(sound[precision]) for precision in ("int8", "float16", "float32"))
    assert int8.micro_max_steps is not None and int8.micro_max_steps <= 2
    assert int8.arena_bytes is not None and int8.arena_bytes > 1000
    assert int8.micro_reason is None
    assert int8.micro_outputs is not None and int8.micro_outputs.shape == (100, 10)
    assert (float16.arena_bytes, float16.micro_max_steps, float16.micro_outputs) == (None, None, None)
    assert float16.micro_reason is not None and "DEQUANTIZE" in float16.micro_reason
    assert float32.micro_max_steps is None and float32.arena_bytes is not None  # floats have no steps


# ------------------------------------------------------------------------------- what must not pass


def test_flipped_weight_bytes_are_noticed(sound: dict[str, GateInputs]) -> None:
    def flip(unpacked: Any) -> None:
        data = _weights(unpacked, 1)
        data[:160] ^= 0xFF

    report = run_gate(replace(sound["int8"], model=_edited(sound["int8"].model, flip)))
    failed = _failed(report)
    assert set(failed) == {"same outputs as Keras", "same decisions as Keras"}
    assert failed["same outputs as Keras"].stage == "convert"
    assert failed["same outputs as Keras"].message.startswith(
        "expected a mean error of a row's most wrong probability of at most 0.05 for 'int8', got "
    )


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_wrong_bias_is_noticed_in_every_precision(sound: dict[str, GateInputs], precision: str) -> None:
    """Keras answers of a model whose last bias differs: what the file holds is another model."""
    logits = np.log(sound[precision].keras_outputs + 1e-9)
    logits[:, 3] += 4.0
    other = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    failed = _failed(run_gate(replace(sound[precision], keras_outputs=other.astype(np.float32))))
    assert set(failed) == {"same outputs as Keras", "same decisions as Keras"}


def test_a_regression_that_is_off_is_noticed(regression: dict[str, GateInputs]) -> None:
    off = replace(regression["int8"], keras_outputs=regression["int8"].keras_outputs + np.float32(0.3))
    check = _failed(run_gate(off))["same outputs as Keras"]
    assert check.figure == pytest.approx(0.3, abs=0.05)
    assert check.limit == 0.15


@pytest.mark.parametrize("precision", PRECISIONS)
def test_another_network_is_noticed_where_keras_is_clear_about_nothing(precision: str) -> None:
    """Among 100 classes untrained networks give each about 0.01: the error alone would be small."""
    x = np.random.default_rng(0).normal(size=(300, 16)).astype(np.float32)

    def untrained(seed: int) -> Any:
        inputs = keras.Input((16,))
        hidden = keras.layers.Dense(32, activation="relu", kernel_initializer=keras.initializers.HeUniform(seed))
        output = keras.layers.Dense(100, activation="softmax", kernel_initializer=keras.initializers.HeUniform(seed))
        return keras.Model(inputs, output(hidden(inputs)))

    one, other = untrained(1), untrained(2)
    given = GateInputs(
        model=convert(one, precision, x),
        precision=precision,
        schema=VECTORS.model_copy(update={"input_shape": (16,), "class_names": tuple(map(str, range(100)))}),
        task=task_for("classification"),
        x=x,
        keras_outputs=one.predict(x, verbose=0),
    )
    assert _failed(run_gate(given)) == {}
    failed = _failed(run_gate(replace(given, keras_outputs=other.predict(x, verbose=0))))
    assert set(failed) == {"same outputs as Keras", "same decisions as Keras"}


def test_tflite_micro_is_given_rows_of_every_class(sound: dict[str, GateInputs]) -> None:
    """A source that is sorted by class: what TFLite Micro runs must not be its first class alone."""
    inputs = sound["int8"]
    order = np.argsort(inputs.keras_outputs.argmax(axis=1), kind="stable")
    outputs = run_gate(replace(inputs, x=inputs.x[order], keras_outputs=inputs.keras_outputs[order])).micro_outputs
    assert outputs is not None
    assert set(outputs.argmax(axis=1)) == set(range(10))


@pytest.mark.parametrize("lost_by", ["convert", "prune"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_one_pruned_weight_that_came_back_is_noticed(
    sound: dict[str, GateInputs], precision: str, lost_by: str
) -> None:
    inputs = sound[precision]
    mask = inputs.masks[PRUNED]
    row, column = np.argwhere(~mask)[5]
    finding = audit.constants(inputs.model)
    name = next(c.name for c in finding if c.values.shape == mask.T.shape)

    def revive(unpacked: Any) -> None:
        tensor = next(t for t in unpacked.subgraphs[0].tensors if t.name.decode() == name)
        buffer = unpacked.buffers[tensor.buffer]
        data = np.array(buffer.data, np.uint8)
        data[(column * mask.shape[0] + row) * (data.size // mask.size)] = 1
        buffer.data = data

    assert inputs.kernels is not None
    kernel = inputs.kernels[PRUNED].copy()
    kernel[row, column] = 0.1 if lost_by == "prune" else 0.0
    report = run_gate(replace(inputs, model=_edited(inputs.model, revive), kernels={PRUNED: kernel}))
    check = _failed(report)["pruned zeros"]
    assert (check.figure, check.limit, check.stage) == (1.0, 0.0, lost_by)
    assert f"layer 'dense_1': 1 of {int((~mask).sum())} pruned weights are not zero" in check.message


def test_a_pruned_layer_that_is_not_in_the_file_is_noticed(sound: dict[str, GateInputs]) -> None:
    masks = {**sound["int8"].masks, "dense_7": np.zeros((5, 5), bool)}
    check = _failed(run_gate(replace(sound["int8"], masks=masks)))["pruned zeros"]
    assert "layer 'dense_7': 0 tensors of the file fit" in check.message


@pytest.mark.parametrize(
    ("builtin", "custom", "found"),
    [
        (schema_fb.BuiltinOperator.CUSTOM, b"FlexSoftmax", "CUSTOM:FlexSoftmax"),
        (schema_fb.BuiltinOperator.DENSIFY, b"", "DENSIFY"),
    ],
)
def test_foreign_operators_are_noticed(sound: dict[str, GateInputs], builtin: int, custom: bytes, found: str) -> None:
    def rename(unpacked: Any) -> None:
        code = unpacked.operatorCodes[unpacked.subgraphs[0].operators[-1].opcodeIndex]
        code.builtinCode, code.deprecatedBuiltinCode, code.customCode = builtin, min(builtin, 127), custom

    failed = _failed(run_gate(replace(sound["int8"], model=_edited(sound["int8"].model, rename))))
    assert failed["built-in operators"].figure == found
    assert failed["built-in operators"].stage == "convert"
    assert "readable file" in failed  # and LiteRT cannot run it


def test_a_float_operator_in_an_int8_model_is_noticed(sound: dict[str, GateInputs]) -> None:
    """A float model with int8 weights passed off as int8 is one: every operator works on floats."""
    failed = _failed(run_gate(replace(sound["dynamic_range"], precision="int8")))
    assert failed["integer operators"].figure == "FULLY_CONNECTED, RESHAPE, SOFTMAX"


def test_an_image_input_that_is_not_pixel_minus_128_is_noticed(sound: dict[str, GateInputs]) -> None:
    def rescale(unpacked: Any) -> None:
        graph = unpacked.subgraphs[0]
        quantization = graph.tensors[graph.inputs[0]].quantization
        quantization.scale = np.array([0.0038], np.float32)

    check = _failed(run_gate(replace(sound["int8"], model=_edited(sound["int8"].model, rescale))))["pixel input"]
    assert check.figure == "int8, scale 0.00380000006, zero point -128"
    assert "Calibrate on rows that hold both 0 and 1" in check.message


def test_calibration_without_both_ends_is_noticed() -> None:
    inputs = keras.Input((8, 8, 1))
    hidden = keras.layers.Flatten()(inputs)
    model = keras.Model(inputs, keras.layers.Dense(10, activation="softmax")(hidden))
    x = np.random.default_rng(0).uniform(0.0, 1.0, (40, 8, 8, 1)).astype(np.float32)
    given = GateInputs(
        model=convert(model, "int8", x * np.float32(0.9)),
        precision="int8",
        schema=IMAGES,
        task=task_for("classification"),
        x=x,
        keras_outputs=model.predict(x, verbose=0),
    )
    assert "pixel input" in _failed(run_gate(given))


def test_an_output_that_never_changes_is_noticed_unless_keras_has_it_too(sound: dict[str, GateInputs]) -> None:
    def silence(unpacked: Any) -> None:
        _weights(unpacked, 1)[:] = 0

    tampered = replace(sound["int8"], model=_edited(sound["int8"].model, silence), masks={})
    check = _failed(run_gate(tampered))["varying outputs"]
    assert check.message.startswith("expected outputs that vary as Keras' do")
    constant = np.repeat(tampered.keras_outputs[:1], len(tampered.x), axis=0)
    assert "varying outputs" not in _failed(run_gate(replace(tampered, keras_outputs=constant)))


@pytest.mark.parametrize(("broken", "stage"), [("keras", "prune"), ("file", "convert")])
def test_outputs_that_are_not_finite_are_noticed(sound: dict[str, GateInputs], broken: str, stage: str) -> None:
    def poison(unpacked: Any) -> None:
        _weights(unpacked, 1)[:4] = np.frombuffer(np.array([np.nan], np.float32).tobytes(), np.uint8)

    inputs = replace(sound["float32"], source_stage="prune")
    if broken == "file":
        inputs = replace(inputs, model=_edited(inputs.model, poison))
    else:
        outputs = inputs.keras_outputs.copy()
        outputs[3] = np.inf
        inputs = replace(inputs, keras_outputs=outputs)
    check = _failed(run_gate(inputs))["finite outputs"]
    assert check.stage == stage
    assert check.figure == (1.0 if broken == "keras" else 397.0)


@pytest.mark.parametrize("model", [b"", b"a text file", b"\x1c\x00\x00\x00TFL3" + b"\x01" * 80])
def test_a_file_that_is_no_model_is_one_failed_check(sound: dict[str, GateInputs], model: bytes) -> None:
    report = run_gate(replace(sound["int8"], model=model))
    assert [check.name for check in report.failures] == ["readable file"]
    assert report.micro_reason == "the file could not be read"
    assert report.checks[-1].message.startswith("model.tflite: expected a ")


# -------------------------------------------------------------------------- TFLite Micro's own rules


@pytest.fixture(scope="module")
def answers(sound: dict[str, GateInputs]) -> Answers:
    return gate_answers.answer(sound["int8"].model, sound["int8"].x)


def _first_rows(inputs: GateInputs, count: int) -> GateInputs:
    return replace(inputs, x=inputs.x[:count], keras_outputs=inputs.keras_outputs[:count])


@pytest.mark.parametrize(("steps", "passes"), [(2, True), (3, False)])
def test_two_steps_are_allowed_and_three_are_not(
    sound: dict[str, GateInputs], answers: Answers, steps: int, passes: bool
) -> None:
    few = _first_rows(sound["int8"], 50)
    outputs = answers.outputs[:50].copy()
    lowest = outputs[7].argmin()
    outputs[7, lowest] += steps
    check = micro_answers.check_micro(few, replace(answers, outputs=answers.outputs[:50]), MicroResult(outputs, 3000))
    assert check.passed is passes
    assert check.figure == steps


@pytest.mark.parametrize(("gap", "passes"), [(2, True), (3, False)])
def test_a_decision_may_change_only_in_a_near_tie(
    sound: dict[str, GateInputs],
    answers: Answers,
    gap: int,
    passes: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Row 0: 20 against 20 - gap; TFLite Micro moves each by 2 steps, towards the other. Logits of so fine a step."""
    monkeypatch.setattr(micro_answers, "final_softmax_scale", lambda _: 1e-6)
    reference = np.full((1, 10), -128, np.int8)
    reference[0, 4], reference[0, 6] = 20, 20 - gap
    swapped = reference.copy()
    swapped[0, 4], swapped[0, 6] = 18, 22 - gap
    staged = replace(answers, outputs=reference)
    check = micro_answers.check_micro(_first_rows(sound["int8"], 1), staged, MicroResult(swapped, 3000))
    assert check.figure == 2.0
    assert check.passed is passes


def _furthest_by_trying(p: np.ndarray, step: float) -> np.ndarray:
    """Softmax at every way of moving each logit a step up or down: the furthest that each probability gets."""
    logits = np.log(p)
    moved = np.array([logits + step * np.array(signs) for signs in itertools.product((-1, 1), repeat=len(p))])
    exponentials = np.exp(moved)
    return np.abs(exponentials / exponentials.sum(axis=1, keepdims=True) - p).max(axis=0)


def test_a_few_rows_may_be_as_far_as_logits_one_step_apart(sound: dict[str, GateInputs], answers: Answers) -> None:
    """Row 3 has probabilities of 0.5, 0.375 and 0.125; the first moves as far as it may, and one step further."""
    step = final_softmax_scale(sound["int8"].model)
    assert step is not None
    reference = answers.outputs[:50].copy()
    reference[3] = -128
    reference[3, 4], reference[3, 6], reference[3, 7] = 0, -32, -96
    allowed = 2 + int(256 * _furthest_by_trying(np.array([0.5, 0.375, 0.125]), step)[0])
    assert allowed > 2

    def judged(moved: int, rows: slice | int = 3) -> Check:
        outputs = reference.astype(np.int16)
        outputs[rows, 4] += moved
        staged = replace(answers, outputs=reference)
        few = _first_rows(sound["int8"], 50)
        return micro_answers.check_micro(few, staged, MicroResult(outputs.clip(-128, 127).astype(np.int8), 3000))

    assert judged(allowed).passed
    assert (
        f"{allowed} steps from LiteRT" in judged(allowed).message and "where the softmax is steep" in judged(3).message
    )
    assert not judged(allowed + 1).passed
    reference[:] = reference[3]
    assert not judged(3, slice(0, 3)).passed, "3 of 50 rows are more than 5%"
    assert judged(3, slice(0, 2)).passed


def test_a_crash_fails_and_a_refusal_does_not(sound: dict[str, GateInputs], answers: Answers) -> None:
    crash = micro_answers.check_micro(sound["int8"], answers, MicroFailure("TFLite Micro crashed", refused=False))
    refusal = micro_answers.check_micro(sound["int8"], answers, MicroFailure("TFLite Micro refused", refused=True))
    assert (crash.passed, refusal.passed) == (False, True)
    assert crash.figure == refusal.figure == "not run"


def test_tflite_micro_that_does_not_end_is_noticed(sound: dict[str, GateInputs]) -> None:
    report = run_gate(replace(sound["int8"], micro_timeout_seconds=0.01))
    assert set(_failed(report)) == {"TFLite Micro"}
    assert report.micro_reason == "TFLite Micro did not finish 100 rows within 0.01 seconds"


# ------------------------------------------------------------------------------------ golden vectors


def _golden(inputs: GateInputs, answers: Answers, runtime: str) -> Golden:
    report = run_gate(_first_rows(inputs, 100))  # all of which TFLite Micro runs
    outputs = report.micro_outputs if runtime == TFLITE_MICRO else report.litert_outputs
    assert outputs is not None
    return Golden(inputs.x[:8], answers.quantized[:8], outputs[:8], runtime)


@pytest.mark.parametrize("runtime", [LITERT, TFLITE_MICRO])
def test_golden_vectors_replay_and_a_wrong_one_is_noticed(
    sound: dict[str, GateInputs], answers: Answers, runtime: str
) -> None:
    golden = _golden(sound["int8"], answers, runtime)
    report = run_gate(replace(sound["int8"], golden=golden))
    assert report.passed
    assert report.checks[-1].message == f"8 golden vectors replay in {runtime}."
    outputs = golden.outputs.copy()
    outputs[5, 2] ^= 1
    check = _failed(run_gate(replace(sound["int8"], golden=replace(golden, outputs=outputs))))["golden vectors"]
    assert (check.figure, check.stage) == ("other outputs in 1 rows", "export")


def test_golden_vectors_of_another_model_are_noticed(sound: dict[str, GateInputs], answers: Answers) -> None:
    golden = _golden(sound["int8"], answers, LITERT)
    moved = replace(golden, quantized=golden.quantized + np.int8(1))
    assert check_golden(sound["int8"].model, moved, 60).figure == "quantized inputs that are not the raw ones quantized"
    floats = check_golden(sound["float32"].model, golden, 60)
    assert floats.figure == "inputs of int8 (8, 8, 1), which the model does not eat"
    short = replace(golden, outputs=golden.outputs[:, :9])
    assert check_golden(sound["int8"].model, short, 60).figure == "outputs of int8 (8, 10) for int8 (8, 9)"
    float16 = replace(golden, quantized=golden.inputs, runtime=TFLITE_MICRO)
    refused = check_golden(sound["float16"].model, float16, 60)
    assert not refused.passed
    assert "DEQUANTIZE" in str(refused.figure)


def test_the_gate_does_not_import_tensorflow() -> None:
    code = "import sys, pipeline.gate.checks; print([m for m in ('tensorflow', 'tf_keras') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


# ------------------------------------------------------------------------------ fewer bits


@pytest.fixture(scope="module")
def encoded(sound: dict[str, GateInputs]) -> GateInputs:
    """The pruned int8 network with its zeros encoded for TFLite Micro."""
    plain = sound["int8"].model
    return replace(sound["int8"], model=encode(plain, "sparse").model, unpacked=plain, golden=None)


def test_encoded_weights_pass_with_the_plain_file_beside_them(encoded: GateInputs) -> None:
    report = run_gate(encoded)
    assert _failed(report) == {}
    assert {"encoded weights", "pruned zeros", "TFLite Micro"} <= {check.name for check in report.checks}
    assert report.arena_bytes is not None


def test_an_encoded_file_of_other_weights_is_noticed(encoded: GateInputs) -> None:
    def change(unpacked: Any) -> None:
        """Another value among the weights that are kept."""
        for operator in unpacked.subgraphs[0].operators:
            if unpacked.operatorCodes[operator.opcodeIndex].customCode == b"TFLM_DECODE":
                buffer = unpacked.buffers[unpacked.subgraphs[0].tensors[int(operator.inputs[1])].buffer]
                data = np.array(buffer.data, np.uint8)
                data[20] ^= 0x40
                buffer.data = data

    failed = _failed(run_gate(replace(encoded, model=_edited(encoded.model, change))))
    assert "encoded weights" in failed
    assert "expected encoded tensors that unpack to the plain ones" in failed["encoded weights"].message


def test_an_encoded_file_that_is_said_to_be_plain_is_noticed(encoded: GateInputs) -> None:
    failed = _failed(run_gate(replace(encoded, unpacked=None)))
    assert "built-in operators" in failed


@pytest.mark.parametrize(("values", "passed"), [(255, True), (3, False)])
def test_clusters_that_were_lost_are_noticed(sound: dict[str, GateInputs], values: int, passed: bool) -> None:
    report = run_gate(replace(sound["int8"], clusters={PRUNED: values}, golden=None))
    check = next(check for check in report.checks if check.name == "clusters")
    assert check.passed == passed
    if not passed:
        assert f"layer '{PRUNED}': " in check.message
    missing = run_gate(replace(sound["int8"], clusters={"nowhere": 4}, golden=None))
    assert "no kernel of that name" in _failed(missing)["clusters"].message


def test_other_bits_are_judged_by_their_own_limits(sound: dict[str, GateInputs]) -> None:
    given = sound["float32"]
    for precision in ("int4", "int16x8"):
        file = quantize(given.model, Recipe(precision), given.x[:60], (0.0, 1.0))  # type: ignore[arg-type]
        assert arithmetic(file, precision) == precision
        report = run_gate(replace(given, model=file, precision=precision, golden=None, masks={}))
        assert "integer operators" in {check.name for check in report.checks}
        pixel = next(check for check in report.checks if check.name == "pixel input")
        assert pixel.passed, pixel.message
        figure = next(check for check in report.checks if check.name == "same outputs as Keras")
        assert figure.limit <= CLASSIFICATION[precision].error
    mixed = quantize(given.model, Recipe("int8", {PRUNED: "int4"}), given.x[:60], (0.0, 1.0))
    assert arithmetic(mixed, "int8") == "int4"
    assert arithmetic(sound["int8"].model, "int8_sparse_micro") == "int8"


def test_a_cell_state_that_kernels_cannot_read_is_refused() -> None:
    inputs = keras.Input((4, 3), name="input")
    model = keras.Model(inputs, keras.layers.Dense(2, "softmax", name="output")(keras.layers.LSTM(3)(inputs)))
    rows = np.random.default_rng(1).normal(size=(8, 4, 3)).astype(np.float32)
    converted = convert(model, "int8", rows)
    given = GateInputs(
        model=converted,
        precision="int8",
        schema=VECTORS.model_copy(update={"kind": "series", "input_shape": (4, 3), "class_names": ("a", "b")}),
        task=task_for("classification"),
        x=rows,
        keras_outputs=model.predict(rows, verbose=0),
    )
    assert "cell states" not in {check.name for check in run_gate(given).checks}
    unpacked = read_whole(converted)
    operator = next(each for each in unpacked.subgraphs[0].operators if len(each.inputs) > 19)
    state = unpacked.subgraphs[0].tensors[operator.inputs[19]]
    state.name, state.quantization.scale = b"cell", np.array([2.0**-17], np.float32)
    check = next(each for each in run_gate(replace(given, model=pack(unpacked))).checks if each.name == "cell states")
    assert (check.passed, check.figure, check.limit, check.stage) == (False, 2.0**-17, 2.0**-15, "convert")
    assert check.message.startswith(
        "expected cell states with a scale of at least 3.05175781e-05, got 'cell': 7.62939453e-06. The kernels' tanh"
    )

"""Recurrent layers in TFLite files: fused or unrolled, their kernels found again, and how near the runtimes are."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from data.contract import ConversionError
from models.legacy_keras import keras
from models.prediction import predict
from models.recurrent import kernel_named, recurrent_kernels
from models.tflite import audit
from models.tflite.c_source import model_data_source
from models.tflite.convert import ConverterPrecision, convert
from models.tflite.flatbuffer import read_whole
from models.tflite.interpreter import LiteRT
from models.tflite.kernels import gate_tensors
from models.tflite.loops import advice_on_loop
from models.tflite.micro import MicroResult, run_micro
from models.tflite.mixed_precision import Recipe, quantize
from models.tflite.operator_agreement import OperatorAgreement, compare_operators
from models.tflite.recurrent_names import name_recurrent_kernels
from models.tflite.recurrent_states import unreadable_cell_states, widen_cell_states
from models.tflite.unrolled import unrolled_twin
from models.tflite.zeros import check_zeros

layers = keras.layers
FUSED = "UNIDIRECTIONAL_SEQUENCE_LSTM"


def recurrent(kind: Any, units: int = 4, pooling: str = "last", **fields: Any) -> Any:
    """Six steps of three numbers, one recurrent layer of random weights, three classes."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((6, 3), name="input")
    memory = kind(units, name="memory", return_sequences=pooling == "mean", **fields)(inputs)
    if pooling == "mean":
        memory = layers.GlobalAveragePooling1D()(memory)
    model = keras.Model(inputs, layers.Dense(3, "softmax", name="output")(memory))
    generator = np.random.default_rng(4)
    model.set_weights([generator.normal(size=array.shape) * 0.6 for array in model.get_weights()])
    return model


def rows(count: int = 40) -> Any:
    return np.random.default_rng(5).normal(size=(count, 6, 3)).astype(np.float32)


KINDS = [layers.LSTM, layers.GRU, layers.SimpleRNN]


@pytest.mark.parametrize("pooling", ["last", "mean"])
@pytest.mark.parametrize("kind", KINDS)
def test_int8_holds_integers_alone_and_every_runtime_is_near_keras(kind: Any, pooling: str) -> None:
    model, x = recurrent(kind, pooling=pooling), rows()
    exact = convert(model, "float32")
    np.testing.assert_allclose(LiteRT(exact).predict(x), predict(model, x), atol=1e-6)
    converted = convert(model, "int8", x)
    assert audit.float_operators(converted) == []
    assert audit.foreign_operators(converted) == []
    runtime = LiteRT(converted)
    quantized = runtime.quantize(x)
    answers = runtime.invoke(quantized)
    np.testing.assert_allclose(runtime.dequantize(answers), predict(model, x), atol=0.06)
    micro = run_micro(converted, quantized)
    assert isinstance(micro, MicroResult), micro
    assert np.abs(micro.outputs.astype(int) - answers.astype(int)).max() <= 4


@pytest.mark.parametrize(
    ("fields", "operators"),
    [
        ({"kind": layers.LSTM}, {FUSED: 1, "STRIDED_SLICE": 1}),
        # Inputs at once, and their steps; 5 products, sums and tanh of the steps with a state, a tanh of the first.
        ({"kind": layers.SimpleRNN}, {"FULLY_CONNECTED": 6, "SPLIT": 1, "ADD": 5, "TANH": 6}),
        # Gates and candidate apart; a bias behind the reset gate makes the first step read both gates.
        (
            {"kind": layers.GRU},
            {"FULLY_CONNECTED": 12, "SPLIT": 8, "LOGISTIC": 6, "TANH": 6, "SUB": 6, "MUL": 17, "ADD": 16},
        ),
        (
            {"kind": layers.GRU, "reset_after": False},
            {"FULLY_CONNECTED": 12, "SPLIT": 7, "LOGISTIC": 6, "TANH": 6, "SUB": 6, "MUL": 16, "ADD": 15}
            | {"STRIDED_SLICE": 1},
        ),
    ],
)
def test_operators_are_those_counted_by_hand(fields: Any, operators: dict[str, int]) -> None:
    model, x = recurrent(**fields), rows()
    converted = convert(model, "int8", x)
    ends = {"FULLY_CONNECTED": 1, "SOFTMAX": 1}
    found = Counter(audit.operators(converted))
    found.pop("RESHAPE", None)
    assert found == Counter(operators) + Counter(ends)
    np.testing.assert_allclose(LiteRT(converted).predict(x), predict(model, x), atol=0.06)


@pytest.mark.parametrize("fields", [{"use_bias": False}, {"activation": "relu"}, {"recurrent_activation": "relu6"}])
def test_an_unrolled_layer_keeps_its_own_settings(fields: dict[str, Any]) -> None:
    model, x = recurrent(layers.GRU, **fields), rows(5)
    np.testing.assert_allclose(LiteRT(convert(model, "float32")).predict(x), predict(model, x), atol=1e-6)


def test_other_layers_are_not_unrolled() -> None:
    dense = keras.Model(inputs := keras.Input((3,)), layers.Dense(2)(inputs))
    assert unrolled_twin(dense) is dense
    assert unrolled_twin(recurrent(layers.LSTM)).get_layer("memory").units == 4


@pytest.mark.parametrize("precision", ["float32", "float16", "dynamic_range", "int8"])
@pytest.mark.parametrize(("kind", "parts"), [(layers.LSTM, 4), (layers.GRU, 2), (layers.SimpleRNN, 1)])
def test_kernels_are_found_in_the_file(kind: Any, parts: int, precision: ConverterPrecision) -> None:
    model = recurrent(kind)
    converted = convert(model, precision, rows())
    for name, kernel in recurrent_kernels(model.get_layer("memory")).items():
        tensors = gate_tensors(converted, name)
        assert len(tensors) == parts
        found = np.concatenate([each.values.astype(np.float64) for each in tensors]).T
        expected = kernel.numpy()
        assert found.shape == expected.shape
        # Integers are compared by sign and order of size: scales differ from gate to gate.
        if precision == "int8":
            np.testing.assert_array_equal(
                np.sign(found[np.abs(expected) > 0.02]), np.sign(expected[np.abs(expected) > 0.02])
            )
        else:
            np.testing.assert_allclose(found, expected, atol=1e-3 if precision == "float16" else 0.0)


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("kind", KINDS)
def test_pruned_zeros_are_zeros_in_every_gate_and_a_lost_one_is_found(kind: Any, precision: ConverterPrecision) -> None:
    model = recurrent(kind)
    masks = {}
    for name in ("memory/kernel", "memory/recurrent_kernel"):
        kernel = kernel_named(model, name)
        masks[name] = np.random.default_rng(6).random(kernel.shape) > 0.5
        kernel.assign(kernel.numpy() * masks[name])
    converted = convert(model, precision, rows())
    findings = check_zeros(converted, masks)
    assert [finding.layer for finding in findings] == list(masks)
    assert all(finding.passed for finding in findings), findings
    assert [finding.pruned for finding in findings] == [int((~mask).sum()) for mask in masks.values()]
    # One zero too many in the mask: the file has a number there.
    masks["memory/recurrent_kernel"] = masks["memory/recurrent_kernel"].copy()
    alive = np.argwhere(masks["memory/recurrent_kernel"])[3]
    masks["memory/recurrent_kernel"][tuple(alive)] = False
    revived = check_zeros(converted, masks)[1]
    assert (revived.revived, revived.passed) == (1, False)


def test_zeros_of_a_kernel_that_is_not_in_the_file_are_a_finding() -> None:
    converted = convert(recurrent(layers.LSTM), "float32")
    finding = check_zeros(converted, {"memory/kernel": np.ones((3, 20), bool)})[0]
    assert finding.message == "tensors of the file do not add up to the kernel (3, 20) of this layer"


def test_an_lstm_that_is_not_fused_is_refused() -> None:
    model = recurrent(layers.LSTM, activation="relu")
    message = (
        r"expected each LSTM layer \('memory'\) as one operator UNIDIRECTIONAL_SEQUENCE_LSTM, got 0 of 1\. Give it tanh"
    )
    with pytest.raises(ConversionError, match=message):
        convert(model, "float32")


@pytest.mark.parametrize("kernels", [0.3, 0.1])
def test_a_cell_state_that_stays_small_is_read_right(kernels: float) -> None:
    """The converter's own scale, below 2^-15, made both runtimes wrong by two standard deviations."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((8, 5), name="input")
    memory = layers.LSTM(8, name="memory")
    model = keras.Model(inputs, memory(inputs))
    weights = memory.get_weights()
    memory.set_weights([weights[0] * kernels, weights[1] * kernels, weights[2]])
    x = np.random.default_rng(0).uniform(size=(60, 8, 5)).astype(np.float32)
    expected = predict(model, x)
    converted = convert(model, "int8", x)
    operator = next(each for each in read_whole(converted).subgraphs[0].operators if len(each.inputs) > 19)
    state = read_whole(converted).subgraphs[0].tensors[operator.inputs[19]]
    assert (state.type, list(state.quantization.scale)) == (schema.TensorType.INT16, [2.0**-15])
    assert unreadable_cell_states(converted) == {}
    runtime = LiteRT(converted)
    quantized = runtime.quantize(x)
    answers = runtime.invoke(quantized)
    error = np.sqrt(np.mean((runtime.dequantize(answers) - expected) ** 2)) / expected.std()
    assert error < 0.03
    micro = run_micro(converted, quantized)
    assert isinstance(micro, MicroResult), micro
    assert np.abs(micro.outputs.astype(int) - answers.astype(int)).max() <= 2


def test_a_scale_that_can_be_read_is_left_alone() -> None:
    unpacked = read_whole(convert(recurrent(layers.LSTM), "int8", rows()))
    operator = next(each for each in unpacked.subgraphs[0].operators if len(each.inputs) > 19)
    state = unpacked.subgraphs[0].tensors[operator.inputs[19]]
    for power, widened in ((-15, False), (-13, False), (-16, True)):
        state.quantization.scale = np.array([2.0**power], np.float32)
        assert widen_cell_states(unpacked) is widened
        assert list(state.quantization.scale) == [2.0 ** max(power, -15)]
    state.type, state.quantization = schema.TensorType.FLOAT32, None
    assert widen_cell_states(unpacked) is False


@pytest.mark.parametrize(
    ("make", "advice"),
    [
        (lambda: layers.GRU(4, name="memory", go_backwards=True), "Use an LSTM, or a GRU or SimpleRNN as it is: in no"),
        (lambda: layers.Bidirectional(layers.SimpleRNN(4), name="memory"), "Use an LSTM, or a GRU or SimpleRNN"),
        (lambda: layers.RNN(layers.GRUCell(4), name="memory"), "Use an LSTM, or a GRU or SimpleRNN as it is"),
        (lambda: layers.LSTM(4, name="memory", use_bias=False), "Give it tanh and sigmoid, a bias (use_bias=True)"),
    ],
)
def test_a_loop_is_refused_before_it_is_calibrated(make: Any, advice: str) -> None:
    """Calibrating one ends the process with a segmentation fault."""
    inputs = keras.Input((6, 3), name="input")
    model = keras.Model(inputs, layers.Dense(3, "softmax", name="output")(make()(inputs)))
    with pytest.raises(ConversionError) as caught:
        convert(model, "int8", rows())
    message = "convert.variants: expected recurrent layers without a loop for 'int8', got WHILE of 'memory'. "
    assert str(caught.value).startswith(message + advice)


def test_what_becomes_no_loop_is_told_from_what_does() -> None:
    def advice(make: Any, *, masked: bool = False) -> str | None:
        inputs = keras.Input((6, 3))
        layer = make()
        layer(layers.Masking()(inputs) if masked else inputs)
        return advice_on_loop(layer)

    for make in (
        lambda: layers.LSTM(4, go_backwards=True),
        lambda: layers.Bidirectional(layers.LSTM(4)),
        lambda: layers.GRU(4, activation="relu"),
        lambda: layers.SimpleRNN(4, use_bias=False),
        lambda: layers.Dense(4),
    ):
        assert advice(make) is None
    for kind, fields in (
        (layers.LSTM, {"recurrent_activation": "hard_sigmoid"}),
        (layers.LSTM, {"unroll": True}),
        (layers.LSTM, {"return_state": True}),
        (layers.GRU, {"go_backwards": True}),
        (layers.SimpleRNN, {"return_state": True}),
    ):
        told = advice(lambda kind=kind, fields=fields: kind(4, **fields))
        assert told is not None
        assert told.startswith("Give it tanh" if kind is layers.LSTM else "Use an LSTM")
    for kind in KINDS:
        assert "mask" in str(advice(lambda kind=kind: kind(4), masked=True))


def test_an_operator_with_the_weights_of_another_layer_is_refused() -> None:
    model = recurrent(layers.LSTM)
    unpacked = read_whole(convert(model, "int8", rows()))
    kernel = model.get_layer("memory").cell.kernel
    kernel.assign(-kernel.numpy())
    with pytest.raises(ConversionError, match="with the weights of 'memory', got one with others"):
        name_recurrent_kernels(unpacked, model)


@pytest.mark.parametrize(
    ("kind", "recipe", "limit"),
    [
        (layers.GRU, Recipe("int16x8"), 0.01),
        (layers.GRU, Recipe("int8", overrides={"memory": "int16x8"}), 0.02),
        (layers.SimpleRNN, Recipe("int4"), 0.15),
    ],
)
def test_unrolled_layers_take_other_bits(kind: Any, recipe: Recipe, limit: float) -> None:
    model, x = recurrent(kind, units=8), rows()
    converted = quantize(convert(model, "float32"), recipe, x)
    runtime = LiteRT(converted)
    np.testing.assert_allclose(runtime.predict(x), predict(model, x), atol=limit)
    assert isinstance(run_micro(converted, runtime.quantize(x[:4])), MicroResult)


def test_the_header_says_that_a_state_must_be_reset() -> None:
    for kind, told in ((layers.LSTM, True), (layers.GRU, False)):
        header = model_data_source(convert(recurrent(kind), "int8", rows()), "m", 1000).h
        assert ("call the interpreter's Reset() before each input" in header) == told


def test_the_same_model_gives_the_same_bytes() -> None:
    for kind in KINDS:
        model = recurrent(kind)
        assert convert(model, "int8", rows()) == convert(model, "int8", rows())


@pytest.mark.parametrize("kind", KINDS)
def test_given_the_same_integers_the_runtimes_are_a_rounding_apart(kind: Any) -> None:
    """Unrolled layers split their inputs into steps: every output of a split is what somebody reads."""
    x = rows()
    converted = convert(recurrent(kind, units=8), "int8", x)
    found = compare_operators(converted, LiteRT(converted).quantize(x))
    assert isinstance(found, OperatorAgreement), found
    assert max(operator.steps for operator in found.operators) <= 1

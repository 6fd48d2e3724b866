from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from data.contract import ConversionError
from models.legacy_keras import keras, tf
from models.tflite import audit
from models.tflite.convert import ConverterPrecision, _ask_for, _converter, convert
from models.tflite.interpreter import LiteRT

ROOT = Path(__file__).resolve().parents[3]
PRECISIONS: tuple[ConverterPrecision, ...] = ("float32", "float16", "dynamic_range", "int8")

_IN_ANOTHER_PROCESS = """
import hashlib, sys
from importlib.util import module_from_spec, spec_from_file_location
import numpy as np
spec = spec_from_file_location("tiny", sys.argv[1])
tiny = module_from_spec(spec); spec.loader.exec_module(tiny)
rows = np.random.default_rng(5).random((20, 8, 8, 1)).astype(np.float32)
for network in (tiny.tiny_cnn, tiny.tiny_mlp):
    for precision in tiny.PRECISIONS:
        print("digest", hashlib.sha256(tiny.convert(network(), precision, rows)).hexdigest())
"""


def _nhwc_forward(model: Any, x: np.ndarray) -> np.ndarray:
    """Slow NumPy reference of the MLP."""
    w1, b1, w2, b2 = (weight.astype(np.float64) for weight in model.get_weights())
    hidden = np.maximum(x.reshape(len(x), -1) @ w1 + b1, 0.0)
    logits = hidden @ w2 + b2
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def test_float32_computes_what_the_formula_says(variants: Any, mlp: Any, digits: np.ndarray) -> None:
    expected = _nhwc_forward(mlp, digits[:20])
    np.testing.assert_allclose(LiteRT(variants["mlp", "float32"]).predict(digits[:20]), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("precision", "limit"), [("float32", 1e-6), ("float16", 1e-3), ("dynamic_range", 0.02), ("int8", 0.04)]
)
@pytest.mark.parametrize("network", ["mlp", "cnn"])
def test_each_precision_stays_near_keras(
    variants: Any, mlp: Any, cnn: Any, digits: np.ndarray, network: str, precision: str, limit: float
) -> None:
    keras_outputs = {"mlp": mlp, "cnn": cnn}[network](digits[1000:1100]).numpy()
    outputs = LiteRT(variants[network, precision]).predict(digits[1000:1100])
    assert np.abs(outputs - keras_outputs).max(axis=1).mean() < limit


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_batch_is_one_and_types_are_as_asked(variants: Any, precision: str) -> None:
    runtime = LiteRT(variants["mlp", precision])
    assert runtime.input.shape == (1, 8, 8, 1)
    assert runtime.output.shape == (1, 10)
    assert runtime.input.dtype == runtime.output.dtype == np.dtype("int8" if precision == "int8" else "float32")


def test_an_int8_image_input_is_the_pixel_minus_128(variants: Any) -> None:
    for network in ("mlp", "cnn"):
        runtime = LiteRT(variants[network, "int8"])
        assert np.float32(runtime.input.scale) == np.float32(1) / np.float32(255)
        assert runtime.input.zero_point == -128
        pixels = np.resize(np.arange(256), (4, 8, 8, 1))
        np.testing.assert_array_equal(runtime.quantize((pixels / 255).astype(np.float32)), pixels - 128)


def test_float16_stores_the_weights_in_half(variants: Any, mlp: Any) -> None:
    stored = [c for c in audit.constants(variants["mlp", "float16"]) if c.values.shape == (20, 64)]
    np.testing.assert_array_equal(stored[0].values, mlp.layers[2].kernel.numpy().T.astype(np.float16))


def test_dynamic_range_leaves_tensors_under_1024_elements_in_float(variants: Any) -> None:
    types = {c.values.shape: c.values.dtype.name for c in audit.constants(variants["mlp", "dynamic_range"])}
    assert types[(20, 64)] == "int8"
    assert types[(10, 20)] == "float32"


def test_two_processes_and_hash_seeds_give_the_same_bytes() -> None:
    run = subprocess.run(
        [sys.executable, "-c", _IN_ANOTHER_PROCESS, str(Path(__file__).with_name("conftest.py"))],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "4242"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    theirs = [line.split()[1] for line in run.stdout.splitlines() if line.startswith("digest")]
    rows = np.random.default_rng(5).random((20, 8, 8, 1)).astype(np.float32)
    networks = _networks()
    ours = [hashlib.sha256(convert(net(), p, rows)).hexdigest() for net in networks for p in PRECISIONS]
    assert ours == theirs


def _networks() -> list[Any]:
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("tiny", Path(__file__).with_name("conftest.py"))
    assert spec is not None and spec.loader is not None
    tiny = module_from_spec(spec)
    spec.loader.exec_module(tiny)
    return [tiny.tiny_cnn, tiny.tiny_mlp]


def _by_way_of_a_saved_model(model: Any, precision: str, rows: np.ndarray) -> bytes:
    """TensorFlow's default way, for comparison."""
    converter = _converter(model)
    _ask_for(converter, precision, rows)  # type: ignore[arg-type]
    converter.experimental_lower_to_saved_model = True
    return bytes(converter.convert())


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("network", ["cnn", "mlp"])
def test_weights_frozen_in_memory_come_out_as_by_way_of_a_saved_model(
    network: str, precision: ConverterPrecision, digits: np.ndarray, request: pytest.FixtureRequest
) -> None:
    model = request.getfixturevalue(network)
    rows = digits if precision == "int8" else None
    ours, theirs = convert(model, precision, rows), _by_way_of_a_saved_model(model, precision, digits)
    assert audit.operators(ours) == audit.operators(theirs)
    constants = [
        sorted((each.values.dtype.str, each.values.shape, each.values.tobytes()) for each in audit.constants(file))
        for file in (ours, theirs)
    ]
    assert constants[0] == constants[1]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_input_and_output_have_names(variants: Any, precision: str) -> None:
    signatures = Interpreter(model_content=variants["mlp", precision]).get_signature_list()
    assert signatures == {"serving_default": {"inputs": ["input"], "outputs": ["output_0"]}}


def test_the_model_that_came_in_is_left_alone(mlp: Any, digits: np.ndarray) -> None:
    name, before = mlp.name, [weight.copy() for weight in mlp.get_weights()]
    convert(mlp, "int8", digits[:5])
    assert mlp.name == name
    for old, new in zip(before, mlp.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_what_built_in_operators_cannot_say_is_an_error_and_no_fallback() -> None:
    inputs = keras.Input((3, 3))
    model = keras.Model(inputs, keras.layers.Lambda(tf.linalg.det)(inputs))
    with pytest.raises(ConversionError, match=r"built-in operators, got .*MatrixDeterminant.* for 'float32'\. Replace"):
        convert(model, "float32")


def test_two_inputs_are_refused() -> None:
    inputs = [keras.Input((3,)), keras.Input((3,))]
    with pytest.raises(ConversionError, match="expected a model with one input and one output, got 2 and 1"):
        convert(keras.Model(inputs, keras.layers.Add()(inputs)), "float32")


def test_an_unknown_input_shape_is_refused() -> None:
    inputs = keras.Input((None, 3))
    with pytest.raises(ConversionError, match=r"input shape is known, got \(None, None, 3\)"):
        convert(keras.Model(inputs, keras.layers.Dense(2)(inputs)), "float32")


@pytest.mark.parametrize(
    ("calibration", "message"),
    [
        (None, "expected real training rows for 'int8', got none"),
        (np.zeros((0, 8, 8, 1), np.float32), "expected real training rows for 'int8', got none"),
        (np.zeros((4, 64), np.float32), r"expected rows of shape \(8, 8, 1\), got \(64,\)"),
        (np.full((4, 8, 8, 1), np.nan, np.float32), "expected finite numbers, got NaN or infinity"),
    ],
)
def test_int8_without_real_rows_is_refused(mlp: Any, calibration: Any, message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        convert(mlp, "int8", calibration)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("nested", [False, True])
def test_a_recurrent_layer_becomes_one_operator(precision: ConverterPrecision, nested: bool) -> None:
    inputs = keras.Input((6, 3))
    memory: Any = keras.layers.LSTM(4)
    if nested:
        memory = keras.Sequential([keras.layers.Input((6, 3)), memory])
    model = keras.Model(inputs, keras.layers.Dense(2)(memory(inputs)))
    x = np.random.default_rng(1).random((50, 6, 3)).astype(np.float32)
    converted = convert(model, precision, x)
    assert "UNIDIRECTIONAL_SEQUENCE_LSTM" in [operator.name for operator in audit.operator_details(converted)]
    np.testing.assert_allclose(
        LiteRT(converted).predict(x), model(x).numpy(), atol=1e-6 if precision == "float32" else 0.02
    )

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.contract import ConfigError, ConversionError
from models.legacy_keras import keras
from models.tflite import audit
from models.tflite.calibration import calibration_rows
from models.tflite.convert import convert
from models.tflite.interpreter import LiteRT
from models.tflite.micro import MicroResult, run_micro
from models.tflite.mixed_precision import LayerPrecision, Recipe, layer_names, quantize
from models.tflite.runtimes import LITERT, TFLITE_MICRO, XNNPACK, runtime_support

ROOT = Path(__file__).resolve().parents[3]
PRECISIONS: tuple[LayerPrecision, ...] = ("int8", "int16x8", "int4")
NETWORKS = ("mlp", "cnn")
PIXELS = (0.0, 1.0)

_IN_ANOTHER_PROCESS = """
import hashlib, sys
from pathlib import Path
import numpy as np
from models.tflite.mixed_precision import Recipe, quantize
rows = np.random.default_rng(5).random((20, 8, 8, 1)).astype(np.float32)
model = Path(sys.argv[1]).read_bytes()
for precision in ("int8", "int16x8", "int4"):
    print("digest", hashlib.sha256(quantize(model, Recipe(precision, {"conv_2": "int16x8"}), rows)).hexdigest())
print("tensorflow" in sys.modules)
"""


@pytest.fixture(scope="module")
def rows(digits: np.ndarray) -> np.ndarray:
    return calibration_rows(digits[:1000].__getitem__, 1000, PIXELS, 100, 3)


@pytest.fixture(scope="module")
def files(variants: Any, rows: np.ndarray) -> dict[tuple[str, str], bytes]:
    return {(n, p): quantize(variants[n, "float32"], Recipe(p), rows, PIXELS) for n in NETWORKS for p in PRECISIONS}


def _kernels(model: bytes) -> dict[tuple[int, ...], tuple[np.ndarray, np.ndarray, int, int]]:
    """Shape -> integers, scales, channel axis, bytes in the file; of INT4 the low half of a byte comes first."""
    unpacked = audit.read_model(model)
    found = {}
    for tensor in unpacked.subgraphs[0].tensors:
        data = unpacked.buffers[tensor.buffer].data
        kind = audit._TENSOR_TYPES[tensor.type]
        if data is None or kind not in {"INT4", "INT8"}:
            continue
        raw = np.asarray(data, np.uint8)
        shape = tuple(int(size) for size in tensor.shape)
        nibbles = np.stack([raw & 15, raw >> 4], axis=1).ravel()[: np.prod(shape)].astype(np.int8)
        values = np.where(nibbles > 7, nibbles - 16, nibbles) if kind == "INT4" else raw.view(np.int8)
        quantization = tensor.quantization
        scales, axis = np.asarray(quantization.scale), int(quantization.quantizedDimension)
        found[shape] = (values.reshape(shape), scales, axis, raw.size)
    return found


def _slow(kernel: np.ndarray, largest: int, axis: int | None) -> tuple[np.ndarray, np.ndarray]:
    """One weight at a time: s = max|w| / largest over a slice (or all), q = w / s rounded half to even."""
    places = [()] if axis is None else [(slice(None),) * axis + (k,) for k in range(kernel.shape[axis])]
    scales, integers = [], np.zeros(kernel.shape, int)
    for place in places:
        scale = np.float32(np.abs(kernel[place]).max()) / np.float32(largest)
        scales.append(scale)
        integers[place] = np.reshape([round(float(w / scale)) for w in kernel[place].ravel()], kernel[place].shape)
    return integers, np.asarray(scales)


@pytest.mark.parametrize(("precision", "largest"), [("int8", 127), ("int16x8", 127), ("int4", 7)])
def test_weights_are_what_a_slow_quantizer_makes(files: Any, mlp: Any, precision: str, largest: int) -> None:
    kernels = _kernels(files["mlp", precision])
    for layer in ("dense_1", "output"):
        kernel = mlp.get_layer(layer).kernel.numpy().T
        integers, scales, _, _ = kernels[kernel.shape]
        expected, expected_scales = _slow(kernel, largest, None if precision == "int4" else 0)
        np.testing.assert_allclose(scales, expected_scales, rtol=1e-6)
        np.testing.assert_array_equal(integers, expected)


@pytest.mark.parametrize(("precision", "largest"), [("int8", 127), ("int4", 7)])
def test_filters_have_a_scale_each_depthwise_too(files: Any, variants: Any, precision: str, largest: int) -> None:
    floats = {c.values.shape: c.values for c in audit.constants(variants["cnn", "float32"])}
    kernels = _kernels(files["cnn", precision])
    for shape, axis in (((6, 3, 3, 1), 0), ((1, 3, 3, 6), 3), ((12, 1, 1, 6), 0)):
        integers, scales, stored_axis, _ = kernels[shape]
        expected, expected_scales = _slow(floats[shape], largest, axis)
        assert stored_axis == axis
        np.testing.assert_allclose(scales, expected_scales, rtol=1e-6)
        np.testing.assert_array_equal(integers, expected)


def test_two_4_bit_weights_share_a_byte(files: Any) -> None:
    sizes = {shape: size for shape, (_, _, _, size) in _kernels(files["cnn", "int4"]).items()}
    assert sizes == {(6, 3, 3, 1): 27, (1, 3, 3, 6): 27, (12, 1, 1, 6): 36, (10, 12): 60}
    assert len(files["mlp", "int4"]) < len(files["mlp", "int8"]) - (64 * 20 + 20 * 10) // 2


def test_an_odd_number_of_4_bit_weights_runs_everywhere() -> None:
    """189 and 63 weights, the last byte half empty; all on a grid of 4 bits, so that activations alone are rounded."""
    inputs = keras.Input((5, 5, 3))
    x = keras.layers.Conv2D(7, 3, padding="same", activation="relu", name="odd")(inputs)
    x = keras.layers.DepthwiseConv2D(3, name="odd_depthwise")(x)
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))
    generator = np.random.default_rng(3)
    kernels = [generator.integers(-7, 8, (3, 3, 3, 7)), generator.integers(-7, 8, (3, 3, 7, 1))]
    kernels[0][0, 0, 0], kernels[1][0, 0] = 7, -7
    model.set_weights([0.05 * kernels[0], np.zeros(7), 0.05 * kernels[1], np.zeros(7)])
    x = generator.random((60, 5, 5, 3)).astype(np.float32)
    file = quantize(convert(model, "float32"), Recipe("int4"), x)
    assert {size for _, _, _, size in _kernels(file).values()} == {95, 32}
    runtime = LiteRT(file)
    expected = model(x).numpy()
    assert np.abs(runtime.predict(x) - expected).max() < 0.015 * np.ptp(expected)
    micro = run_micro(file, runtime.quantize(x))
    assert isinstance(micro, MicroResult)
    assert np.abs(micro.outputs.astype(int) - runtime.invoke(runtime.quantize(x)).astype(int)).max() <= 2


@pytest.mark.parametrize(("precision", "limit"), [("int8", 0.04), ("int16x8", 0.01), ("int4", 0.25)])
@pytest.mark.parametrize("network", NETWORKS)
def test_each_precision_stays_near_keras(
    files: Any, mlp: Any, cnn: Any, digits: np.ndarray, network: str, precision: str, limit: float
) -> None:
    """Random weights suit 4 bits worst; of ten trained networks eight were within 0.025 there, the worst at 0.12."""
    expected = {"mlp": mlp, "cnn": cnn}[network](digits[1000:1100]).numpy()
    for delegates in (False, True):
        outputs = LiteRT(files[network, precision], default_delegates=delegates).predict(digits[1000:1100])
        assert np.abs(outputs - expected).max(axis=1).mean() < limit


@pytest.mark.parametrize(("precision", "steps"), [("int8", 2), ("int16x8", 64), ("int4", 2)])
@pytest.mark.parametrize("network", NETWORKS)
def test_tflite_micro_answers_as_litert(
    files: Any, digits: np.ndarray, network: str, precision: str, steps: int
) -> None:
    """2 steps of 8 bits are 512 of 16; 64 is an eighth of them."""
    runtime = LiteRT(files[network, precision])
    integers = runtime.quantize(digits[1000:1060])
    micro = run_micro(files[network, precision], integers)
    assert isinstance(micro, MicroResult)
    assert np.abs(micro.outputs.astype(int) - runtime.invoke(integers).astype(int)).max() <= steps


@pytest.mark.parametrize("network", NETWORKS)
def test_int8_is_the_converters_int8(
    files: Any, variants: Any, digits: np.ndarray, rows: np.ndarray, network: str
) -> None:
    """Same input and output, and as near to Keras; the ranges are extremes in both."""
    ours, theirs = LiteRT(files[network, "int8"]), LiteRT(variants[network, "int8"])
    assert (ours.input, ours.output) == (theirs.input, theirs.output)
    assert len(files[network, "int8"]) <= len(variants[network, "int8"])
    assert np.abs(ours.predict(digits[1000:1050]) - theirs.predict(digits[1000:1050])).max() < 0.05


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_an_8_bit_image_input_is_the_pixel_minus_128(files: Any, precision: str) -> None:
    runtime = LiteRT(files["cnn", precision])
    assert (runtime.input.dtype, runtime.input.zero_point) == (np.int8, -128)
    assert np.float32(runtime.input.scale) == np.float32(1) / np.float32(255)
    assert (runtime.output.dtype, runtime.output.scale, runtime.output.zero_point) == (np.int8, 1 / 256, -128)


def test_a_16_bit_image_input_is_the_pixel_times_128(files: Any, variants: Any, rows: np.ndarray) -> None:
    runtime = LiteRT(files["cnn", "int16x8"])
    assert (runtime.input.dtype, runtime.input.zero_point) == (np.int16, 0)
    pixels = np.resize(np.arange(256), (4, 8, 8, 1))
    np.testing.assert_array_equal(runtime.quantize((pixels / 255).astype(np.float32)), pixels * 128)
    assert (runtime.output.dtype, runtime.output.scale) == (np.int16, 1 / 32768)
    plain = LiteRT(quantize(variants["cnn", "float32"], Recipe("int16x8"), rows))
    assert np.float32(plain.input.scale) == np.float32(1) / np.float32(32767)


def test_layers_that_are_named_get_their_own_bits(variants: Any, rows: np.ndarray, digits: np.ndarray) -> None:
    recipe = Recipe("int4", {"conv_1": "int8", "depthwise_2": "int16x8", "output": "int16x8"})
    file = quantize(variants["cnn", "float32"], recipe, rows, PIXELS)
    weighted = [
        o for o in audit.operator_details(file) if o.name in {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"}
    ]
    assert [o.input_types[:2] for o in weighted] == [
        ("INT8", "INT8"),
        ("INT16", "INT8"),
        ("INT8", "INT4"),
        ("INT16", "INT8"),
    ]
    runtime = LiteRT(file)
    assert (runtime.input.zero_point, runtime.output.scale, runtime.output.zero_point) == (-128, 1 / 256, -128)
    assert [support.runs for support in runtime_support(file, digits[:5])] == [True, True, True]


def test_the_names_are_those_of_layers_with_a_kernel(variants: Any) -> None:
    assert layer_names(variants["cnn", "float32"]) == ["conv_1", "depthwise_2", "conv_2", "output"]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("dense", [True, False])
def test_an_emptied_filter_keeps_its_bias(dense: bool, precision: LayerPrecision) -> None:
    """Its scale would be 1e-9 / 127, and the bias 0.7, in steps of it, far above 32 bits."""
    inputs = keras.Input((7,) if dense else (4, 4, 3))
    layer = keras.layers.Dense(5) if dense else keras.layers.Conv2D(5, 3)
    model = keras.Model(inputs, layer(inputs))
    generator = np.random.default_rng(2)
    kernel = generator.normal(size=layer.kernel.shape)
    kernel[..., 2], kernel[..., 3] = 0.0, kernel[..., 3] * 1e-9
    layer.set_weights([kernel, np.array([0.1, 0.2, 0.7, -0.4, 0.0])])
    x = generator.random((80, *inputs.shape[1:])).astype(np.float32)
    runtime = LiteRT(quantize(convert(model, "float32"), Recipe(precision, dense_scales="channel"), x))
    outputs = runtime.predict(x).reshape(-1, 5)
    np.testing.assert_allclose(outputs[:, 2], 0.7, atol=runtime.output.scale)
    np.testing.assert_allclose(outputs[:, 3], -0.4, atol=runtime.output.scale)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_pruned_zeros_are_the_integer_zero(
    cnn: Any, variants: Any, rows: np.ndarray, precision: LayerPrecision
) -> None:
    float_model = variants["cnn", "float32"]
    unpacked = audit.read_model(float_model)
    floats = {c.values.shape: c.values for c in audit.constants(float_model)}
    masks = {shape: np.random.default_rng(4).random(shape) > 0.6 for shape in floats if len(shape) > 1}
    for tensor in unpacked.subgraphs[0].tensors:
        shape = tuple(int(size) for size in tensor.shape)
        if unpacked.buffers[tensor.buffer].data is not None and shape in masks:
            pruned = (floats[shape] * masks[shape]).astype("<f4")
            unpacked.buffers[tensor.buffer].data = np.frombuffer(pruned.tobytes(), np.uint8)
    kernels = _kernels(quantize(_packed(unpacked), Recipe(precision), rows))
    assert masks.keys() == kernels.keys()
    for shape, mask in masks.items():
        assert not kernels[shape][0][~mask].any()
        assert kernels[shape][0][mask].any()


def _packed(unpacked: Any) -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    builder.Finish(unpacked.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_a_refusal_has_its_reason(variants: Any, rows: np.ndarray, digits: np.ndarray) -> None:
    file = quantize(variants["mlp", "float32"], Recipe("int4", dense_scales="channel"), rows)
    plain, xnnpack, micro = runtime_support(file, digits[:3])
    assert [(s.runtime, s.runs, s.reason) for s in (plain, xnnpack)] == [(LITERT, True, None), (XNNPACK, True, None)]
    assert (micro.runtime, micro.runs, micro.arena_bytes) == (TFLITE_MICRO, False, None)
    assert micro.reason is not None and "FULLY_CONNECTED" in micro.reason and "kTfLiteInt4" in micro.reason
    broken = runtime_support(b"no model", digits[:3])
    assert [support.runs for support in broken] == [False, False, False]
    assert broken[2].reason is not None and broken[2].reason.startswith("not tried: ")


def test_two_processes_give_the_same_bytes_without_tensorflow(variants: Any, tmp_path: Path) -> None:
    path = tmp_path / "float.tflite"
    path.write_bytes(variants["cnn", "float32"])
    run = subprocess.run(
        [sys.executable, "-c", _IN_ANOTHER_PROCESS, str(path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "4242"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    said = run.stdout.split()
    x = np.random.default_rng(5).random((20, 8, 8, 1)).astype(np.float32)
    ours = [quantize(path.read_bytes(), Recipe(p, {"conv_2": "int16x8"}), x) for p in PRECISIONS]
    assert said[1:6:2] == [hashlib.sha256(file).hexdigest() for file in ours]
    assert said[6] == "False"
    assert run.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"default": "int2"}, r"quantize\.precision: expected one of int8, int16x8, int4, got 'int2'"),
        ({"overrides": {"conv_1": "float32"}}, r"quantize\.layers\.conv_1: expected one of int8, .*got 'float32'"),
        ({"dense_scales": "row"}, r"quantize\.dense_scales: expected one of auto, tensor, channel, got 'row'"),
    ],
)
def test_words_that_there_are_not_are_refused(arguments: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Recipe(**arguments)


@pytest.mark.parametrize(
    ("name", "nearest"), [("conv1", "conv_1"), ("bn_2", "conv_2"), ("softmax", None), ("outputs", "output")]
)
def test_a_layer_that_is_not_there_is_refused(variants: Any, rows: np.ndarray, name: str, nearest: str | None) -> None:
    hint = f"got '{name}' \\(the nearest is '{nearest}'\\)" if nearest else f"got '{name}'\\."
    with pytest.raises(ConfigError, match=rf"quantize\.layers\.{name}: expected a layer that has weights.* {hint}"):
        quantize(variants["cnn", "float32"], Recipe("int8", {name: "int4"}), rows)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((0, 8, 8, 1), np.float32), "expected real training rows, got none"),
        (np.zeros((4, 64), np.float32), r"expected rows of shape \(8, 8, 1\), got \(64,\)"),
        (np.full((4, 8, 8, 1), np.nan, np.float32), "expected finite numbers, got NaN"),
    ],
)
def test_rows_that_do_not_fit_are_refused(variants: Any, x: np.ndarray, message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        quantize(variants["cnn", "float32"], Recipe("int4"), x)


def test_what_is_not_of_floats_is_refused(variants: Any, rows: np.ndarray) -> None:
    with pytest.raises(ConversionError, match=r"expected a float32 model with a batch of one row, got .*INT8"):
        quantize(variants["cnn", "int8"], Recipe("int4"), rows)
    with pytest.raises(ConversionError, match="expected a TFLite file"):
        quantize(b"nothing", Recipe("int4"), rows)


def test_4_bits_for_a_transposed_convolution_are_refused_and_8_are_not() -> None:
    inputs = keras.Input((4, 4, 2))
    model = keras.Model(inputs, keras.layers.Conv2DTranspose(3, 2, strides=2, name="up")(inputs))
    x = np.random.default_rng(1).random((20, 4, 4, 2)).astype(np.float32)
    float_model = convert(model, "float32")
    with pytest.raises(ConversionError, match=r"got TRANSPOSE_CONV in layer 'up'\. Give that layer int8"):
        quantize(float_model, Recipe("int4"), x)
    outputs = LiteRT(quantize(float_model, Recipe("int4", {"up": "int8"}), x)).predict(x)
    assert np.abs(outputs - model(x).numpy()).max() < 0.05


def test_an_operator_that_would_stay_in_float_is_refused() -> None:
    inputs = keras.Input((6, 3), batch_size=1)
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.LSTM(4)(inputs)))
    x = np.random.default_rng(1).random((5, 6, 3)).astype(np.float32)
    with pytest.raises(ConversionError, match=r"in integers, got .*UNIDIRECTIONAL_SEQUENCE_LSTM.* leaves in float"):
        quantize(convert(model, "float32"), Recipe("int16x8"), x)

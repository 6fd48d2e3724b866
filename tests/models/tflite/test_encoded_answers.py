from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from data.contract import ConversionError
from models.legacy_keras import keras
from models.tflite import audit
from models.tflite.convert import convert
from models.tflite.flatbuffer import pack, read_whole
from models.tflite.interpreter import LiteRT
from models.tflite.micro import MicroResult, run_micro
from models.tflite.micro_decoding import decode
from models.tflite.micro_encodings import Encoding, encode
from models.tflite.mixed_precision import Recipe, quantize

ROOT = Path(__file__).resolve().parents[3]

_IN_ANOTHER_PROCESS = """
import hashlib, sys
from pathlib import Path
from models.tflite.micro_encodings import encode
model = Path(sys.argv[1]).read_bytes()
for encoding in ("sparse", "tables"):
    print("digest", hashlib.sha256(encode(model, encoding).model).hexdigest())
print([name for name in ("tensorflow", "tf_keras", "tflite_micro") if name in sys.modules])
"""


def _network() -> Any:
    """Kernels of 144 weights, too few to gain, of 2,304, 1,936 (depthwise), 16,384 and 640."""
    inputs = keras.Input((8, 8, 1), name="input")
    x = keras.layers.Conv2D(16, 3, padding="same", activation="relu", name="stem")(inputs)
    x = keras.layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False, name="conv_1")(x)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization(name="bn_1")(x))
    x = keras.layers.DepthwiseConv2D(11, padding="same", activation="relu", name="depthwise_2")(x)
    x = keras.layers.Dense(64, activation="relu", name="dense_1")(keras.layers.Flatten()(x))
    return keras.Model(inputs, keras.layers.Dense(10, activation="softmax", name="output")(x))


def _filled(sparsity: float, centroids: int | None) -> Any:
    """Kernels with so many zeros and, to one scale of the tensor, so few values; every filter meets the largest."""
    model, generator = _network(), np.random.default_rng(4)
    for weight in model.weights:
        drawn = generator.normal(0, 0.2, weight.shape)
        if "variance" in weight.name or "gamma" in weight.name:
            drawn = abs(drawn) + 0.7
        elif "kernel" in weight.name:
            if centroids is not None:
                steps = np.clip(np.round(drawn / 0.6 * (centroids // 2)), -(centroids // 2), centroids // 2 - 1)
                drawn = steps * 1.2 / centroids
            drawn[generator.random(weight.shape) < sparsity] = 0
        weight.assign(drawn)
    return model


@pytest.fixture(scope="module")
def files(digits: np.ndarray) -> dict[str, bytes]:
    """Converter: scales by channel, of dense layers too; quantizer: one scale for each dense layer."""
    sparse, clustered, x = _filled(0.8, None), _filled(0.3, 16), digits[:100]
    return {
        "sparse": convert(sparse, "int8", x),
        "sparse, one scale": quantize(convert(sparse, "float32"), Recipe("int8", dense_scales="tensor"), x),
        "clustered": convert(clustered, "int8", x),
        "clustered, one scale": quantize(convert(clustered, "float32"), Recipe("int8", dense_scales="tensor"), x),
        "mixture": quantize(convert(sparse, "float32"), Recipe("int16x8", {"conv_1": "int8", "dense_1": "int4"}), x),
    }


@pytest.fixture(scope="module")
def bare(files: Any) -> bytes:
    return files["sparse"]


def _kernels(model: bytes) -> dict[str, np.ndarray]:
    return {constant.name: constant.values for constant in audit.constants(model) if constant.values.ndim > 1}


def _same_answers(plain: bytes, encoded: bytes, digits: np.ndarray) -> tuple[MicroResult, MicroResult]:
    rows = np.round(digits[1000:1100] * 255 - 128).astype(np.int8)
    before, after = run_micro(plain, rows), run_micro(encoded, rows)
    assert isinstance(before, MicroResult)
    assert isinstance(after, MicroResult)
    np.testing.assert_array_equal(after.outputs, before.outputs)
    assert np.unique(before.outputs).size > 5
    return before, after


@pytest.mark.parametrize(
    ("file", "encoding", "bits"),
    [
        ("sparse", "sparse", None),
        ("sparse, one scale", "sparse", None),
        ("clustered", "tables", 4),
        ("clustered, one scale", "tables", 4),
    ],
)
def test_tflite_micro_answers_bit_for_bit(
    files: Any, digits: np.ndarray, file: str, encoding: Encoding, bits: int | None
) -> None:
    plain = files[file]
    encoded = encode(plain, encoding)
    names = [layer.name for layer in encoded.layers]
    assert names[:3] == ["conv_1", "depthwise_2", "dense_1"]
    assert [*names, *encoded.left_out] in (
        ["conv_1", "depthwise_2", "dense_1", "output", "stem"],
        ["conv_1", "depthwise_2", "dense_1", "stem", "output"],
    )
    assert {layer.bits for layer in encoded.layers} == {bits}
    before, after = _same_answers(plain, encoded.model, digits)
    assert after.arena_bytes == encoded.arena_bytes
    assert 12_000 < encoded.arena_bytes - before.arena_bytes < 256 * 64 + 1000  # the largest kernel, not their sum
    decoded, stored = decode(encoded.model), _kernels(plain)
    assert len(decoded) == len(encoded.layers)
    for name, values in decoded.items():
        np.testing.assert_array_equal(values, stored[name])


@pytest.mark.parametrize("encoding", ["sparse", "tables"])
@pytest.mark.parametrize("scales", ["one", "channel"])
def test_the_runtime_agrees_with_the_decoder_on_hard_kernels(
    files: Any, digits: np.ndarray, edited: Callable[..., bytes], encoding: Encoding, scales: str
) -> None:
    """Zero points other than zero, one a channel along both axes, and 1 to 128 values a channel, in random places."""

    def harden(unpacked: Any) -> None:
        generator = np.random.default_rng(9)
        for tensor in unpacked.subgraphs[0].tensors:
            data = unpacked.buffers[tensor.buffer].data
            if data is None or len(tensor.shape) < 2 or tensor.quantization.scale is None:
                continue
            axis, count = int(tensor.quantization.quantizedDimension), len(tensor.quantization.scale)
            points = generator.integers(-9, 10, count)
            tensor.quantization.zeroPoint = points
            shape = [1] * len(tensor.shape)
            shape[axis] = -1
            width = generator.integers(0, 64 if count > 1 and axis == 0 else 8, points.size).reshape(shape)
            values = points.reshape(shape) + np.round(generator.uniform(-1, 1, tuple(tensor.shape)) * width)
            values = np.where(generator.random(tuple(tensor.shape)) < 0.8, points.reshape(shape), values)
            unpacked.buffers[tensor.buffer].data = values.astype(np.int8).view(np.uint8).ravel()

    plain = edited(files["sparse" if scales == "channel" else "sparse, one scale"], harden)
    encoded = encode(plain, encoding)
    assert {layer.name for layer in encoded.layers} >= {"conv_1", "depthwise_2", "dense_1"}
    _same_answers(plain, encoded.model, digits)
    stored = _kernels(plain)
    assert all(np.array_equal(values, stored[name]) for name, values in decode(encoded.model).items())


def test_smaller_by_what_is_said(files: Any) -> None:
    """80% zeros: 1/8 + 1/5 of the weights' bytes stay; and no quantization is stored twice."""
    plain = files["sparse"]
    encoded = encode(plain, "sparse")
    saved = len(pack(read_whole(plain))) - len(encoded.model)
    assert abs(saved - sum(layer.saved_bytes for layer in encoded.layers)) <= 80 * len(
        encoded.layers
    )  # the operator's code is told once
    sizes = {layer.name: (layer.num_weights, layer.saved_bytes, layer.encoding) for layer in encoded.layers}
    assert sizes["dense_1"][0] == 256 * 64 and sizes["conv_1"][0] == 2304
    kept = sum(np.count_nonzero(values) for values in _kernels(plain).values() if values.size == 256 * 64)
    assert 0 <= 256 * 64 - kept - 256 * 8 - sizes["dense_1"][1] < 300
    assert {size[2] for size in sizes.values()} == {"sparse"}


def test_the_smallest_takes_the_better_of_both(files: Any) -> None:
    plain = files["clustered, one scale"]
    saved = {
        encoding: {layer.name: layer.saved_bytes for layer in encode(plain, encoding).layers}
        for encoding in ("sparse", "tables", "smallest")
    }
    assert saved["smallest"] == {
        name: max(saved["sparse"].get(name, 0), saved["tables"].get(name, 0)) for name in saved["smallest"]
    }
    assert set(saved["smallest"]) == set(saved["sparse"]) | set(saved["tables"])
    assert {layer.encoding for layer in encode(files["sparse"], "smallest").layers} == {"sparse"}


def test_what_does_not_fit_the_arena_is_left_out(bare: bytes, digits: np.ndarray) -> None:
    unlimited = encode(bare, "sparse")
    limited = encode(bare, "sparse", arena_limit_bytes=14_000)
    assert unlimited.arena_bytes > 16_384 > 14_000 >= limited.arena_bytes
    assert [layer.name for layer in limited.layers] == [
        layer.name for layer in unlimited.layers if layer.name != "dense_1"
    ]
    assert limited.left_out["dense_1"].startswith("the arena would be ")
    assert limited.left_out["dense_1"].endswith(" bytes, more than 14000")
    _same_answers(bare, limited.model, digits)
    assert encode(bare, "sparse", arena_limit_bytes=unlimited.arena_bytes).model == unlimited.model
    with pytest.raises(ConversionError, match="expected a kernel that sparse makes smaller, got none") as caught:
        encode(bare, "sparse", arena_limit_bytes=1000)
    assert "conv_1: the arena would be" in str(caught.value)


def test_other_widths_are_left_out_and_the_rest_runs(files: Any, digits: np.ndarray) -> None:
    encoded = encode(files["mixture"], "sparse")
    assert encoded.left_out["dense_1"] == "weights of INT4, not of INT8"
    assert "conv_1" in {layer.name for layer in encoded.layers}
    rows = LiteRT(files["mixture"]).quantize(digits[1000:1050])
    before, after = run_micro(files["mixture"], rows), run_micro(encoded.model, rows)
    assert isinstance(before, MicroResult)
    assert isinstance(after, MicroResult)
    np.testing.assert_array_equal(after.outputs, before.outputs)


def test_a_shared_buffer_is_left_out(files: Any, edited: Callable[..., bytes]) -> None:
    def share(unpacked: Any) -> None:
        kernel = next(t for t in unpacked.subgraphs[0].tensors if list(t.shape) == [64, 256])
        twin = schema.TensorT()
        twin.name, twin.shape, twin.type, twin.buffer = b"twin", kernel.shape, kernel.type, kernel.buffer
        unpacked.subgraphs[0].tensors.append(twin)

    encoded = encode(edited(files["sparse, one scale"], share), "sparse")
    assert encoded.left_out["dense_1"] == "its bytes are those of another tensor, too"


def test_names_inputs_and_outputs_stay_and_buffers_are_aligned(bare: bytes) -> None:
    encoded = encode(bare, "sparse").model
    before, after = (audit.read_model(model).subgraphs[0] for model in (bare, encoded))
    assert [tensor.name for tensor in after.tensors[: len(before.tensors)]] == [t.name for t in before.tensors]
    assert [list(after.inputs), list(after.outputs)] == [list(before.inputs), list(before.outputs)]
    for index in (*before.inputs, *before.outputs):
        old, new = before.tensors[index].quantization, after.tensors[index].quantization
        assert (old.scale[0], old.zeroPoint[0]) == (new.scale[0], new.zeroPoint[0])
    names = audit.operators(encoded)
    assert [name for name in names if name != "CUSTOM:TFLM_DECODE"] == audit.operators(bare)
    assert all(names[place + 1] != "CUSTOM:TFLM_DECODE" for place, name in enumerate(names) if "DECODE" in name)
    assert audit.float_operators(encoded) == []
    assert len(audit.constants(encoded)) == len(audit.constants(bare)) + names.count("CUSTOM:TFLM_DECODE")
    packed = schema.Model.GetRootAs(encoded, 0)
    tables = [packed.Buffers(index)._tab for index in range(packed.BuffersLength())]
    places = [table.Vector(table.Offset(4)) for table in tables if table.Offset(4)]
    assert len(places) > 8
    assert {place % 16 for place in places} == {0}


def test_the_same_bytes_in_another_process_without_tensorflow(files: Any, tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(files["clustered"])
    child = subprocess.run(
        [sys.executable, "-c", _IN_ANOTHER_PROCESS, str(tmp_path / "model.tflite")],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    said = child.stdout.splitlines()
    digests = [hashlib.sha256(encode(files["clustered"], e).model).hexdigest() for e in ("sparse", "tables")]
    assert said == [*(f"digest {digest}" for digest in digests), "[]"]


@pytest.mark.parametrize("encoding", ["sparse", "tables"])
def test_nothing_to_gain_is_an_error_that_names_each_layer(variants: Any, encoding: Encoding) -> None:
    with pytest.raises(ConversionError) as caught:
        encode(variants["mlp", "int8"], encoding)
    message = str(caught.value)
    assert message.startswith(f"quantize.encoding: expected a kernel that {encoding} makes smaller, got none (dense_1:")
    assert "output: the file would grow by " in message
    assert message.endswith("Leave it out, prune or cluster more, or allow a larger arena.")


def test_other_files_are_refused(variants: Any) -> None:
    with pytest.raises(ConversionError, match="expected a TFLite file"):
        encode(b"nothing of the kind", "sparse")
    for precision, words in (("float32", "weights of FLOAT32, not of INT8"), ("float16", "none of 8 bits")):
        with pytest.raises(ConversionError, match=words):
            encode(variants["mlp", precision], "sparse")

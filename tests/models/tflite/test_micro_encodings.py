"""Encoded weights: the NumPy decoder, TFLite Micro's own, sizes, the arena's limit, refusals."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tflite_micro.tensorflow.lite.micro.compression import lut

from data.contract import ConversionError
from models.tflite import audit
from models.tflite.calibration import calibration_rows
from models.tflite.convert import convert
from models.tflite.interpreter import LiteRT
from models.tflite.micro import MicroResult, run_micro
from models.tflite.micro_decoding import decode
from models.tflite.micro_encodings import PRUNE_HEADER, encode
from models.tflite.mixed_precision import Recipe, quantize
from tests.models.tflite.conftest import tiny_cnn, tiny_mlp

ROOT = Path(__file__).resolve().parents[3]


def thinned(model: Any, sparsity: float, values: int | None = None) -> Any:
    """Zeroes the smaller part of each kernel, and leaves so many distinct values in it."""
    for layer in model.layers:
        name = next((each for each in ("kernel", "depthwise_kernel") if hasattr(layer, each)), None)
        if name is None:
            continue
        kernel = getattr(layer, name)
        array = kernel.numpy()
        array[np.abs(array) <= np.quantile(np.abs(array), sparsity)] = 0.0
        if values is not None:
            table = np.linspace(-np.abs(array).max(), np.abs(array).max(), values)
            array = np.where(array == 0, 0, table[np.abs(array[..., None] - table).argmin(-1)]).astype(np.float32)
        kernel.assign(array)
    return model


def int8(model: Any, digits: np.ndarray, scales: str = "auto") -> bytes:
    rows = calibration_rows(digits.__getitem__, len(digits), (0.0, 1.0), 60, 1)
    if scales == "auto":
        return convert(model, "int8", rows)
    return quantize(convert(model, "float32"), Recipe("int8", dense_scales="tensor"), rows)


def micro_answers(file: bytes, plain: bytes, digits: np.ndarray) -> np.ndarray:
    result = run_micro(file, LiteRT(plain).quantize(digits[:60]))
    assert isinstance(result, MicroResult), result
    return result.outputs


def weights(file: bytes) -> dict[str, np.ndarray]:
    return {constant.name: constant.values for constant in audit.constants(file)}


NETWORKS = {"mlp": tiny_mlp, "cnn": tiny_cnn}


@pytest.mark.parametrize("network", ["mlp", "cnn"])
@pytest.mark.parametrize("encoding", ["sparse", "tables"])
def test_encoded_weights_answer_bit_for_bit_and_unpack_to_the_plain_ones(
    network: str, encoding: Any, digits: np.ndarray
) -> None:
    model = thinned(NETWORKS[network](), 0.8, 8 if encoding == "tables" else None)
    if network == "cnn":  # of few weights each, so that wider kernels are needed for anything to gain
        model = thinned(_wide_cnn(), 0.8, 8 if encoding == "tables" else None)
    plain = int8(model, digits, "tensor" if encoding == "tables" else "auto")
    encoded = encode(plain, encoding)
    np.testing.assert_array_equal(micro_answers(encoded.model, plain, digits), micro_answers(plain, plain, digits))
    decoded = decode(encoded.model)
    assert len(decoded) == len(encoded.layers) > 0
    for name, values in decoded.items():
        np.testing.assert_array_equal(values, weights(plain)[name])
    assert len(encoded.model) < len(plain)
    assert all(layer.saved_bytes > 0 for layer in encoded.layers)
    if network == "cnn" and encoding == "sparse":
        assert "depthwise_2" in {layer.name for layer in encoded.layers}  # scales along the last axis


def _wide_cnn() -> Any:
    from models.legacy_keras import keras
    from tests.models.tflite.conftest import _drawn

    inputs = keras.Input((8, 8, 1), name="input")
    x = keras.layers.Conv2D(96, 3, strides=2, activation="relu", name="conv_1")(inputs)
    x = keras.layers.DepthwiseConv2D(3, padding="same", activation="relu", name="depthwise_2")(x)
    x = keras.layers.Conv2D(24, 1, activation="relu", name="conv_2")(x)
    x = keras.layers.GlobalAveragePooling2D(name="mean")(x)
    return _drawn(keras.Model(inputs, keras.layers.Dense(10, activation="softmax", name="output")(x)), 0)


@pytest.mark.parametrize("axis", [None, 0, 3])
def test_zero_points_other_than_zero_in_both_runtimes(axis: int | None, digits: np.ndarray, edited: Any) -> None:
    """Kernels whose zero points are moved: what is left out is what equals the zero point of its channel."""
    model = tiny_mlp() if axis is None else _wide_cnn()
    plain = int8(model, digits, "tensor" if axis is None else "auto")
    operator = {None: "FULLY_CONNECTED", 0: "CONV_2D", 3: "DEPTHWISE_CONV_2D"}[axis]
    generator = np.random.default_rng(3)

    def move(unpacked: Any) -> None:
        graph = unpacked.subgraphs[0]
        details = audit.operator_details(plain)
        index = next(i for i, each in enumerate(details) if each.name == operator)
        tensor = graph.tensors[int(graph.operators[index].inputs[1])]
        channels = len(tensor.quantization.scale)
        points = generator.integers(-20, 20, channels)
        tensor.quantization.zeroPoint = points.tolist()
        shape = [int(size) for size in tensor.shape]
        values = np.asarray(unpacked.buffers[tensor.buffer].data, np.uint8).view(np.int8).reshape(shape).copy()
        along = [1] * values.ndim
        along[int(tensor.quantization.quantizedDimension)] = -1
        dropped = generator.random(values.shape) < 0.8
        values = np.where(dropped, points.reshape(along), values).astype(np.int8)
        unpacked.buffers[tensor.buffer].data = values.ravel().view(np.uint8)

    moved = edited(plain, move)
    encoded = encode(moved, "sparse")
    decoded = decode(encoded.model)
    assert decoded
    for name, values in decoded.items():
        np.testing.assert_array_equal(values, weights(moved)[name])
    np.testing.assert_array_equal(micro_answers(encoded.model, plain, digits), micro_answers(moved, plain, digits))


@pytest.mark.parametrize("size", [1, 7, 8, 9, 100])
@pytest.mark.parametrize("bits", [1, 3, 4, 7])
def test_indices_of_any_width_are_read_back(size: int, bits: int) -> None:
    from models.tflite.micro_decoding import _field

    indices = np.random.default_rng(size).integers(0, 2**bits, size)
    packed = lut.pack_indices(indices, bits)
    assert [_field(packed, number, bits) for number in range(size)] == indices.tolist()


def test_the_header_is_the_one_that_the_runtime_reads() -> None:
    assert PRUNE_HEADER.hex() == "02010000010000000000000000000000"


def test_layers_that_gain_nothing_are_left_out_with_the_reason(digits: np.ndarray) -> None:
    plain = int8(thinned(tiny_mlp(), 0.8), digits)
    encoded = encode(plain, "sparse")
    assert [layer.name for layer in encoded.layers] == ["dense_1"]
    assert encoded.left_out["output"].startswith("the file would grow by ")
    mixed = quantize(convert(thinned(tiny_mlp(), 0.8), "float32"), Recipe("int8", {"output": "int4"}), digits[:60])
    assert "weights of INT4" in encode(mixed, "sparse").left_out["output"]


def test_the_arenas_limit_leaves_the_largest_kernels_plain(digits: np.ndarray) -> None:
    plain = int8(thinned(_wide_cnn(), 0.9), digits)
    whole = encode(plain, "sparse")
    largest = max(whole.layers, key=lambda layer: layer.num_weights)
    result = run_micro(whole.model, LiteRT(plain).quantize(digits[:1]))
    assert isinstance(result, MicroResult)
    assert result.arena_bytes == whole.arena_bytes
    limited = encode(plain, "sparse", arena_limit_bytes=whole.arena_bytes - 1)
    assert limited.arena_bytes < whole.arena_bytes
    assert largest.name not in {layer.name for layer in limited.layers}
    assert limited.left_out[largest.name] == (
        f"the arena would be {whole.arena_bytes} bytes, more than {whole.arena_bytes - 1}"
    )


def test_what_cannot_be_encoded_is_refused(digits: np.ndarray) -> None:
    plain = int8(tiny_mlp(), digits)
    with pytest.raises(ConversionError, match=r"expected a kernel that sparse makes smaller, got none \(dense_1: "):
        encode(plain, "sparse")
    with pytest.raises(ConversionError, match="distinct values, more than 128"):
        encode(int8(tiny_mlp(), digits, "tensor"), "tables")
    with pytest.raises(ConversionError, match="there are none of 8 bits"):
        encode(convert(thinned(tiny_mlp(), 0.9), "float16"), "sparse")
    with pytest.raises(ConversionError, match="the arena would be"):
        encode(int8(thinned(tiny_mlp(), 0.9), digits), "sparse", arena_limit_bytes=10)


def test_damaged_encodings_are_told(digits: np.ndarray, edited: Any) -> None:
    encoded = encode(int8(thinned(tiny_mlp(), 0.8), digits), "sparse").model

    def other_kind(unpacked: Any) -> None:
        for operator in unpacked.subgraphs[0].operators:
            if unpacked.operatorCodes[operator.opcodeIndex].customCode == b"TFLM_DECODE":
                tensor = unpacked.subgraphs[0].tensors[int(operator.inputs[1])]
                data = np.array(unpacked.buffers[tensor.buffer].data, np.uint8)
                data[0] = 9
                unpacked.buffers[tensor.buffer].data = data

    def short(unpacked: Any) -> None:
        for operator in unpacked.subgraphs[0].operators:
            if unpacked.operatorCodes[operator.opcodeIndex].customCode == b"TFLM_DECODE":
                tensor = unpacked.subgraphs[0].tensors[int(operator.inputs[0])]
                unpacked.buffers[tensor.buffer].data = unpacked.buffers[tensor.buffer].data[:3]

    with pytest.raises(ConversionError, match="got an encoding of kind 9"):
        decode(edited(encoded, other_kind))
    with pytest.raises(ConversionError, match="fewer bytes than its shape needs"):
        decode(edited(encoded, short))


def test_two_processes_give_the_same_bytes_without_tensorflow(digits: np.ndarray, tmp_path: Path) -> None:
    plain = int8(thinned(tiny_mlp(), 0.8), digits)
    (tmp_path / "plain.tflite").write_bytes(plain)
    program = (
        "import sys; from pathlib import Path\n"
        "from models.tflite.micro_encodings import encode\n"
        "folder = Path(sys.argv[1])\n"
        "(folder / 'out.tflite').write_bytes(encode((folder / 'plain.tflite').read_bytes(), 'sparse').model)\n"
        "sys.exit('tensorflow' in sys.modules)\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr
    assert (tmp_path / "out.tflite").read_bytes() == encode(plain, "sparse").model

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from data.contract import ConversionError
from models.tflite import audit
from models.tflite.kernels import distinct_by_layer

MLP = ["RESHAPE", "FULLY_CONNECTED", "FULLY_CONNECTED", "SOFTMAX"]
CNN = ["CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D", "MEAN", "FULLY_CONNECTED", "SOFTMAX"]


def _renamed(builtin: int, custom: bytes = b"") -> Callable[[Any], None]:
    def rename(unpacked: Any) -> None:
        code = unpacked.operatorCodes[unpacked.subgraphs[0].operators[1].opcodeIndex]
        code.builtinCode, code.deprecatedBuiltinCode, code.customCode = builtin, min(builtin, 127), custom

    return rename


def test_operators_are_listed_in_the_order_they_run(variants: Any) -> None:
    assert audit.operators(variants["mlp", "int8"]) == MLP
    assert audit.operators(variants["cnn", "int8"]) == CNN
    assert audit.operators(variants["mlp", "float16"]) == ["DEQUANTIZE"] * 4 + MLP


def test_an_int8_model_has_no_float_operators_and_a_float_model_nothing_else(variants: Any) -> None:
    assert audit.float_operators(variants["mlp", "int8"]) == []
    assert audit.float_operators(variants["cnn", "int8"]) == []
    assert audit.float_operators(variants["mlp", "float32"]) == MLP
    assert audit.foreign_operators(variants["mlp", "int8"]) == []


def test_a_tensor_turned_to_floats_is_found(variants: Any, edited: Callable[..., bytes]) -> None:
    def float_output(unpacked: Any) -> None:
        graph = unpacked.subgraphs[0]
        graph.tensors[graph.operators[-1].outputs[0]].type = schema.TensorType.FLOAT32

    assert audit.float_operators(edited(variants["cnn", "int8"], float_output)) == ["SOFTMAX"]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (_renamed(schema.BuiltinOperator.CUSTOM, b"FlexMatrixDeterminant"), "CUSTOM:FlexMatrixDeterminant"),
        (_renamed(schema.BuiltinOperator.DENSIFY), "DENSIFY"),
    ],
)
def test_foreign_operators_are_found(
    variants: Any, edited: Callable[..., bytes], change: Callable[[Any], None], found: str
) -> None:
    # Both FULLY_CONNECTED share one operator code.
    assert audit.foreign_operators(edited(variants["mlp", "int8"], change)) == [found, found]


def test_constants_are_decoded_as_the_converter_quantized_them(variants: Any, mlp: Any) -> None:
    kernel = mlp.layers[2].kernel.numpy().T
    floats = {c.values.shape: c for c in audit.constants(variants["mlp", "float32"])}[(20, 64)]
    np.testing.assert_array_equal(floats.values, kernel)
    assert floats.zero_points.size == 0
    integers = {c.values.shape: c for c in audit.constants(variants["mlp", "int8"])}[(20, 64)]
    scales = np.abs(kernel).max(axis=1, keepdims=True) / 127
    np.testing.assert_allclose(integers.values * scales, kernel, atol=float(scales.max()) * 0.51)
    assert integers.zero_points.tolist() == [0] * 20
    assert integers.consumers == ("FULLY_CONNECTED",)


def test_nonzero_counts_from_the_zero_point_of_each_channel() -> None:
    values = np.array([[5, 0, 5], [7, 7, 0]], np.int8)
    per_channel = audit.Constant("w", values, np.array([5, 7]), 0, ())
    assert per_channel.nonzero().tolist() == [[False, True, False], [False, False, True]]
    per_tensor = audit.Constant("w", values, np.array([5]), 0, ())
    assert per_tensor.nonzero().tolist() == [[False, True, False], [True, True, True]]
    floats = audit.Constant("w", np.array([0.0, -0.0, 1e-8], np.float32), np.array([], np.int64), 0, ())
    assert floats.nonzero().tolist() == [False, False, True]


@pytest.mark.parametrize("broken", [b"", b"hello world, no model", b"\x00" * 64])
def test_what_is_no_model_is_refused(broken: bytes) -> None:
    with pytest.raises(
        ConversionError, match=r"expected a TFLite file \(identifier TFL3\), got \d+ bytes that are none"
    ):
        audit.operators(broken)


def test_a_model_cut_short_is_refused(variants: Any) -> None:
    with pytest.raises(ConversionError, match="breaks off or is damaged"):
        audit.operators(variants["mlp", "int8"][:3000])


def test_a_tensor_that_is_not_there_is_refused(variants: Any, edited: Callable[..., bytes]) -> None:
    def point_outside(unpacked: Any) -> None:
        unpacked.subgraphs[0].operators[1].inputs = np.array([1, 100_000, 2], np.int32)

    with pytest.raises(ConversionError, match=r"expected operators that read tensors 0 to .*, got 100000"):
        audit.operators(edited(variants["mlp", "int8"], point_outside))


def test_a_tensor_shorter_than_its_shape_is_refused(variants: Any, edited: Callable[..., bytes]) -> None:
    def shorten(unpacked: Any) -> None:
        graph = unpacked.subgraphs[0]
        tensor = graph.tensors[graph.operators[1].inputs[1]]
        unpacked.buffers[tensor.buffer].data = unpacked.buffers[tensor.buffer].data[:-1]

    with pytest.raises(ConversionError, match=r"expected \(20, 64\) values of int8 in tensor .*, got 1279 bytes"):
        audit.constants(edited(variants["mlp", "int8"], shorten))


@pytest.mark.parametrize("shape", [(4, 6), (3, 5)])
def test_4_bit_constants_are_taken_apart(shape: tuple[int, int], variants: Any, edited: Callable[..., bytes]) -> None:
    values = np.random.default_rng(1).integers(-8, 8, shape).astype(np.int8)
    halves = np.append(values.ravel(), 0)[: 2 * -(-values.size // 2)].astype(np.uint8) & 0x0F

    def pack(unpacked: Any) -> None:
        graph = unpacked.subgraphs[0]
        tensor = graph.tensors[graph.operators[1].inputs[1]]
        tensor.shape, tensor.type = np.array(shape, np.int32), schema.TensorType.INT4
        unpacked.buffers[tensor.buffer].data = halves[::2] | (halves[1::2] << 4)

    file = edited(variants["mlp", "int8"], pack)
    found = [constant.values for constant in audit.constants(file) if constant.values.shape == shape]
    np.testing.assert_array_equal(found[0], values)
    assert audit.has_int4_weights(file)
    assert not audit.has_int4_weights(variants["mlp", "int8"])


def test_distinct_values_are_counted_to_each_scale(variants: Any) -> None:
    for precision in ("float32", "int8"):
        file = variants["mlp", precision]
        kernel = next(c for c in audit.constants(file) if c.values.shape == (20, 64))
        most = max(len(set(row.tolist())) for row in kernel.values)
        assert distinct_by_layer(file, ["dense_1", "nowhere"]) == {"dense_1": most, "nowhere": None}

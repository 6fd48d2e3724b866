from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from data.contract import ConversionError
from models.tflite import audit
from models.tflite.decode_insertion import insert_decode
from models.tflite.flatbuffer import pack
from models.tflite.micro_decoding import decode
from models.tflite.packed_weights import Kernel, Packed, pack_sparse, pack_tables

SHAPES = [((5, 7), 0), ((3, 3, 1, 5), 0), ((1, 3, 5, 3), 3), ((4, 16), 0), ((1, 1, 1, 9), 3), ((2, 3), 0)]


def _kernel(seed: int, shape: tuple[int, ...], axis: int, points: str, sparsity: float, values: int) -> Kernel:
    """A kernel of at most so many distinct values; `points`: one zero point, one a channel, or all of them zero."""
    generator = np.random.default_rng(seed)
    count = 1 if points == "one" else shape[axis]
    zeros = np.zeros(count, np.int64) if points == "zeros" else generator.integers(-128, 128, count)
    chosen = generator.choice(generator.choice(np.arange(-128, 128), values, replace=False), shape)
    broadcast = [1] * len(shape)
    broadcast[axis] = -1
    filled = np.where(generator.random(shape) < sparsity, zeros.reshape(broadcast), chosen)
    return Kernel(filled.astype(np.int8), zeros, axis if count > 1 else 0)


def _file(kernel: Kernel, packed: Packed) -> bytes:
    """A model of one FULLY_CONNECTED; nothing runs it."""
    tensor, fed, made = schema.TensorT(), schema.TensorT(), schema.TensorT()
    quantization = schema.QuantizationParametersT()
    quantization.scale = np.full(kernel.zero_points.size, 0.5, np.float32)
    quantization.zeroPoint, quantization.quantizedDimension = kernel.zero_points, kernel.axis
    tensor.name, tensor.type, tensor.buffer = b"model/dense_1/MatMul", schema.TensorType.INT8, 1
    tensor.shape, tensor.quantization = np.array(kernel.values.shape, np.int32), quantization
    for other, name in ((fed, b"in"), (made, b"out")):
        other.name, other.type, other.shape = name, schema.TensorType.INT8, np.array([1, 4], np.int32)
    model, graph, operator, code = schema.ModelT(), schema.SubGraphT(), schema.OperatorT(), schema.OperatorCodeT()
    operator.opcodeIndex, operator.inputs, operator.outputs = 0, np.array([1, 0], np.int32), np.array([2], np.int32)
    graph.tensors, graph.operators = [tensor, fed, made], [operator]
    graph.inputs, graph.outputs = np.array([1], np.int32), np.array([2], np.int32)
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    buffer = schema.BufferT()
    buffer.data = np.ascontiguousarray(kernel.values).view(np.uint8).ravel()
    model.version, model.operatorCodes, model.subgraphs = 3, [code], [graph]
    model.buffers = [schema.BufferT(), buffer]
    return pack(insert_decode(model, {0: packed}))


@pytest.mark.parametrize("points", ["one", "channel", "zeros"])
@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_every_kernel_comes_out_of_the_decoder_as_it_was(shape: tuple[int, ...], axis: int, points: str) -> None:
    for seed, sparsity in enumerate((0.0, 0.6, 1.0)):
        for values in (1, 2, 5, 16, 100):
            kernel = _kernel(seed, shape, axis, points, sparsity, values)
            assert kernel.refusal() is None
            for packed in (pack_sparse(kernel), pack_tables(kernel)):
                assert packed is not None
                (name, decoded), *others = decode(_file(kernel, packed)).items()
                assert (name, others, decoded.dtype) == ("model/dense_1/MatMul", [], np.int8)
                np.testing.assert_array_equal(decoded, kernel.values)


def test_the_sparse_form_by_hand() -> None:
    """Zero points 0 and 5: of 0 7 0 0 0 | 5 5 -1 5 0 the second, eighth and tenth differ: bits 01000001 01."""
    kernel = Kernel(np.array([[0, 7, 0, 0, 0], [5, 5, -1, 5, 0]], np.int8), np.array([0, 5]), 0)
    packed = pack_sparse(kernel)
    assert packed.encoded == bytes([0b01000001, 0b01000000])
    assert packed.ancillary == bytes([2, 1, 0, 0, 1]) + bytes(11) + bytes([7, 255, 0])
    assert (packed.size, packed.bits) == (2 + 16 + 3, None)


def test_the_sparse_form_along_the_last_axis_by_hand() -> None:
    kernel = Kernel(np.array([[[[0, 9], [0, 8]]]], np.int8), np.array([0, 9]), 3)
    packed = pack_sparse(kernel)
    assert (packed.encoded, packed.ancillary[16:]) == (bytes([0b00010000]), bytes([8]))


def test_one_table_by_hand() -> None:
    """Values -2 0 3, indices of 2 bits: 0 2 1 0 | 2 2 are 00 10 01 00, 10 10 and four bits of nothing."""
    packed = pack_tables(Kernel(np.array([[-2, 3, 0], [-2, 3, 3]], np.int8), np.array([0]), 0))
    assert packed is not None
    assert packed.encoded == bytes([0b00100100, 0b10100000])
    assert packed.ancillary == bytes([0, 1, 0, 0, 1, 0xF2, 3]) + bytes(9) + bytes([254, 0, 3])
    assert packed.bits == 2


def test_tables_by_channel_by_hand() -> None:
    """Two values a channel and eight in all: one bit and tables of 2, where one table would need 3 bits."""
    values = np.repeat(np.array([[[1, 2]], [[3, 4]], [[5, 6]], [[7, 8]]], np.int8), 8, axis=1)
    packed = pack_tables(Kernel(values, np.zeros(4, np.int64), 0))
    assert packed is not None
    assert packed.encoded == bytes([0b01010101] * 8)
    assert packed.ancillary == bytes([0, 1, 0, 0, 1, 0x01, 2]) + bytes(9) + bytes(range(1, 9))


def test_one_table_for_scales_by_channel_has_distance_0_to_the_next() -> None:
    """The runtime steps from table to table with the scales, whatever the header's axis says."""
    packed = pack_tables(Kernel(np.array([[1, 2]] * 5, np.int8), np.zeros(5, np.int64), 0))
    assert packed is not None
    assert packed.ancillary == bytes([0, 1, 0, 0, 1, 0xF1, 0]) + bytes(9) + bytes([1, 2])


@pytest.mark.parametrize("count", [128, 129])
def test_an_index_has_7_bits_at_most(count: int) -> None:
    packed = pack_tables(Kernel(np.arange(count).astype(np.int8).reshape(1, -1), np.array([0]), 0))
    assert (packed is None) == (count == 129)
    assert packed is None or packed.bits == 7


@pytest.mark.parametrize(
    ("shape", "points", "axis", "words"),
    [
        ((2, 3, 3, 2), 3, 1, "its scales run along axis 1; axis 0 and the last one, 3, can be unpacked"),
        ((1, 3, 3, 1), 1, 3, "it has one scale, and that along axis 3 instead of 0"),
        ((4, 3), 3, 0, "it has 3 zero points for 4 channels"),
        ((4, 3), 0, 0, "its integers have no scale"),
    ],
)
def test_what_the_runtime_cannot_unpack_is_refused(shape: tuple[int, ...], points: int, axis: int, words: str) -> None:
    assert Kernel(np.zeros(shape, np.int8), np.zeros(points, np.int64), axis).refusal() == words


def _damaged(packed: Packed, change: str) -> Packed:
    header = bytearray(packed.ancillary)
    if change == "short bits":
        return Packed(packed.encoded[:-1], packed.ancillary, packed.bits)
    if change in ("short values", "long values"):
        return Packed(packed.encoded, packed.ancillary[:-1] if "short" in change else packed.ancillary + b"\1", None)
    if change == "no header":
        return Packed(packed.encoded, packed.ancillary[:15], packed.bits)
    place, value = {"kind": (0, 1), "version": (1, 2), "axis": (5, 0x02), "no bits": (5, 0xF0)}[change]
    header[place] = value
    return Packed(packed.encoded, bytes(header), packed.bits)


@pytest.mark.parametrize(
    ("form", "change", "words"),
    [
        ("sparse", "short bits", "fewer bytes than its shape needs"),
        ("sparse", "short values", "fewer bytes than its shape needs"),
        ("sparse", "long values", "7 kept weights where 6 bits are set"),
        ("sparse", "no header", "no header of 16 bytes"),
        ("sparse", "kind", "an encoding of kind 1 and versions 1 and 1"),
        ("tables", "version", "an encoding of kind 0 and versions 2 and 1"),
        ("tables", "short bits", "fewer bytes than its shape needs"),
        ("tables", "axis", "tables along axis 0, 2 bits, for scales along axis 0"),
        ("tables", "no bits", "tables along axis 15, 0 bits"),
    ],
)
def test_damage_is_named(form: str, change: str, words: str) -> None:
    kernel = Kernel(np.array([[1, 2, 0], [3, 0, 1], [3, 0, 1]], np.int8), np.array([0]), 0)
    packed: Any = pack_sparse(kernel) if form == "sparse" else pack_tables(kernel)
    with pytest.raises(ConversionError, match="expected encoded weights that can be unpacked, got") as caught:
        decode(_file(kernel, _damaged(packed, change)))
    assert words in str(caught.value)
    assert str(caught.value).endswith("in tensor 'model/dense_1/MatMul'. Convert again.")


def test_nothing_encoded_is_nothing_decoded(variants: Any) -> None:
    assert decode(variants["cnn", "int8"]) == {}
    with pytest.raises(ConversionError, match="expected a TFLite file"):
        decode(b"nothing of the kind")


def test_the_decoders_name_of_the_operator_is_the_audits() -> None:
    kernel = Kernel(np.zeros((2, 3), np.int8), np.array([0]), 0)
    assert audit.operators(_file(kernel, pack_sparse(kernel))) == ["CUSTOM:TFLM_DECODE", "FULLY_CONNECTED"]

"""int8 weights stored for TFLite Micro's operator DECODE, which unpacks them into the arena at each inference.

Two encodings. `sparse`, of pruned kernels: one bit a weight, most significant bit first, 1 where it differs from its
zero point, and the weights that do, in order (TFLite Micro, decode_state_prune.cc). `tables`, of clustered kernels: for
each weight an index of 1 to 7 bits into a table of the values that the kernel, or each of its channels, has
(decode_state_lut.cc). Neither changes a weight, and so no answer; both trade flash for RAM and time. The sparse
encoder is this module's own: tflite-micro ships its decoder only. The graph is rewritten by tflite-micro.

TensorFlow is not imported.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import flatbuffers
import numpy as np
from numpy.typing import NDArray
from tflite_micro.tensorflow.lite.micro.compression import decode_insert, lut, model_editor, spec
from tflite_micro.tensorflow.lite.micro.compression.compressor import CompressionResult
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as tflite
from tflite_micro.tensorflow.lite.micro.tools import tflite_flatbuffer_align_wrapper

from data.contract import ConversionError
from models.tflite import audit
from models.tflite.micro import MicroResult, run_micro
from models.tflite.micro_decoding import DECODE_CODE

Encoding = Literal["sparse", "tables"]

PRUNE_HEADER = bytes([2, 1, 0, 0, 1]) + bytes(11)
"""Head of the ancillary tensor: 2 for pruning, version 1 of the operator, and at byte 4 version 1 of the format."""

MOST_VALUES = 2**7
"""Indices have 7 bits at most."""

_KERNEL_INPUT = 1
_OPERATORS = frozenset({"FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D"})


@dataclass(frozen=True)
class EncodedLayer:
    """A kernel that is encoded.

    Attributes:
        name: its Keras layer.
        num_weights: its weights; as many bytes when unpacked.
        saved_bytes: by how much the file is smaller for it.
        bits: `tables`: of an index; None for `sparse`.
    """

    name: str
    num_weights: int
    saved_bytes: int
    bits: int | None


@dataclass(frozen=True)
class Encoded:
    """An encoded file.

    Attributes:
        model: its bytes; TFLite Micro alone runs them.
        layers: what is encoded, in the order it runs.
        left_out: Keras layer -> why its kernel is stored as it was.
        arena_bytes: what TFLite Micro takes on this host.
    """

    model: bytes
    layers: tuple[EncodedLayer, ...]
    left_out: dict[str, str]
    arena_bytes: int


@dataclass(frozen=True)
class _Kernel:
    """A kernel of the file: its tensor's index, layer, integers and zero points."""

    tensor: int
    layer: str
    values: NDArray[np.int8]
    zero_points: NDArray[np.int64]
    axis: int

    @property
    def by_channel(self) -> NDArray[np.int8]:
        return np.moveaxis(self.values, self.axis, 0).reshape(self.values.shape[self.axis], -1)


def encode(model: bytes, encoding: Encoding, *, arena_limit_bytes: int | None = None) -> Encoded:
    """Encodes the kernels of a file that become smaller by it, as many as the arena's limit allows.

    The arena grows by the largest unpacked kernel, for each is unpacked just before it is used. Where it is above the
    limit, the largest kernel is stored plainly, then the next, until it is not.

    Args:
        model: bytes of a .tflite file of int8 weights, which TFLite Micro runs.
        encoding: `sparse` or `tables`.
        arena_limit_bytes: most arena, as measured on this host; None: any.

    Returns:
        The encoded file; the same for the same arguments.

    Raises:
        ConversionError: the bytes are no TFLite model, TFLite Micro does not run them, or no kernel can be encoded.
    """
    left_out: dict[str, str] = {}
    chosen: list[tuple[_Kernel, CompressionResult, EncodedLayer]] = []
    plain_bytes = len(_repacked(model, {}))
    for kernel in _kernels(model, left_out):
        result = _sparse(kernel) if encoding == "sparse" else _tables(kernel)
        if isinstance(result, str):
            left_out[kernel.layer] = result
            continue
        saved = plain_bytes - len(_repacked(model, {(0, kernel.tensor): result}))
        if saved <= 0:
            left_out[kernel.layer] = f"the file would grow by {-saved} bytes" if saved else "the file would not shrink"
            continue
        bits = None if encoding == "sparse" else result.ancillary_data[5] & 0x07
        chosen.append((kernel, result, EncodedLayer(kernel.layer, kernel.values.size, saved, bits)))
    while chosen:
        encoded = _repacked(model, {(0, kernel.tensor): result for kernel, result, _ in chosen})
        arena = _arena_bytes(encoded, model)
        if arena_limit_bytes is None or arena <= arena_limit_bytes:
            return Encoded(encoded, tuple(layer for _, _, layer in chosen), left_out, arena)
        largest = max(chosen, key=lambda each: each[2].num_weights)
        left_out[largest[2].name] = f"the arena would be {arena} bytes, more than {arena_limit_bytes}"
        chosen.remove(largest)
    why = "; ".join(f"{name}: {reason}" for name, reason in left_out.items()) or "there are none of 8 bits"
    raise ConversionError(
        f"quantize.encoding: expected a kernel that {encoding} makes smaller, got none ({why}). Leave it out, or "
        f"{'prune more weights' if encoding == 'sparse' else 'cluster the weights'}."
    )


def _kernels(model: bytes, left_out: dict[str, str]) -> list[_Kernel]:
    """Kernels of 8 bits; others are put into `left_out`."""
    unpacked = audit.read_model(model)
    graph = unpacked.subgraphs[0]
    constants = {constant.name: constant for constant in audit.constants(model)}
    kernels, seen = list[_Kernel](), set[int]()
    for operator, details in zip(graph.operators, audit.operator_details(model), strict=True):
        if details.name not in _OPERATORS:
            continue
        index = int(operator.inputs[_KERNEL_INPUT])
        name = graph.tensors[index].name.decode(errors="replace")
        if index in seen or name not in constants:
            continue
        seen.add(index)
        if details.input_types[_KERNEL_INPUT] != "INT8":
            left_out[_layer(name)] = f"weights of {details.input_types[_KERNEL_INPUT]}; they are packed already"
            continue
        constant = constants[name]
        kernels.append(_Kernel(index, _layer(name), constant.values, constant.zero_points, constant.channel_axis))
    return kernels


def _layer(tensor_name: str) -> str:
    """The Keras layer in a tensor's name, `model/<layer>/<operation>;…`; the name itself where it has none."""
    parts = tensor_name.split(";")[0].split("/")
    return parts[1] if len(parts) > 2 else tensor_name


def _sparse(kernel: _Kernel) -> CompressionResult | str:
    shape = [1] * kernel.values.ndim
    if kernel.zero_points.size > 1:
        if kernel.axis not in (0, kernel.values.ndim - 1):
            return f"zero points along axis {kernel.axis}; only the first and the last axis can be"
        shape[kernel.axis] = -1
    kept = kernel.values != kernel.zero_points.reshape(shape)
    flags = np.packbits(kept.ravel())
    return CompressionResult(flags.tobytes(), PRUNE_HEADER + kernel.values[kept].tobytes())


def _tables(kernel: _Kernel) -> CompressionResult | str:
    """One table where the kernel has one scale, else one a channel: TFLite Micro takes the number from the scales."""
    by_channel = kernel.zero_points.size > 1
    if by_channel and kernel.axis not in (0, kernel.values.ndim - 1):
        return f"scales along axis {kernel.axis}; only the first and the last axis can be"
    values = max(int(np.unique(each).size) for each in (kernel.by_channel if by_channel else [kernel.values]))
    if values > MOST_VALUES:
        return f"{values} distinct values, more than {MOST_VALUES}"
    bits = max(1, (values - 1).bit_length())
    mode = spec.PerChannel(axis=kernel.axis) if by_channel else spec.PerTensor()
    tensor = model_editor.Tensor(shape=kernel.values.shape, dtype=tflite.TensorType.INT8, data=kernel.values)
    method = spec.LookUpTableCompression(index_bitwidth=bits, mode=mode)
    result: CompressionResult = lut.LutCompressor().compress(tensor, method)
    return result


def _repacked(model: bytes, results: dict[tuple[int, int], CompressionResult]) -> bytes:
    """Writes a model anew with some tensors encoded, without what nobody reads.

    That is: names of the tensors that the rewriting adds, and scales of encoded bytes, which the unpacked tensor has.
    """
    edited = model_editor.read(model)
    if results:
        decode_insert.insert_decode_operators(edited, results)
    rewritten = audit.read_model(bytes(edited.build()))
    graph = rewritten.subgraphs[0]
    for operator in graph.operators:
        if rewritten.operatorCodes[operator.opcodeIndex].customCode == DECODE_CODE:
            for encoded, ancillary in zip(operator.inputs[::2], operator.inputs[1::2], strict=True):
                graph.tensors[encoded].quantization = graph.tensors[ancillary].name = None
            for output in operator.outputs:
                graph.tensors[output].name = None
    builder = flatbuffers.Builder()
    builder.Finish(rewritten.Pack(builder), file_identifier=b"TFL3")
    with tempfile.TemporaryDirectory(prefix="penjing-encode-") as name:
        unaligned, aligned = Path(name) / "unaligned.tflite", Path(name) / "aligned.tflite"
        unaligned.write_bytes(bytes(builder.Output()))
        tflite_flatbuffer_align_wrapper.align_tflite_model(str(unaligned), str(aligned))
        return aligned.read_bytes()


def _row_of_zeros(model: bytes) -> NDArray[Any]:
    graph = audit.read_model(model).subgraphs[0]
    tensor = graph.tensors[int(graph.inputs[0])]
    kind = next(name for name, value in vars(tflite.TensorType).items() if value == tensor.type)
    return np.zeros([int(size) for size in tensor.shape], np.dtype(kind.lower()))


def _arena_bytes(encoded: bytes, plain: bytes) -> int:
    result = run_micro(encoded, _row_of_zeros(plain))
    if isinstance(result, MicroResult):
        return result.arena_bytes
    raise ConversionError(
        f"quantize.encoding: expected a model that TFLite Micro runs, got: {result.reason}. Set it to dense."
    )

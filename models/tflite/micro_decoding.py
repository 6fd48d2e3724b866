"""What TFLite Micro's operator DECODE unpacks, weight by weight, from a file's own bytes: slow, plain, independent.

It knows nothing of the encoder; the export gate and the tests hold encoded files against it.

Reference:
    TFLite Micro, `decode_state_prune.cc` and `decode_state_lut.cc`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.contract import ConversionError
from models.tflite import audit

DECODE_CODE = b"TFLM_DECODE"
DECODE = f"CUSTOM:{DECODE_CODE.decode()}"
"""The operator, as `audit` names it."""

_HEADER_BYTES = 16
_LOOKUP_TABLE, _PRUNED = 0, 2
_ONE_TABLE = 15


def decode(model: bytes) -> dict[str, NDArray[np.int8]]:
    """Unpacks every encoded tensor of a file.

    Args:
        model: bytes of a .tflite file.

    Returns:
        Name of the encoded tensor -> int8 weights in their own shape; empty where nothing is encoded.

    Raises:
        ConversionError: the bytes are no TFLite model, or what is encoded is damaged or of another kind.
    """
    unpacked = audit.read_model(model)
    found: dict[str, NDArray[np.int8]] = {}
    for graph in unpacked.subgraphs:
        for operator in graph.operators or []:
            if not _is_decode(unpacked, operator):
                continue
            for position, output in enumerate(operator.outputs):
                encoded = graph.tensors[int(operator.inputs[2 * position])]
                ancillary = graph.tensors[int(operator.inputs[2 * position + 1])]
                name = encoded.name.decode(errors="replace")
                try:
                    found[name] = _tensor(
                        name, _data(unpacked, encoded), _data(unpacked, ancillary), graph.tensors[output]
                    )
                except IndexError:
                    raise _damaged(name, "fewer bytes than its shape needs") from None
    return found


def _is_decode(unpacked: Any, operator: Any) -> bool:
    code = unpacked.operatorCodes[operator.opcodeIndex]
    return bool(code.customCode == DECODE_CODE)


def _data(unpacked: Any, tensor: Any) -> bytes:
    return bytes(np.asarray(unpacked.buffers[tensor.buffer].data, dtype=np.uint8))


def _tensor(name: str, encoded: bytes, ancillary: bytes, output: Any) -> NDArray[np.int8]:
    kind = ancillary[0]
    shape = tuple(int(size) for size in output.shape)
    if kind == _PRUNED:
        return _pruned(encoded, ancillary[_HEADER_BYTES:], shape, output.quantization)
    if kind == _LOOKUP_TABLE:
        return _looked_up(encoded, ancillary, shape)
    raise _damaged(name, f"an encoding of kind {kind}")


def _pruned(encoded: bytes, kept: bytes, shape: tuple[int, ...], quantization: Any) -> NDArray[np.int8]:
    points = [int(point) for point in quantization.zeroPoint]
    weights = np.empty(shape, np.int8)
    values = np.frombuffer(kept, np.int8)
    taken = 0
    for number, place in enumerate(np.ndindex(*shape)):
        channel = place[int(quantization.quantizedDimension)] if len(points) > 1 else 0
        if _field(encoded, number, 1):
            weights[place] = values[taken]
            taken += 1
        else:
            weights[place] = points[channel]
    return weights


def _looked_up(encoded: bytes, ancillary: bytes, shape: tuple[int, ...]) -> NDArray[np.int8]:
    axis, bits, stride = ancillary[5] >> 4, ancillary[5] & 0x07, ancillary[6]
    table = np.frombuffer(ancillary[_HEADER_BYTES:], np.int8)
    weights = np.empty(shape, np.int8)
    for number, place in enumerate(np.ndindex(*shape)):
        channel = 0 if axis == _ONE_TABLE else place[axis]
        weights[place] = table[channel * stride + _field(encoded, number, bits)]
    return weights


def _field(packed: bytes, number: int, bits: int) -> int:
    """The `number`-th field of so many bits, the most significant bit first."""
    value = 0
    for bit in range(number * bits, (number + 1) * bits):
        value = 2 * value + (packed[bit // 8] >> (7 - bit % 8) & 1)
    return value


def _damaged(name: str, what: str) -> ConversionError:
    return ConversionError(
        f"model.tflite: expected encoded weights that can be unpacked, got {what} in tensor {name!r}. Convert again."
    )

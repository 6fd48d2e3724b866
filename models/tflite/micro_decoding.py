"""What TFLite Micro's operator DECODE unpacks, weight by weight, from a file's own bytes: slow, plain, independent.

It knows nothing of the encoder; the export gate and the tests hold encoded files against it. As the runtime does, it
takes the number of channels and their axis from the quantization of the unpacked tensor; the axis that tables name
themselves must agree with it, for newer runtimes go by that.

Reference:
    TFLite Micro, `decode_state_prune.cc` and `decode_state_lut.cc`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from data.contract import ConversionError
from models.tflite import audit

DECODE: Final = "CUSTOM:TFLM_DECODE"
"""The operator, as `audit` names it."""

_CUSTOM_CODE: Final = b"TFLM_DECODE"
_HEADER_BYTES: Final = 16
_LOOKUP_TABLE, _PRUNED = 0, 2
_ONE_TABLE: Final = 15
_INT8: Final = 9


@dataclass(frozen=True)
class _Job:
    """One tensor to unpack; `ancillary` without its header."""

    name: str
    header: bytes
    encoded: bytes
    ancillary: bytes
    shape: tuple[int, ...]
    zero_points: list[int]
    axis: int

    def channels(self) -> Iterator[int]:
        """The channel of each weight in order; 0 for all where there is one scale."""
        for place in np.ndindex(*self.shape):
            yield place[self.axis] if len(self.zero_points) > 1 else 0


def decode(model: bytes) -> dict[str, NDArray[np.int8]]:
    """Unpacks every encoded tensor of a file.

    Args:
        model: bytes of a .tflite file.

    Returns:
        Name of the encoded tensor -> int8 weights in their own shape; empty where nothing is encoded.

    Raises:
        ConversionError: the bytes are no TFLite model, or what is encoded is damaged, of another kind, or of a form
            that the runtime would misread.
    """
    unpacked = audit.read_model(model)
    found: dict[str, NDArray[np.int8]] = {}
    for graph in unpacked.subgraphs:
        for operator in graph.operators or []:
            if unpacked.operatorCodes[operator.opcodeIndex].customCode != _CUSTOM_CODE:
                continue
            for position, output in enumerate(operator.outputs):
                pair = [graph.tensors[int(index)] for index in operator.inputs[2 * position : 2 * position + 2]]
                job = _job(unpacked, pair[0], pair[1], graph.tensors[int(output)])
                found[job.name] = _decoded(job)
    return found


def _job(unpacked: Any, encoded: Any, ancillary: Any, output: Any) -> _Job:
    name = (encoded.name or b"").decode(errors="replace")
    packed, described = (_data(unpacked, tensor) for tensor in (encoded, ancillary))
    quantization = output.quantization
    points = None if quantization is None else quantization.zeroPoint
    if len(described) < _HEADER_BYTES or output.type != _INT8 or points is None or len(points) == 0:
        raise _damaged(name, "no header of 16 bytes, or no quantized int8 weights to unpack it to")
    return _Job(
        name=name,
        header=described[:_HEADER_BYTES],
        encoded=packed,
        ancillary=described[_HEADER_BYTES:],
        shape=tuple(int(size) for size in output.shape),
        zero_points=[int(point) for point in points],
        axis=int(quantization.quantizedDimension),
    )


def _data(unpacked: Any, tensor: Any) -> bytes:
    data = unpacked.buffers[tensor.buffer].data
    return b"" if data is None else np.asarray(data, dtype=np.uint8).tobytes()


def _decoded(job: _Job) -> NDArray[np.int8]:
    kind, version, encoding_version = job.header[0], job.header[1], job.header[4]
    if (version, encoding_version) != (1, 1) or kind not in (_PRUNED, _LOOKUP_TABLE):
        raise _damaged(job.name, f"an encoding of kind {kind} and versions {version} and {encoding_version}")
    many = len(job.zero_points) > 1
    if job.axis not in ({0, len(job.shape) - 1} if many else {0}) or (
        many and len(job.zero_points) != job.shape[job.axis]
    ):
        raise _damaged(job.name, f"{len(job.zero_points)} scales along axis {job.axis} of {job.shape}")
    try:
        weights = _pruned(job) if kind == _PRUNED else _looked_up(job)
    except IndexError:
        raise _damaged(job.name, "fewer bytes than its shape needs") from None
    return np.array(weights, np.uint8).view(np.int8).reshape(job.shape)


def _pruned(job: _Job) -> list[int]:
    weights, taken = [], 0
    for number, channel in enumerate(job.channels()):
        if _field(job.encoded, number, 1):
            weights.append(job.ancillary[taken])
            taken += 1
        else:
            weights.append(job.zero_points[channel] % 256)
    if taken != len(job.ancillary):
        raise _damaged(job.name, f"{len(job.ancillary)} kept weights where {taken} bits are set")
    return weights


def _looked_up(job: _Job) -> list[int]:
    axis, bits, distance = job.header[5] >> 4, job.header[5] & 0x07, job.header[6]
    one_table = len(job.zero_points) == 1 or distance == 0
    if (axis != _ONE_TABLE if one_table else axis != job.axis) or bits == 0:
        raise _damaged(job.name, f"tables along axis {axis}, {bits} bits, for scales along axis {job.axis}")
    return [
        job.ancillary[channel * distance + _field(job.encoded, number, bits)]
        for number, channel in enumerate(job.channels())
    ]


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

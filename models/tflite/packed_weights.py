"""int8 weights in the two forms that TFLite Micro's operator DECODE unpacks: sparse, and indices into tables.

Both consist of an encoded tensor and an ancillary one, whose first 16 bytes say what is what.

Sparse, of kernels with zeros: one bit a weight in order, most significant bit first, 1 where it differs from its
zero point; ancillary, the weights that do, in order. Bytes: `ceil(n / 8) + 16 + kept`.

Tables, of kernels with few values: an index of b = 1 to 7 bits a weight in order, most significant bit first;
ancillary, the values in ascending order, for the whole kernel or for each channel. Bytes:
`ceil(n b / 8) + 16 + tables * longest table`.

How many channels there are, and along which axis, the runtime takes from the kernel's quantization, never from the
ancillary tensor. So tables by channel exist for scales by channel only; one table for such a kernel has distance 0
to the next channel's.

Reference:
    TFLite Micro, `decode_state_prune.cc` and `decode_state_lut.cc`; its package writes the tables too, but not these
    (its one table under scales by channel is misread), and its sparse writer is not implemented.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

MAX_BITS: Final = 7
"""Width of the widest index."""

PRUNE_HEADER: Final = bytes([2, 1, 0, 0, 1]) + bytes(11)
"""Head of the sparse form's ancillary tensor: 2 for pruning, version 1 of the operator, and of the format at byte 4."""

_HEADER_BYTES: Final = 16
_VERSION: Final = 1
_ONE_TABLE: Final = 15  # upper half of byte 5: the axis, or this


@dataclass(frozen=True)
class Kernel:
    """A kernel as a file has it.

    Attributes:
        values: int8 in its own shape, of rank 2 or more.
        zero_points: (scales,) int64, the integers that mean 0.0: one, or one a channel.
        axis: axis the scales run along.
    """

    values: NDArray[np.int8]
    zero_points: NDArray[np.int64]
    axis: int

    def refusal(self) -> str | None:
        """Why the runtime could not unpack it; None where it can."""
        scales, last = self.zero_points.size, self.values.ndim - 1
        if scales == 0:
            return "its integers have no scale"
        if scales == 1:
            # The runtime looks at the axis even so, and takes the last one for an error.
            return None if self.axis == 0 else f"it has one scale, and that along axis {self.axis} instead of 0"
        if self.axis not in (0, last):
            return f"its scales run along axis {self.axis}; axis 0 and the last one, {last}, can be unpacked"
        if scales != self.values.shape[self.axis]:
            return f"it has {scales} zero points for {self.values.shape[self.axis]} channels"
        return None

    def by_channel(self) -> NDArray[np.int8]:
        """Returns (channels, weights of one); a single row where there is one scale."""
        if self.zero_points.size == 1:
            return self.values.reshape(1, -1)
        return np.moveaxis(self.values, self.axis, 0).reshape(self.zero_points.size, -1)


@dataclass(frozen=True)
class Packed:
    """An encoded kernel.

    Attributes:
        encoded: data of the encoded tensor.
        ancillary: data of the ancillary tensor.
        bits: width of an index; None in the sparse form.
    """

    encoded: bytes
    ancillary: bytes
    bits: int | None

    @property
    def size(self) -> int:
        """Bytes of both tensors."""
        return len(self.encoded) + len(self.ancillary)


def pack_sparse(kernel: Kernel) -> Packed:
    """Encodes a kernel as bits and kept weights.

    Args:
        kernel: one without a `refusal`.
    """
    along_channels = [1] * kernel.values.ndim
    along_channels[kernel.axis] = -1
    kept = kernel.values != kernel.zero_points.reshape(along_channels)
    return Packed(np.packbits(kept.ravel()).tobytes(), PRUNE_HEADER + kernel.values[kept].tobytes(), None)


def pack_tables(kernel: Kernel) -> Packed | None:
    """Encodes a kernel as indices into one table or one a channel, whichever is smaller.

    Args:
        kernel: one without a `refusal`.

    Returns:
        The smaller encoding; None where a table would need more than 128 values.
    """
    possible = [_one_table(kernel)]
    if kernel.zero_points.size > 1:
        possible.append(_table_a_channel(kernel))
    return min((packed for packed in possible if packed is not None), key=lambda packed: packed.size, default=None)


def _one_table(kernel: Kernel) -> Packed | None:
    values, indices = np.unique(kernel.values, return_inverse=True)
    bits = _bits(values.size)
    if bits > MAX_BITS:
        return None
    distance = values.size if kernel.zero_points.size == 1 else 0
    header = _table_header(_ONE_TABLE, bits, distance)
    return Packed(_packed_indices(indices, bits), header + values.astype(np.int8).tobytes(), bits)


def _table_a_channel(kernel: Kernel) -> Packed | None:
    uniques = [np.unique(channel, return_inverse=True) for channel in kernel.by_channel()]
    longest = max(values.size for values, _ in uniques)
    bits = _bits(longest)
    if bits > MAX_BITS:
        return None
    tables = np.zeros((len(uniques), longest), np.int8)
    for table, (values, _) in zip(tables, uniques, strict=True):
        table[: values.size] = values
    channels_first = np.moveaxis(kernel.values, kernel.axis, 0).shape
    indices = np.stack([found.ravel() for _, found in uniques]).reshape(channels_first)
    header = _table_header(kernel.axis, bits, longest)
    return Packed(_packed_indices(np.moveaxis(indices, 0, kernel.axis), bits), header + tables.tobytes(), bits)


def _table_header(axis: int, bits: int, distance: int) -> bytes:
    """0 for tables, the two versions, axis and width of an index in one byte, values from a table to the next."""
    return bytes([0, _VERSION, 0, 0, _VERSION, (axis << 4) | bits, distance]).ljust(_HEADER_BYTES, b"\0")


def _bits(values: int) -> int:
    return max(1, (values - 1).bit_length())


def _packed_indices(indices: NDArray[np.intp], bits: int) -> bytes:
    as_bits = (indices.reshape(-1, 1) >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(as_bits.astype(np.uint8).ravel()).tobytes()

"""Writing a TFLite model's object tree into a file of its own: every constant inside it, aligned as kernels need.

TensorFlow is not imported.
"""

from __future__ import annotations

from typing import Any, Final

import flatbuffers
import numpy as np

from data.contract import ConversionError
from models.tflite import audit

_BUFFER_ALIGNMENT: Final = 16  # `force_align` of the schema's Buffer.data; the Python library knows nothing of it
_IDENTIFIER: Final = b"TFL3"


class _AlignedBuilder(flatbuffers.Builder):  # type: ignore[misc]  # the library ships no types
    """A builder whose vectors of bytes, which a buffer's data are, begin at multiples of 16."""

    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> Any:  # noqa: N802 - the library's names
        return super().StartVector(elemSize, numElems, _BUFFER_ALIGNMENT if elemSize == 1 else alignment)


def read_whole(model: bytes) -> Any:
    """Unpacks a .tflite file, constants that stand behind the flatbuffer taken in.

    ai-edge-quantizer puts them there where they are 256 KiB or more together: a buffer then has an offset and a size
    and no data. TFLite Micro knows nothing of that and computes with whatever is in memory.

    Args:
        model: bytes of a .tflite file.

    Returns:
        A `ModelT` of TFLite's schema, each buffer's data a uint8 array or None.

    Raises:
        ConversionError: the bytes are no TFLite model, or break off.
    """
    unpacked = audit.read_model(model)
    for buffer in unpacked.buffers:
        if buffer.offset > 1:  # 0 and 1 stand for none
            if buffer.offset + buffer.size > len(model):
                raise ConversionError(
                    f"model.tflite: expected {buffer.size} bytes of a constant at {buffer.offset}, got a file of "
                    f"{len(model)}. Convert the model again."
                )
            buffer.data = np.frombuffer(model, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    return unpacked


def pack(unpacked: Any) -> bytes:
    """Writes a model.

    Args:
        unpacked: a `ModelT` of TFLite's schema.

    Returns:
        Bytes of a .tflite file; the same for the same model.
    """
    builder = _AlignedBuilder(1024)
    builder.Finish(unpacked.Pack(builder), _IDENTIFIER)
    return bytes(builder.Output())


def self_contained(model: bytes) -> bytes:
    """Returns a file whose constants are all inside the flatbuffer; the bytes given, where they are already.

    Args:
        model: bytes of a .tflite file.

    Raises:
        ConversionError: the bytes are no TFLite model.
    """
    if all(buffer.offset <= 1 for buffer in audit.read_model(model).buffers):
        return model
    return pack(read_whole(model))

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from data.contract import ConversionError
from models.legacy_keras import keras
from models.tflite import audit
from models.tflite.convert import convert
from models.tflite.flatbuffer import pack, read_whole, self_contained
from models.tflite.interpreter import LiteRT
from models.tflite.micro import MicroResult, run_micro
from models.tflite.mixed_precision import Recipe, quantize


def _kernels(model: bytes) -> dict[str, np.ndarray]:
    return {constant.name: constant.values for constant in audit.constants(model) if constant.values.ndim > 1}


def _with_constants_behind(model: bytes) -> bytes:
    """As ai-edge-quantizer writes files of 256 KiB or more: a buffer has a place behind the flatbuffer, and no data."""
    unpacked = audit.read_model(model)
    moved = {buffer: bytes(buffer.data) for buffer in unpacked.buffers if buffer.data is not None}
    for buffer in moved:
        buffer.data, buffer.offset, buffer.size = None, 2, 2  # so that the fields are there
    end = len(pack(unpacked))
    for buffer, data in moved.items():
        buffer.offset, buffer.size = end, len(data)
        end += len(data)
    return pack(unpacked) + b"".join(moved.values())


def test_constants_behind_the_flatbuffer_are_taken_in(variants: Any, digits: np.ndarray) -> None:
    bare = variants["cnn", "int8"]
    split = _with_constants_behind(bare)
    assert _kernels(split) == {}
    whole = self_contained(split)
    assert len(_kernels(whole)) == 4
    assert self_contained(whole) == whole
    rows = LiteRT(bare).quantize(digits[:20])
    for file in (split, whole):
        np.testing.assert_array_equal(LiteRT(file).invoke(rows), LiteRT(bare).invoke(rows))
    before, after = run_micro(bare, rows), run_micro(whole, rows)
    assert isinstance(before, MicroResult)
    assert isinstance(after, MicroResult)
    np.testing.assert_array_equal(after.outputs, before.outputs)
    assert np.abs(after.outputs.astype(int) - LiteRT(whole).invoke(rows)).max() <= 1
    with pytest.raises(ConversionError, match=r"expected \d+ bytes of a constant at \d+, got a file of"):
        read_whole(split[:-100])


def test_quantizing_256_kib_and_more_leaves_no_constant_outside(digits: np.ndarray) -> None:
    inputs = keras.Input((8, 8, 1))
    hidden = keras.layers.Dense(4500, activation="relu", name="dense_1")(keras.layers.Flatten()(inputs))
    model = keras.Model(inputs, keras.layers.Dense(10, name="output")(hidden))
    file = quantize(convert(model, "float32"), Recipe("int8"), digits[:20])
    assert sorted(values.size for values in _kernels(file).values()) == [45_000, 288_000]
    rows = LiteRT(file).quantize(digits[:20])
    micro = run_micro(file, rows)
    assert isinstance(micro, MicroResult)
    assert np.abs(micro.outputs.astype(int) - LiteRT(file).invoke(rows)).max() <= 2

from __future__ import annotations

import gzip
from typing import Any

import numpy as np
import pyarrow
import pytest

from data.contract import PenjingError
from models.legacy_keras import keras
from models.measurements import count_macs, count_nonzero, count_parameters, gzip_bytes, zstd_bytes

layers = keras.layers


def _model(shape: tuple[int, ...], *stack: Any) -> Any:
    inputs = keras.Input(shape)
    outputs = inputs
    for layer in stack:
        outputs = layer(outputs)
    return keras.Model(inputs, outputs)


@pytest.mark.parametrize(
    ("model", "macs", "parameters"),
    [
        # 64*20 + 20*10; and the biases 20 + 10
        (lambda: _model((64,), layers.Dense(20), layers.Dense(10)), 1480, 1510),
        # 5 positions, each 3*4
        (lambda: _model((5, 3), layers.Dense(4, use_bias=False)), 60, 12),
        # "same", stride 2 of 9x7: 5x4 positions, 3*3*2*6 weights
        (
            lambda: _model((9, 7, 2), layers.Conv2D(6, 3, strides=2, padding="same")),
            20 * 108,
            108 + 6,
        ),
        # "valid": 7x5 positions
        (lambda: _model((9, 7, 2), layers.Conv2D(6, 3, use_bias=False)), 35 * 108, 108),
        # 2 groups: each filter sees 2 of 4 channels: 3*3*2*6
        (lambda: _model((8, 8, 4), layers.Conv2D(6, 3, groups=2, padding="same", use_bias=False)), 64 * 108, 108),
        # depthwise: 3*3*4*2 weights, 6x6 positions
        (lambda: _model((8, 8, 4), layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False)), 36 * 72, 72),
        # separable: 64 positions of 3*3*4*2 and of 8*5
        (
            lambda: _model((8, 8, 4), layers.SeparableConv2D(5, 3, depth_multiplier=2, padding="same", use_bias=False)),
            64 * (72 + 40),
            72 + 40,
        ),
        # batch normalization: 4 numbers a channel, folded on conversion; pooling and activations hold none
        (
            lambda: _model(
                (8, 8, 1),
                layers.Conv2D(3, 1, use_bias=False),
                layers.BatchNormalization(),
                layers.ReLU(),
                layers.MaxPool2D(2),
                layers.Flatten(),
                layers.Dense(2),
            ),
            64 * 3 + 48 * 2,
            3 + 12 + 98,
        ),
    ],
)
def test_counts_by_hand(model: Any, macs: int, parameters: int) -> None:
    built = model()
    assert count_macs(built) == macs
    assert count_parameters(built) == parameters


def test_zeros_are_not_counted_wherever_they_are() -> None:
    model = _model((3,), layers.Dense(2), layers.BatchNormalization())
    # gamma 1 1, beta 0 0, mean 0 0, variance 1 1
    model.set_weights(
        [np.array([[1, 0], [0, 2], [-0.0, 3]]), np.array([0, 5]), np.ones(2), np.zeros(2), np.zeros(2), np.ones(2)]
    )
    assert count_nonzero(model) == 3 + 1 + 4
    assert count_parameters(model) == 6 + 2 + 8
    assert count_macs(model) == 6


def test_an_unknown_layer_with_weights_is_refused() -> None:
    model = _model((5, 3), layers.Conv1DTranspose(4, 2, name="memory"))
    with pytest.raises(
        PenjingError, match=r"^model\.memory: expected a layer whose multiply-accumulates .*, got Conv1DTranspose\."
    ):
        count_macs(model)


def test_channels_first_is_refused() -> None:
    model = _model((1, 8, 8), layers.Conv2D(3, 3, data_format="channels_first", name="conv_1"))
    with pytest.raises(PenjingError, match=r"^model\.conv_1: expected images with channels last, got 'channels_first'"):
        count_macs(model)


def test_gzip_is_level_9_without_a_time_stamp() -> None:
    data = np.random.default_rng(0).integers(0, 4, 5000, np.uint8).tobytes()
    assert gzip_bytes(data) == len(gzip.compress(data, 9, mtime=0)) < 2000
    assert gzip_bytes(bytes(10_000)) < 60


def test_zstd_is_what_its_reader_unpacks() -> None:
    data = bytes(range(7)) * 300
    size = zstd_bytes(data)
    packed = pyarrow.Codec("zstd", compression_level=19).compress(data, asbytes=True)
    assert pyarrow.decompress(packed, decompressed_size=len(data), codec="zstd", asbytes=True) == data
    assert size == len(packed) < 100

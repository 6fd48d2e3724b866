"""The convolutional network: blocks of convolution, batch normalization, activation and pooling."""

from __future__ import annotations

import math
from typing import Any

from data.contract import derive_seed
from models.activations import RECTIFIERS
from models.activations import activation as keras_activation
from models.architectures.mlp import dense_stack, dropped, kernel_initializer
from models.config import BlockConfig, CnnConfig
from models.legacy_keras import keras
from models.shapes import SERIES_DIMENSIONS, kernel_sides

Sides = tuple[int, int]
"""Height and width of a kernel or a pooling."""

# Keras's 0.99 remembers 100 steps and more: a small data set has fewer steps in its first epochs, and
# validation would judge the network by statistics that lag behind its weights.
NORMALIZATION_MOMENTUM = 0.9


def features(config: CnnConfig, inputs: Any, seed: int) -> Any:
    """Lays the blocks on an image, or along the steps of a series, then the head.

    Layers are named `block_1_conv`, `block_1_bn`, `block_1_activation`, `block_1_pool`, …; a separable
    block has `_depthwise` and `_pointwise` in place of `_conv`, a residual one `_add` and, where shapes differ,
    `_shortcut` (He et al. 2016, Deep residual learning, section 3.2, option B) too. Where batch normalization follows,
    a convolution has no bias. A series is an image of width 1 behind a layer `steps`: what prunes, quantizes and
    converts convolutions of images then serves it too.

    Args:
        config: blocks and head; its shapes are checked.
        inputs: symbolic tensor (rows, height, width, channels) or (rows, steps, channels).
        seed: seed of the initial weights.

    Returns:
        Symbolic tensor (rows, features).
    """
    shape = tuple(inputs.shape)[1:]
    maps = inputs
    if len(shape) == SERIES_DIMENSIONS:
        maps = keras.layers.Reshape((shape[0], 1, shape[1]), name="steps")(inputs)
    for index, block in enumerate(config.blocks, start=1):
        sides = kernel_sides(block.kernel, shape), kernel_sides(block.pool, shape)
        maps = _block(maps, block, sides, config.activation, f"block_{index}", seed)
    if config.head == "global_average":
        vector = keras.layers.GlobalAveragePooling2D(name="global_average")(maps)
    else:
        vector = keras.layers.Flatten(name="flatten")(maps)
    vector = dropped(vector, config.dropout_fraction, "features", seed)
    return dense_stack(vector, config.head_units, config.activation, seed, config.dropout_fraction)


def _block(maps: Any, block: BlockConfig, sides: tuple[Sides, Sides], activation: str, name: str, seed: int) -> Any:
    kernel, pool = sides
    before = maps
    if block.separable:
        maps = _depthwise(maps, block, kernel, activation, f"{name}_depthwise", seed)
        maps = _activated(_normalized(maps, block, f"{name}_depthwise"), activation, f"{name}_depthwise")
        last = f"{name}_pointwise"
        maps = _normalized(_convolution(maps, block, (1, 1), 1, activation, last, seed), block, last)
    else:
        last = name
        maps = _convolution(maps, block, kernel, block.stride, activation, f"{name}_conv", seed)
        maps = _normalized(maps, block, last)
    if block.residual:
        maps = keras.layers.Add(name=f"{name}_add")([maps, _shortcut(before, maps, block, f"{name}_shortcut", seed)])
    maps = _activated(maps, activation, last)
    if block.pool > 1:
        maps = keras.layers.MaxPooling2D(pool, name=f"{name}_pool")(maps)
    return maps


def _convolution(
    maps: Any, block: BlockConfig, kernel: Sides, stride: int, activation: str, name: str, seed: int
) -> Any:
    # The stride is the same in both directions, which depthwise convolutions need; a width of 1 stays 1.
    return keras.layers.Conv2D(
        block.filters,
        kernel,
        strides=stride,
        padding=block.padding,
        use_bias=not block.batch_normalization,
        kernel_initializer=kernel_initializer(activation, derive_seed(seed, name)),
        name=name,
    )(maps)


def _depthwise(maps: Any, block: BlockConfig, kernel: Sides, activation: str, name: str, seed: int) -> Any:
    # Keras takes area x channels for the fan-in of a depthwise kernel; each output sums the area's inputs only.
    # He and Glorot uniform with the true fans (Glorot's fan-in and fan-out are equal here).
    gain = 6.0 if activation in RECTIFIERS else 3.0
    limit = math.sqrt(gain / math.prod(kernel))
    return keras.layers.DepthwiseConv2D(
        kernel,
        strides=block.stride,
        padding=block.padding,
        use_bias=not block.batch_normalization,
        depthwise_initializer=keras.initializers.RandomUniform(-limit, limit, seed=derive_seed(seed, name)),
        name=name,
    )(maps)


def _shortcut(before: Any, after: Any, block: BlockConfig, name: str, seed: int) -> Any:
    """A block's input as it is added to its convolution: itself, or brought to its shape."""
    if before.shape[1:] == after.shape[1:]:
        return before
    return _normalized(_convolution(before, block, (1, 1), block.stride, "linear", name, seed), block, name)


def _normalized(maps: Any, block: BlockConfig, name: str) -> Any:
    if not block.batch_normalization:
        return maps
    return keras.layers.BatchNormalization(momentum=NORMALIZATION_MOMENTUM, name=f"{name}_bn")(maps)


def _activated(maps: Any, activation: str, name: str) -> Any:
    return keras.layers.Activation(keras_activation(activation), name=f"{name}_activation")(maps)

"""The autoencoder: an encoder down to a bottleneck, and a decoder of the mirrored shape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from data.contract import derive_seed
from models.activations import activation as keras_activation
from models.architectures.cnn import NORMALIZATION_MOMENTUM
from models.architectures.mlp import flat, kernel_initializer
from models.autoencoder_config import AutoencoderBlockConfig, AutoencoderConfig
from models.legacy_keras import keras
from models.shapes import encoder_shapes

BOTTLENECK = "bottleneck"
"""Name of the layer whose answers are the embedding."""


def encode(config: AutoencoderConfig, inputs: Any, seed: int) -> Any:
    """Lays the encoder on the inputs, down to the embedding.

    Layers are named `encoder_1`, `encoder_2`, … (dense) or `encoder_1_conv`, `encoder_1_bn`, `encoder_1_activation`,
    `encoder_1_pool`, … (convolutional); the last is `bottleneck`, linear.

    Args:
        config: kind, units or blocks, and bottleneck; its shapes are checked.
        inputs: symbolic tensor (rows, *input_shape).
        seed: seed of the initial weights.

    Returns:
        Symbolic tensor (rows, config.bottleneck).
    """
    hidden = inputs
    if config.kind == "dense":
        hidden = flat(hidden)
        for index, units in enumerate(config.units, start=1):
            hidden = _dense(hidden, units, config.activation, f"encoder_{index}", seed)
    else:
        for index, each in enumerate(config.blocks, start=1):
            hidden = _convolved(hidden, each, each.filters, config.activation, f"encoder_{index}", seed)
            if each.pool > 1:
                # Padded, so that no border is lost and the decoder can make every place again.
                pooling = keras.layers.MaxPooling2D(each.pool, padding="same", name=f"encoder_{index}_pool")
                hidden = pooling(hidden)
        hidden = keras.layers.Flatten(name="flatten")(hidden)
    return _dense(hidden, config.bottleneck, "linear", BOTTLENECK, seed)


def decode(config: AutoencoderConfig, embedding: Any, input_shape: Sequence[int], seed: int) -> Any:
    """Lays the decoder on the embedding: the encoder's layers the other way round, up to a linear `output`.

    A pooling's mirror image is the repetition of each place, cropped where the pooling's last window was cut by the
    border, and a convolution after it: in int8 both are operators of TFLite Micro. Layers are named as the encoder's,
    `decoder_k_…` being the mirror image of `encoder_k_…`.

    Args:
        config: as for `encode`.
        embedding: symbolic tensor (rows, config.bottleneck).
        input_shape: of one input, which is what comes out, flattened.
        seed: seed of the initial weights.

    Returns:
        Symbolic tensor (rows, entries of an input), in the unit of the model's input.

    Reference:
        Odena et al. 2016, Deconvolution and checkerboard artifacts (why not a transposed convolution).
    """
    if config.kind == "convolutional":
        return _decode_maps(config, embedding, input_shape, seed)
    hidden = embedding
    for index in range(len(config.units), 0, -1):
        hidden = _dense(hidden, config.units[index - 1], config.activation, f"decoder_{index}", seed)
    return _dense(hidden, math.prod(input_shape), "linear", "output", seed)


def _decode_maps(config: AutoencoderConfig, embedding: Any, input_shape: Sequence[int], seed: int) -> Any:
    shapes = encoder_shapes(config, input_shape)
    sides = [tuple(input_shape[:2]), *(shape[:2] for shape in shapes)]
    widths = [input_shape[2], *(each.filters for each in config.blocks)]
    hidden = _dense(embedding, math.prod(shapes[-1]), config.activation, "decoder_input", seed)
    hidden = keras.layers.Reshape(shapes[-1], name="decoder_maps")(hidden)
    for index in range(len(config.blocks), 0, -1):
        each = config.blocks[index - 1]
        if each.pool > 1:
            hidden = _unpooled(hidden, each.pool, sides[index], sides[index - 1], f"decoder_{index}")
        if index > 1:
            hidden = _convolved(hidden, each, widths[index - 1], config.activation, f"decoder_{index}", seed)
    last = keras.layers.Conv2D(
        widths[0],
        config.blocks[0].kernel,
        padding="same",
        kernel_initializer=kernel_initializer("linear", derive_seed(seed, "decoder_1_conv")),
        name="decoder_1_conv",
    )
    return keras.layers.Flatten(name="output")(last(hidden))


def _convolved(maps: Any, block: AutoencoderBlockConfig, filters: int, activation: str, name: str, seed: int) -> Any:
    """A convolution, batch normalization where the block has it, and the activation."""
    convolution = keras.layers.Conv2D(
        filters,
        block.kernel,
        padding="same",
        use_bias=not block.batch_normalization,
        kernel_initializer=kernel_initializer(activation, derive_seed(seed, f"{name}_conv")),
        name=f"{name}_conv",
    )
    maps = convolution(maps)
    if block.batch_normalization:
        maps = keras.layers.BatchNormalization(momentum=NORMALIZATION_MOMENTUM, name=f"{name}_bn")(maps)
    return keras.layers.Activation(keras_activation(activation), name=f"{name}_activation")(maps)


def _unpooled(maps: Any, pool: int, sides: Sequence[int], wanted: Sequence[int], name: str) -> Any:
    """Repeats each place `pool` times both ways, and takes off what is beyond the sides that are wanted."""
    maps = keras.layers.UpSampling2D(pool, name=f"{name}_upsampling")(maps)
    beyond = [side * pool - want for side, want in zip(sides, wanted, strict=True)]
    if not any(beyond):
        return maps
    return keras.layers.Cropping2D(((0, beyond[0]), (0, beyond[1])), name=f"{name}_crop")(maps)


def _dense(inputs: Any, units: int, activation: str, name: str, seed: int) -> Any:
    return keras.layers.Dense(
        units,
        activation=keras_activation(activation),
        kernel_initializer=kernel_initializer(activation, derive_seed(seed, name)),
        name=name,
    )(inputs)

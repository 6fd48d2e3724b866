"""Shapes that a network would have, worked out without TensorFlow, so that a config can be refused early."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from data.contract import ConfigError
from models.autoencoder_config import AutoencoderConfig
from models.config import BlockConfig, CnnConfig, LinearConfig, MlpConfig, NetworkConfig
from models.own_model_config import BuilderModelConfig, FileModelConfig
from models.rnn_config import NUM_GATES, RnnConfig

SERIES_DIMENSIONS = 2
IMAGE_DIMENSIONS = 3

MAX_UNROLLED_STEPS = 128
"""Most steps of a recurrent layer that TFLite has no operator for; docs/runtimes.md has the measurements."""

MAX_WEIGHTS = 100_000_000
"""Weights of the largest network that is built: Adam keeps three numbers for each, a checkpoint as many again."""


def check_shapes(config: NetworkConfig, input_shape: Sequence[int]) -> None:
    """Checks that a network can be built on an input.

    Args:
        config: the section `model`.
        input_shape: (height, width, channels) of an image in pixels, (steps, channels) of a series, or (features,) of
            a vector; -1 is a number of channels or features not known yet.

    Raises:
        ConfigError: the family cannot eat such an input, or a block's kernel or pooling is larger
            than the feature map it meets; there are too many steps; an autoencoder's bottleneck is none; or the
            network is too large to be trained.
    """
    if isinstance(config, AutoencoderConfig):
        _check_bottleneck(config, math.prod(input_shape))
    count = num_weights(config, input_shape)
    if count > MAX_WEIGHTS:
        field = "units" if isinstance(config, MlpConfig | RnnConfig) or _is_dense(config) else "blocks"
        raise ConfigError(
            f"model.{field}: expected at most {MAX_WEIGHTS:,} weights below the output, got {count:,}. "
            "Use fewer units or filters, smaller kernels, or smaller inputs."
        )


def num_weights(config: NetworkConfig, input_shape: Sequence[int]) -> int:
    """Counts the kernels' weights below the output layer (of an autoencoder, all); biases, normalization and models of
    one's own are left out.

    Args:
        config: the section `model`.
        input_shape: as for `check_shapes`; what an unknown number of features or channels leads to is not counted.

    Raises:
        ConfigError: as `feature_map_shapes`.
    """
    if isinstance(config, LinearConfig | FileModelConfig | BuilderModelConfig):
        return 0
    if isinstance(config, MlpConfig):
        return _dense_weights(max(0, math.prod(input_shape)), config.units)
    if isinstance(config, AutoencoderConfig):
        return 2 * _encoder_weights(config, input_shape)
    if isinstance(config, RnnConfig):
        return _recurrent_weights(config, max(0, series_shape(config, input_shape)[1]))
    maps = feature_map_shapes(config, input_shape)
    channels, total = max(0, input_shape[-1]), 0
    for block in config.blocks:
        area = math.prod(kernel_sides(block.kernel, input_shape))
        total += channels * (area + block.filters if block.separable else area * block.filters)
        if block.residual and (block.stride > 1 or channels != block.filters):
            total += channels * block.filters
        channels = block.filters
    features = channels if config.head == "global_average" else math.prod(maps[-1])
    return total + _dense_weights(features, config.head_units)


def _is_dense(config: NetworkConfig) -> bool:
    return isinstance(config, AutoencoderConfig) and config.kind == "dense"


def _check_bottleneck(config: AutoencoderConfig, entries: int) -> None:
    """Refuses a bottleneck that lets everything through; vectors of unknown length (below 0) pass."""
    if 0 <= entries <= config.bottleneck:
        raise ConfigError(
            f"model.bottleneck: expected fewer than the {entries:,} numbers of an input, got {config.bottleneck:,}. "
            "What is as wide as the input copies it, and learns nothing."
        )


def _encoder_weights(config: AutoencoderConfig, input_shape: Sequence[int]) -> int:
    """Counts the weights of an autoencoder's encoder; its mirror image has as many."""
    if config.kind == "dense":
        return _dense_weights(max(0, math.prod(input_shape)), (*config.units, config.bottleneck))
    last = encoder_shapes(config, input_shape)[-1]
    channels, total = input_shape[2], 0
    for block in config.blocks:
        total += channels * block.kernel**2 * block.filters
        channels = block.filters
    return total + math.prod(last) * config.bottleneck


def encoder_shapes(config: AutoencoderConfig, input_shape: Sequence[int]) -> list[tuple[int, int, int]]:
    """Works out what each block of a convolutional encoder yields: sides become `ceil(side / pool)`.

    Args:
        config: the section `model`, of kind `convolutional`.
        input_shape: (height, width, channels) of an image in pixels.

    Returns:
        (height, width, filters) after each block.

    Raises:
        ConfigError: the input is no image, or a pooling is larger than the feature map it meets.
    """
    if len(input_shape) != IMAGE_DIMENSIONS:
        raise ConfigError(
            f"model.kind: expected dense for inputs that are no images, got convolutional with inputs of shape "
            f"{_shape(input_shape)}. Set model.kind to dense, or give the data as images."
        )
    shapes = []
    height, width = input_shape[0], input_shape[1]
    for index, block in enumerate(config.blocks):
        if min(height, width) < block.pool:
            raise ConfigError(
                f"model.blocks[{index}].pool: expected a feature map of at least {block.pool}x{block.pool}, got "
                f"{height}x{width}. Remove this pooling or an earlier one, or use larger images."
            )
        height, width = -(-height // block.pool), -(-width // block.pool)
        shapes.append((height, width, block.filters))
    return shapes


def _dense_weights(features: int, units: Sequence[int]) -> int:
    return sum(before * after for before, after in itertools.pairwise((features, *units)))


def series_shape(config: RnnConfig, input_shape: Sequence[int]) -> tuple[int, int]:
    """Works out what a recurrent network reads: a series step by step, an image row by row.

    Args:
        config: the section `model`.
        input_shape: (steps, channels) of a series, or (height, width, channels) of an image in pixels.

    Returns:
        (steps, numbers in a step); of an image (height, width * channels).

    Raises:
        ConfigError: the input is a vector, which has no steps, or has more of them than can be laid out one by one.
    """
    if len(input_shape) not in (SERIES_DIMENSIONS, IMAGE_DIMENSIONS):
        raise ConfigError(
            f"model.family: expected mlp for a vector, got rnn with inputs of shape {_shape(input_shape)}, which have "
            "no steps to read one after the other. Set model.family to mlp, or give the data as series or images."
        )
    steps = input_shape[0]
    if config.cell != "lstm" and steps > MAX_UNROLLED_STEPS:
        raise ConfigError(
            f"model.cell: expected lstm for more than {MAX_UNROLLED_STEPS} steps, got {config.cell} with {steps}: each "
            "step of it adds operators to the file. Set model.cell to lstm, or take shorter windows or smaller images."
        )
    return steps, math.prod(input_shape[1:])


def _recurrent_weights(config: RnnConfig, channels: int) -> int:
    directions, total = 2 if config.bidirectional else 1, 0
    for units in config.units:
        total += directions * (channels + units) * NUM_GATES[config.cell] * units
        channels = directions * units
    return total + _dense_weights(channels, config.head_units)


def feature_map_shapes(config: CnnConfig, input_shape: Sequence[int]) -> list[tuple[int, int, int]]:
    """Works out what each block of a convolutional network yields.

    Sides become `ceil(side / stride)` with padding `same`, `floor((side - kernel) / stride) + 1` with
    `valid`, and then `floor(side / pool)`.

    Args:
        config: the section `model`.
        input_shape: (height, width, channels) of an image in pixels, or (steps, channels) of a series, which is laid
            out as an image of that height and of width 1.

    Returns:
        (height, width, filters) after each block.

    Raises:
        ConfigError: as `check_shapes`.
    """
    if len(input_shape) not in (SERIES_DIMENSIONS, IMAGE_DIMENSIONS):
        raise ConfigError(
            f"model.family: expected mlp for a vector, got cnn with inputs of shape {_shape(input_shape)}. "
            "Set model.family to mlp, or give the data as images or series."
        )
    shapes = []
    series = len(input_shape) == SERIES_DIMENSIONS
    height, width = input_shape[0], 1 if series else input_shape[1]
    for index, block in enumerate(config.blocks):
        where = f"model.blocks[{index}]"
        origin = f"after block {index}" if index > 0 else "from the input"
        kernel, pool = kernel_sides(block.kernel, input_shape), kernel_sides(block.pool, input_shape)
        height, width = _convolved(block, kernel, (height, width), where, origin)
        if height < pool[0] or width < pool[1]:
            raise ConfigError(
                f"{where}.pool: expected a feature map of at least {pool[0]}x{pool[1]}, got {height}x{width} "
                f"from the convolution of block {index + 1}. Remove this pooling or an earlier one, lower a stride, "
                f"or use {'longer windows' if series else 'larger images'}."
            )
        height, width = height // pool[0], width // pool[1]
        shapes.append((height, width, block.filters))
    return shapes


def kernel_sides(side: int, input_shape: Sequence[int]) -> tuple[int, int]:
    """Returns height and width of a kernel or a pooling: square on an image, one step wide on a series.

    Args:
        side: as the config says it.
        input_shape: of the network, without the batch dimension.
    """
    return side, 1 if len(input_shape) == SERIES_DIMENSIONS else side


def _convolved(
    block: BlockConfig, kernel: tuple[int, int], sides: tuple[int, int], where: str, origin: str
) -> tuple[int, int]:
    if block.residual and block.padding == "valid" and block.kernel > 1:
        raise ConfigError(
            f"{where}.residual: expected it with padding same alone, got it with valid: the convolution's maps are "
            "smaller than what they are added to. Set its padding to same, or take residual out."
        )
    if block.padding == "same":
        height, width = (-(-side // block.stride) for side in sides)
        return height, width
    if sides[0] < kernel[0] or sides[1] < kernel[1]:
        raise ConfigError(
            f"{where}.kernel: expected a feature map of at least {kernel[0]}x{kernel[1]} for padding valid, "
            f"got {sides[0]}x{sides[1]} {origin}. Set its padding to same, use a smaller kernel, "
            "or remove an earlier pooling."
        )
    height, width = ((side - each) // block.stride + 1 for side, each in zip(sides, kernel, strict=True))
    return height, width


def _shape(shape: Sequence[int]) -> str:
    return "(" + ", ".join("?" if side < 0 else str(side) for side in shape) + ("," if len(shape) == 1 else "") + ")"

"""The section `model` of an autoencoder."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from data.contract import FrozenConfig
from models.field_types import Activation, Units


class AutoencoderBlockConfig(FrozenConfig):
    """One block of a convolutional encoder: convolution, batch normalization, activation, pooling. The decoder has its
    mirror image: upsampling to the side before the pooling, then the same without it.
    """

    filters: Annotated[int, Field(ge=1, le=1024)]
    """Filters of the convolution."""

    kernel: Annotated[int, Field(ge=1, le=11)] = 3
    """Side of the square kernel in pixels; the border is padded."""

    pool: Annotated[int, Field(ge=1, le=8)] = 2
    """Side of the max pooling in pixels, a part of a window at the border counting as one; 1: none."""

    batch_normalization: bool = True
    """Normalize before the activation; folded into the convolution on conversion."""


class AutoencoderConfig(FrozenConfig):
    """An autoencoder: an encoder down to a few numbers, and a decoder of the mirrored shape that gives the input back;
    its last layer is linear, its weights are its own. Task clustering exports the encoder with the clusters on top.
    """

    family: Literal["autoencoder"]
    """Kind of network."""

    kind: Literal["dense", "convolutional"] = "dense"
    """`dense`: `units` on the flattened input; `convolutional`: `blocks`, on images."""

    units: tuple[Units, ...] = Field(default=(64, 32), max_length=16)
    """`dense`: neurons of the encoder's hidden layers, from the input on; none: principal components by gradient
    descent."""

    blocks: tuple[AutoencoderBlockConfig, ...] = Field(
        default=(AutoencoderBlockConfig(filters=16), AutoencoderBlockConfig(filters=8)), min_length=1, max_length=16
    )
    """`convolutional`: the encoder's blocks, from the input on."""

    bottleneck: Units = 16
    """Numbers in the middle that the input must go through, from a linear dense layer; fewer than the input has."""

    activation: Activation = "relu"
    """Activation of the hidden layers; `leaky_relu` has slope 0.2 below zero."""

"""The parts of a network that layer-wise pretraining takes one after the other."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from data.contract import ConfigError
from models.architectures.dropout import StatelessDropout
from models.legacy_keras import keras

_BLOCK = re.compile(r"(block_\d+)_")
_PASSED_OVER = (
    keras.layers.InputLayer,
    keras.layers.Reshape,
    keras.layers.Flatten,
    keras.layers.GlobalAveragePooling2D,
    StatelessDropout,
)


@dataclass(frozen=True)
class Part:
    """What learns at a time: a block of convolutions with its normalization, activation and pooling, or a dense layer.

    Attributes:
        name: `block_1`, …, or the dense layer's own.
        layers: names of its layers, from the input on.
        inputs: symbolic tensor it takes, of the network it is part of.
        outputs: symbolic tensor it answers.
    """

    name: str
    layers: tuple[str, ...]
    inputs: Any
    outputs: Any

    def network(self) -> Any:
        """Returns the part as a model of its own, of the same layers and weights."""
        return keras.Model(self.inputs, self.outputs, name=self.name)


def parts_of(model: Any) -> list[Part]:
    """Divides a network: its blocks, then the dense layers below its output.

    Reshaping, flattening, global pooling and dropout belong to no part; what follows them takes their answer.

    Args:
        model: an `mlp` or a `cnn`.

    Returns:
        The parts, from the input on; none for a network without hidden layers.

    Raises:
        ConfigError: a layer belongs to no family that can be divided.
    """
    blocks: dict[str, list[Any]] = {}
    dense = []
    for layer in model.layers:
        block = _BLOCK.match(layer.name)
        if block is not None:
            blocks.setdefault(block.group(1), []).append(layer)
        elif type(layer) is keras.layers.Dense:
            dense.append(layer)
        elif type(layer) not in _PASSED_OVER:
            raise ConfigError(
                f"train.mode: expected end_to_end for a model with a layer of type {type(layer).__name__} "
                f"({layer.name}), got layer_wise. Layer-wise pretraining is built for mlp and cnn."
            )
    members = [*blocks.items(), *((layer.name, [layer]) for layer in dense[:-1])]
    return [_part(name, layers) for name, layers in members]


def _part(name: str, layers: list[Any]) -> Part:
    # A functional model lists its layers by their distance from the output: a block's first layer takes the block's
    # input, and its last one gives the block's answer.
    return Part(name, tuple(layer.name for layer in layers), layers[0].input, layers[-1].output)


def below(model: Any, part: Part) -> Any:
    """Returns the network from the model's input to a part's input, of the same layers and weights."""
    return keras.Model(model.input, part.inputs, name="below")

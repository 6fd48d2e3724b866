"""Takes from a network the inputs that never change: what they add becomes part of a bias."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.contract import ConfigError
from models.legacy_keras import keras

_PASSED = ("Flatten", "Dropout", "GaussianNoise", "GaussianDropout", "Activation")
"""Layers between the inputs and the dense layers that read them: each entry by itself, and at inference unchanged."""


@dataclass(frozen=True)
class ConstantInputs:
    """Inputs that are the same number in every row.

    Attributes:
        constant: (inputs,) bool, over the flattened input.
        values: (inputs,) float32, the first row's.
    """

    constant: NDArray[np.bool_]
    values: NDArray[np.float32]


def constant_inputs(parts: Iterable[NDArray[np.float32]]) -> ConstantInputs:
    """Finds the inputs that are the same number in every row.

    Args:
        parts: rows, (rows, *input_shape) each, one part or more.
    """
    values: NDArray[np.float32] | None = None
    constant: NDArray[np.bool_] | None = None
    for part in parts:
        flat = part.reshape(len(part), -1)
        values = flat[0].copy() if values is None else values
        same = (flat == values).all(axis=0)
        constant = same if constant is None else constant & same
    if values is None or constant is None:
        raise ValueError("parts: expected at least one, got none. Pass the training rows.")
    return ConstantInputs(constant, values)


def remove_constant_inputs(model: Any, found: ConstantInputs) -> tuple[Any, tuple[int, ...] | None]:
    """Builds the model that takes the other inputs alone, as a vector.

    With x_c constant, `W x + b = W_v x_v + (b + W_c x_c)`: the smaller model answers as before, up to the order of
    sums, wherever these inputs are what they were in all rows. A dense layer without bias cannot take up a constant
    that is not 0, which then stays.

    Args:
        model: a built functional Keras model of one input.
        found: its constant inputs.

    Returns:
        A new, uncompiled model whose layers keep their names, and the positions of the inputs it takes in the
        flattened input, rising; the model itself and None where nothing can go.

    Raises:
        ConfigError: another layer than a dense one reads the inputs, or none of them varies.
    """
    readers = _readers(model)
    removed = found.constant.copy()
    if not all(reader.use_bias for reader in readers):
        removed &= found.values == 0.0
    if removed.all():
        raise ConfigError(
            "prune.inputs: expected an input that varies in the training rows, got none. Look at the data: "
            "there is nothing to learn from."
        )
    if not removed.any():
        return model, None
    kept = np.flatnonzero(~removed)
    inputs = keras.Input((len(kept),), name=model.inputs[0].node.layer.name)
    twin = keras.models.clone_model(model, input_tensors=[inputs])
    names = {reader.name for reader in readers}
    for layer in model.layers:
        weights = layer.get_weights()
        if layer.name in names:
            weights = _without(weights, removed, found.values)
        if weights:
            twin.get_layer(layer.name).set_weights(weights)
    return twin, tuple(int(position) for position in kept)


def _readers(model: Any) -> list[Any]:
    """The dense layers that read the flattened input."""
    found: dict[str, Any] = {}
    waiting = [node.layer for node in model.inputs[0].node.layer.outbound_nodes]
    while waiting:
        layer = waiting.pop()
        kind = type(layer).__name__
        if isinstance(layer, keras.layers.Dense) and len(layer.input_shape) == 2:
            found[layer.name] = layer
        elif kind not in _PASSED or (kind == "Activation" and layer.activation is not keras.activations.linear):
            raise ConfigError(
                f"prune.inputs: expected 'all' where another layer than a dense one reads the inputs, got 'varying' "
                f"with {layer.name} ({kind}). Take it out, or choose the family mlp."
            )
        else:
            waiting += [node.layer for node in layer.outbound_nodes]
    return list(found.values())


def _without(
    weights: list[NDArray[np.float32]], removed: NDArray[np.bool_], values: NDArray[np.float32]
) -> list[NDArray[np.float32]]:
    kernel, *bias = weights
    added = values[removed].astype(np.float64) @ kernel[removed].astype(np.float64)
    return [kernel[~removed], *((array + added).astype(np.float32) for array in bias)]

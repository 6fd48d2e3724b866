"""Lays a network out anew: flat, on an input of its own, every layer once and under a name that files can carry."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.contract import derive_seed
from models.architectures.dropout import StatelessDropout
from models.legacy_keras import keras, tf

Weights = list[NDArray[Any]]

INPUT = "input"
"""Name of the input layer."""

_RESERVED = frozenset({INPUT, "file"})
"""Names that no other layer gets: NumPy's `savez`, which keeps masks by layer, takes `file` for its own."""


@dataclass(frozen=True)
class LastLayer:
    """How the last layer is to differ from the one it is copied from.

    Attributes:
        config: fields of its config that change.
        weights: its weights from those of the original.
    """

    config: dict[str, Any]
    weights: Callable[[Weights], Weights]


@dataclass
class _Layout:
    """Copies of layers, laid on new tensors.

    Attributes:
        last: the layer that `change` is for.
        change: how it is to differ.
        seed: of dropout.
        copies: id of an original -> (original, copy).
        names: original name -> new one, where they differ.
    """

    last: Any
    change: LastLayer | None
    seed: int
    copies: dict[int, tuple[Any, Any]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)

    def lay(self, model: Any, tensor: Any, prefix: str, training: dict[str, Any]) -> Any:
        """Lays the layers of a model on a tensor, those of models inside of it in their places."""
        known = {str(id(model.inputs[0])): [tensor] * model._tensor_usage_count[str(id(model.inputs[0]))]}
        for depth in sorted(model._nodes_by_depth, reverse=True):
            for node in model._nodes_by_depth[depth]:
                if node.is_input:
                    continue
                arguments, keywords = node.map_arguments(known)
                answer = self._call(node.layer, arguments, keywords, prefix, training)
                for name, output in zip(node.flat_output_ids, tf.nest.flatten(answer), strict=True):
                    known[name] = [output] * model._tensor_usage_count[name]
        return known[str(id(model.outputs[0]))].pop()

    def _call(self, layer: Any, arguments: Any, keywords: dict[str, Any], prefix: str, training: dict[str, Any]) -> Any:
        told = {name: value for name, value in keywords.items() if name == "training" and value is not None} or training
        if isinstance(layer, keras.Model):
            return self.lay(layer, arguments[0], f"{prefix}{layer.name}_", told)
        if isinstance(layer, keras.layers.Dropout) and (layer.rate == 0.0 or told.get("training") is False):
            return arguments[0]
        if id(layer) not in self.copies:
            self.copies[id(layer)] = (layer, self._copy(layer, prefix))
        copy = self.copies[id(layer)][1]
        if told and isinstance(copy, keras.layers.BatchNormalization):
            keywords = keywords | told
        else:
            keywords = {name: value for name, value in keywords.items() if name != "training"}
        return copy(*arguments, **keywords)

    def _copy(self, layer: Any, prefix: str) -> Any:
        name = self._name(f"{prefix}{layer.name}", layer.name)
        if isinstance(layer, keras.layers.Dropout):
            return StatelessDropout(layer.rate, derive_seed(self.seed, name), name=name)
        config = layer.get_config() | {"name": name}
        if layer is self.last and self.change is not None:
            config |= self.change.config
        return type(layer).from_config(config)

    def _name(self, wished: str, original: str) -> str:
        stem = re.sub(r"[^A-Za-z0-9_.\-]", "_", wished)
        name, number = stem, 1
        while name in self.taken | _RESERVED:
            name, number = f"{stem}_{number}", number + 1
        self.taken.add(name)
        if name != original:
            self.names[original] = name
        return name

    def fill(self) -> None:
        """Gives each copy the weights of its original."""
        for layer, copy in self.copies.values():
            weights = layer.get_weights()
            if layer is self.last and self.change is not None:
                weights = self.change.weights(weights)
            if weights and not isinstance(copy, StatelessDropout):
                copy.set_weights(weights)


def last_layer(model: Any) -> Any:
    """Returns the layer that makes a model's output, looked for inside of nested models too."""
    layer = model.outputs[0]._keras_history.layer
    return last_layer(layer) if isinstance(layer, keras.Model) else layer


def rebuild(
    model: Any, input_shape: tuple[int, ...], seed: int, change: LastLayer | None = None, *, softmax: bool = False
) -> tuple[Any, dict[str, str]]:
    """Copies a network: flat, on an input named `input`, without Keras's own dropout; what is frozen stays so.

    A model inside of the model gives its layers, under its name and theirs. Dropout becomes a function of (seed, step),
    as exact resume needs it; it answers as before, since at inference it passes all.

    Args:
        model: a functional or built sequential Keras model of one input and one output.
        input_shape: shape of one row.
        seed: of dropout.
        change: how the last layer is to differ.
        softmax: put a softmax on the output, as a layer `probabilities`.

    Returns:
        A new, uncompiled keras.Model, and original name -> new name of the layers that had to be renamed.

    Raises:
        ValueError, TypeError: Keras cannot lay the layers on such an input.
    """
    layout = _Layout(last_layer(model), change, seed)
    inputs = keras.Input(shape=input_shape, name=INPUT)
    outputs = layout.lay(model, inputs, "", {})
    if softmax:
        outputs = keras.layers.Activation("softmax", name="probabilities")(outputs)
    flat = keras.Model(inputs, outputs, name="own")
    layout.fill()
    return flat, layout.names


def all_layers(model: Any) -> list[Any]:
    """Lists the layers of a model, those of models inside of it in their places."""
    return [
        each for layer in model.layers for each in (all_layers(layer) if isinstance(layer, keras.Model) else [layer])
    ]


def has_finite_weights(model: Any) -> bool:
    """Returns whether every number that a model holds is finite."""
    return all(np.isfinite(array).all() for array in model.get_weights())

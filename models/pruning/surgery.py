"""Removes nodes from a network: a smaller, ordinary Keras model, weights and all."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.contract import ConfigError
from models.legacy_keras import keras
from models.pruning.graph import NodeGraph, Nodes
from models.recurrent import gate_columns, is_recurrent


def remove_nodes(model: Any, graph: NodeGraph, removed: Nodes) -> Any:
    """Builds the model without some of its nodes.

    Every other weight keeps its value: where all weights that read the removed nodes are zero, the model answers as
    before, up to the order of sums.

    Args:
        model: a built functional or sequential Keras model.
        graph: of this model.
        removed: numbers of nodes, each of a group of the graph.

    Returns:
        A new, uncompiled model; layers keep their names.

    Raises:
        ConfigError: a layer would be empty.
        ValueError: a node is not removable.
    """
    removable = np.concatenate([group.nodes for group in graph.groups]) if graph.groups else np.zeros(0, np.int64)
    foreign = np.setdiff1d(removed, removable)
    if foreign.size:
        raise ValueError(f"removed: expected removable nodes, got {foreign[:5].tolist()}. Take them from the groups.")
    for group in graph.groups:
        if np.isin(group.nodes, removed).all():
            raise ConfigError(
                f"prune: expected at least one node to stay in {group.name}, got all {len(group.nodes)} removed. "
                "Lower prune.sparsity."
            )
    keep = {
        name: (~np.isin(nodes.inputs, removed), ~np.isin(nodes.outputs, removed))
        for name, nodes in graph.layers.items()
    }

    def smaller(layer: Any) -> Any:
        config = layer.get_config()
        if layer.name in keep:
            size = int(np.count_nonzero(keep[layer.name][1]))
            config |= {key: size for key in ("units", "filters") if key in config and config[key] is not None}
        elif layer.name in graph.reshapes:
            nodes = graph.reshapes[layer.name]
            channels = int(np.count_nonzero(~np.isin(nodes.reshape(-1, nodes.shape[-1])[0], removed)))
            config["target_shape"] = (*nodes.shape[:-1], channels)
        return type(layer).from_config(config)

    twin = keras.models.clone_model(model, clone_function=smaller)
    for layer, new in zip(model.layers, twin.layers, strict=True):
        if layer.weights:
            weights = layer.get_weights()
            new.set_weights(_sliced(layer, weights, *keep[layer.name]) if layer.name in keep else weights)
    return twin


def _sliced(
    layer: Any, weights: list[NDArray[Any]], inputs: NDArray[np.bool_], outputs: NDArray[np.bool_]
) -> list[NDArray[Any]]:
    """Cuts a layer's weights, in the order of `layer.get_weights()`."""
    if isinstance(layer, keras.layers.BatchNormalization):
        return [array[outputs] for array in weights]
    if isinstance(layer, keras.layers.SeparableConv2D):
        depthwise, pointwise, *bias = weights
        between = np.repeat(inputs, layer.depth_multiplier)
        return [depthwise[:, :, inputs], pointwise[:, :, between][..., outputs], *(array[outputs] for array in bias)]
    if is_recurrent(layer):
        kernel, recurrent, *bias = weights
        columns = gate_columns(layer, outputs)
        return [kernel[inputs][:, columns], recurrent[outputs][:, columns], *(array[..., columns] for array in bias)]
    kernel, *bias = weights
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return [kernel[:, :, inputs], *(array[outputs] for array in bias)]
    return [kernel[..., inputs, :][..., outputs], *(array[outputs] for array in bias)]

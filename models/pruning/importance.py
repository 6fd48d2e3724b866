"""How much a network would miss each of its nodes: the criteria that pruning ranks them by."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.contract import Batches, ConfigError
from models.compression_config import NodeCriterion
from models.legacy_keras import keras, tf
from models.pruning.graph import NodeGraph
from models.recurrent import by_unit, is_recurrent
from models.training import Objective

Scores = dict[int, float]
"""Node -> importance, 0 or more."""


def node_importance(
    model: Any, graph: NodeGraph, criterion: NodeCriterion, batches: Batches, objective: Objective, num_rows: int
) -> Scores:
    """Scores every removable node; the higher, the more it is worth.

    With the weights w of a node (what it reads, over all layers that make it):

    - `l1`, `l2`: sum |w|; sqrt(sum w²) (Li et al. 2017, Pruning Filters for Efficient ConvNets, section 3.1); of a
      recurrent unit over all its gates, what it reads of the state included.
    - `taylor`: mean over batches of (dL/dz)², z a gate of 1 on the node (Molchanov et al. 2019, Importance Estimation
      for Neural Network Pruning, eq. 8): sum of weight times gradient, where batch normalization follows of its scale
      and shift, else of kernel and bias. The gate of a recurrent unit is on its answer: sum of answer times gradient,
      and of weight times gradient over what reads the unit in the layer itself, at every step.
    - `batch_normalization_scale`: sum |scale| (Liu et al. 2017, Network Slimming, section 3).
    - `mean_activation`: mean |a| over rows and places where the node is read (Molchanov et al. 2017, section 2.2).

    Args:
        model: a built Keras model.
        graph: of this model.
        criterion: which of them.
        batches: training rows, for `taylor` and `mean_activation`; the first of epoch 0 are used.
        objective: whose loss `taylor` looks at.
        num_rows: rows to look at, at least; whole batches.

    Returns:
        A score for each node of each group.

    Raises:
        ConfigError: `batch_normalization_scale`, and a group of nodes has none.
    """
    if criterion in ("l1", "l2"):
        scores = _norms(model, graph, 1 if criterion == "l1" else 2)
    elif criterion == "taylor":
        scores = _taylor(model, graph, _some(batches, num_rows), objective)
    elif criterion == "batch_normalization_scale":
        scores = _scales(model, graph)
    else:
        scores = _activations(model, graph, _some(batches, num_rows))
    return {int(node): float(scores[node]) for group in graph.groups for node in group.nodes}


def comparable(graph: NodeGraph, scores: Scores) -> Scores:
    """Makes the scores of different layers comparable: each divided by the Euclidean norm of its group's.

    Reference:
        Molchanov et al. 2017, Pruning Convolutional Neural Networks for Resource Efficient Inference, eq. (10).
    """
    result: Scores = {}
    for group in graph.groups:
        values = np.array([scores[int(node)] for node in group.nodes])
        norm = float(np.sqrt(np.sum(values**2)))
        shares = values / norm if norm > 0.0 else values
        result.update(zip(group.nodes.tolist(), shares.tolist(), strict=True))
    return result


def _some(batches: Batches, num_rows: int) -> Iterator[tuple[NDArray[np.float32], NDArray[Any]]]:
    for index in range(min(batches.num_batches, -(-num_rows // batches.batch_size))):
        yield batches.batch(0, index)


def _makers(graph: NodeGraph) -> list[str]:
    """Layers that make removable nodes."""
    return list(dict.fromkeys(name for group in graph.groups for name in group.layers))


def _made(layer: Any) -> Any:
    """The kernel whose last axis are a layer's nodes."""
    return layer.pointwise_kernel if isinstance(layer, keras.layers.SeparableConv2D) else layer.kernel


def _weights_of_nodes(layer: Any) -> NDArray[np.float64]:
    """(numbers, nodes): what each node of a layer reads with."""
    if is_recurrent(layer):
        kernels = (layer.cell.kernel.numpy(), layer.cell.recurrent_kernel.numpy())
        return np.concatenate([by_unit(layer, kernel) for kernel in kernels]).astype(np.float64)
    kernel = _made(layer).numpy().astype(np.float64)
    return np.asarray(kernel.reshape(-1, kernel.shape[-1]))


def _by_node(graph: NodeGraph, nodes: NDArray[np.int64], values: NDArray[Any]) -> NDArray[np.float64]:
    """Sums (channels,) values into an array over node numbers."""
    size = 1 + max(int(max(each.inputs.max(), each.outputs.max())) for each in graph.layers.values())
    return np.bincount(nodes, np.asarray(values, np.float64), minlength=size).astype(np.float64)


def _norms(model: Any, graph: NodeGraph, order: int) -> NDArray[np.float64]:
    total: Any = 0.0
    for name in _makers(graph):
        powers = np.sum(np.abs(_weights_of_nodes(model.get_layer(name))) ** order, axis=0)
        total = total + _by_node(graph, graph.layers[name].outputs, powers)
    return np.asarray(total ** (1.0 / order))


def _scales(model: Any, graph: NodeGraph) -> NDArray[np.float64]:
    total: Any = 0.0
    found: set[int] = set()
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization) and layer.scale and layer.name in graph.layers:
            nodes = graph.layers[layer.name].outputs
            total = total + _by_node(graph, nodes, np.abs(layer.gamma.numpy()))
            found.update(nodes.tolist())
    bare = [group.name for group in graph.groups if not found.issuperset(group.nodes.tolist())]
    if bare:
        raise ConfigError(
            "prune.criterion: expected another than batch_normalization_scale where no batch normalization follows, "
            f"got it with {', '.join(bare)}. Choose taylor, l1 or l2."
        )
    return np.asarray(total)


def _taylor(
    model: Any, graph: NodeGraph, batches: Iterator[tuple[Any, Any]], objective: Objective
) -> NDArray[np.float64]:
    makers = [model.get_layer(name) for name in _makers(graph)]
    recurrent = [layer for layer in makers if is_recurrent(layer)]
    others = [layer for layer in makers if not is_recurrent(layer)]
    probe = keras.Model(model.inputs, [*model.outputs, *(layer.output for layer in recurrent)])
    variables = [variable for layer in others for variable in _gate_of(layer)]
    states = [layer.cell.recurrent_kernel for layer in recurrent]

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]  # tf is untyped
    def slopes(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            found = probe(x, training=False)
            outputs, answers = (found[0], found[1:]) if recurrent else (found, [])
            loss = objective.loss(y, outputs, None)
        scaled = [*variables, *answers, *states]
        gradients = tape.gradient(loss, scaled, unconnected_gradients="zero")
        products = [value * gradient for value, gradient in zip(scaled, gradients, strict=True)]
        read = len(variables) + len(answers)
        by_channel = [tf.reduce_sum(tf.reshape(each, (-1, each.shape[-1])), axis=0) for each in products[:read]]
        return by_channel + [tf.reduce_sum(each, axis=1) for each in products[read:]]

    names = [layer.name for layer in others for _ in _gate_of(layer)] + 2 * [layer.name for layer in recurrent]
    total: Any = 0.0
    count = 0
    for x, y in batches:
        gate: Any = 0.0
        for name, slope in zip(names, slopes(tf.constant(x), tf.constant(y)), strict=True):
            gate = gate + _by_node(graph, graph.layers[name].outputs, slope.numpy())
        total, count = total + gate**2, count + 1
    return np.asarray(total / count)


def _gate_of(layer: Any) -> list[Any]:
    """The variables that scale a node's output as a whole: of the batch normalization right behind, or its own."""
    if len(layer.outbound_nodes) == 1:
        after = layer.outbound_nodes[0].layer
        if isinstance(after, keras.layers.BatchNormalization) and after.scale:
            return [after.gamma, *([after.beta] if after.center else [])]
    return [_made(layer), *([layer.bias] if layer.use_bias else [])]


def _activations(model: Any, graph: NodeGraph, batches: Iterator[tuple[Any, Any]]) -> NDArray[np.float64]:
    readers: Mapping[str, Any] = {
        name: model.get_layer(name).input
        for name in graph.layers
        if not isinstance(model.get_layer(name), keras.layers.BatchNormalization)
    }
    probe: Callable[[Any], Any] = tf.function(keras.Model(model.inputs, list(readers.values())), reduce_retracing=True)
    total: Any = 0.0
    places: Any = 0.0
    for x, _ in batches:
        answers = probe(tf.constant(x))
        for name, answer in zip(readers, answers if isinstance(answers, list) else [answers], strict=True):
            flat = np.abs(answer.numpy().reshape(-1, answer.shape[-1]).astype(np.float64))
            nodes = graph.layers[name].inputs
            total = total + _by_node(graph, nodes, flat.sum(axis=0))
            places = places + _by_node(graph, nodes, np.full(len(nodes), len(flat)))
    return np.asarray(np.divide(total, places, out=np.zeros_like(total), where=places > 0))

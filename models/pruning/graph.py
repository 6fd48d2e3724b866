"""Which nodes of a network hang together: a dependency graph over the layers of a Keras model.

Every element of every tensor between two layers carries the number of the node it belongs to, worked out layer
by layer with NumPy: reshaping a tensor reshapes its numbers, adding two tensors makes their nodes one. A node is
what can be removed at once, whatever it passes on its way: an output of a dense layer, a filter of a
convolution, or several of them whose outputs are added.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.activations import ELEMENTWISE, activation_name
from models.architectures.dropout import StatelessDropout
from models.architectures.turning import TimeReversed
from models.legacy_keras import keras

Nodes = NDArray[np.int64]
"""Numbers of nodes: (shape of a tensor without its batch axis), or (channels,)."""

_layers = keras.layers


@dataclass(frozen=True)
class LayerNodes:
    """What nodes a layer reads and makes.

    Attributes:
        inputs: (input channels,) node of each, along the kernel's input axis.
        outputs: (output channels,) node of each.
    """

    inputs: Nodes
    outputs: Nodes


@dataclass(frozen=True)
class NodeGroup:
    """Nodes that the same layers make; they are ranked against each other, and some must always stay.

    Attributes:
        name: names of the layers, joined by ` + `.
        layers: the layers, in the order they run; more than one where their outputs are added.
        nodes: (nodes,) their numbers, ascending.
    """

    name: str
    layers: tuple[str, ...]
    nodes: Nodes


@dataclass(frozen=True)
class NodeGraph:
    """The removable nodes of a model.

    Attributes:
        groups: removable nodes by the layers that make them, in the order of the layers.
        layers: nodes that each layer with weights reads and makes, by layer name; of layers left whole, none.
        reshapes: layer name -> (shape without batch) nodes of the output of a Reshape layer.
        left_out: why the other layers stay whole, by layer name.
    """

    groups: tuple[NodeGroup, ...]
    layers: Mapping[str, LayerNodes]
    reshapes: Mapping[str, Nodes]
    left_out: Mapping[str, str]


def node_graph(model: Any) -> NodeGraph:
    """Finds the removable nodes of a model.

    Nodes that reach the model's output stay, those of its input too, and all that a layer reads or makes which this
    graph does not know: that layer is named in `left_out`.

    Args:
        model: a built functional or sequential Keras model, channels last.
    """
    walk = _Walk()
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for call in model._nodes_by_depth[depth]:
            walk.visit(call)
    for output in model.outputs:
        walk.keep(walk.tensors[_key(output)])
    return walk.graph()


def _key(tensor: Any) -> tuple[int, int, int]:
    layer, call, position = tensor._keras_history
    return id(layer), call, position


@dataclass
class _Walk:
    """The state of the walk through a model's layers.

    Attributes:
        parents: union-find forest over node numbers.
        kept: nodes that must stay.
        tensors: output of each call -> its nodes.
        layers: see `NodeGraph`; numbers are not yet those of the forest's roots.
        made_by: node -> layer that made it.
        order: names of layers with nodes of their own, as they run.
    """

    parents: list[int] = field(default_factory=list)
    kept: list[Nodes] = field(default_factory=list)
    tensors: dict[tuple[int, int, int], Nodes] = field(default_factory=dict)
    layers: dict[str, LayerNodes] = field(default_factory=dict)
    reshapes: dict[str, Nodes] = field(default_factory=dict)
    made_by: dict[int, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    # -------------------------------------------------------------------------------- nodes

    def new(self, count: int, layer: str | None = None) -> Nodes:
        """Makes nodes; those without a layer are not removable."""
        numbers = np.arange(len(self.parents), len(self.parents) + count)
        self.parents.extend(numbers.tolist())
        if layer is None:
            self.keep(numbers)
        else:
            self.made_by.update(dict.fromkeys(numbers.tolist(), layer))
        return numbers

    def keep(self, nodes: Nodes) -> None:
        self.kept.append(np.unique(nodes))

    def root(self, node: int) -> int:
        while self.parents[node] != node:
            self.parents[node] = self.parents[self.parents[node]]
            node = self.parents[node]
        return node

    def join(self, first: Nodes, second: Nodes) -> None:
        """Makes the nodes at the same places one."""
        pairs = np.unique(np.stack([first.ravel(), second.ravel()], axis=1), axis=0)
        for one, other in pairs.tolist():
            low, high = sorted((self.root(one), self.root(other)))
            self.parents[high] = low

    # ------------------------------------------------------------------------------- layers

    def visit(self, call: Any) -> None:
        """Works out the nodes of what one call of a layer returns."""
        layer = call.layer
        tensors = [self.tensors[_key(tensor)] for tensor in call.keras_inputs]
        shapes = [_plain(tensor.shape) for tensor in _listed(call.outputs)]
        if call.is_input:
            nodes = [np.broadcast_to(self.new(shape[-1]), shape) for shape in shapes]
        else:
            nodes = [self._answer(layer, tensors, shapes)] if len(shapes) == 1 else self._whole(layer, tensors, shapes)
        for tensor, numbers in zip(_listed(call.outputs), nodes, strict=True):
            self.tensors[_key(tensor)] = numbers

    def _answer(self, layer: Any, tensors: list[Nodes], shapes: list[tuple[int, ...]]) -> Nodes:
        handler = _HANDLERS.get(type(layer))
        reason = f"layers of type {type(layer).__name__} are not known to the graph" if handler is None else None
        if len(layer.inbound_nodes) > 1:
            reason = "it is called more than once"
        elif getattr(layer, "data_format", "channels_last") != "channels_last":
            reason = "its channels do not come last"
        if reason is None and handler is not None:
            try:
                return handler(self, layer, tensors, shapes[0])
            except _NotUniformError as error:
                reason = str(error)
        return self._whole(layer, tensors, shapes, reason)[0]

    def _whole(
        self, layer: Any, tensors: list[Nodes], shapes: list[tuple[int, ...]], reason: str | None = None
    ) -> list[Nodes]:
        """Leaves a layer as it is: nothing that it reads or makes is removable."""
        self.left_out[layer.name] = f"it has {len(shapes)} outputs" if reason is None else reason
        for tensor in tensors:
            self.keep(tensor)
        return [np.broadcast_to(self.new(1), shape) for shape in shapes]

    # ------------------------------------------------------------------------------- result

    def graph(self) -> NodeGraph:
        roots = np.array([self.root(node) for node in range(len(self.parents))], np.int64)
        kept = np.zeros(len(roots), bool)
        for nodes in self.kept:
            kept[roots[nodes]] = True
        makers: dict[int, list[str]] = {}
        for node, layer in self.made_by.items():
            if not kept[roots[node]] and layer not in makers.setdefault(int(roots[node]), []):
                makers[int(roots[node])].append(layer)
        members: dict[tuple[str, ...], list[int]] = {}
        for node, names in makers.items():
            members.setdefault(tuple(names), []).append(node)
        groups = tuple(NodeGroup(" + ".join(names), names, np.array(sorted(nodes))) for names, nodes in members.items())
        layers = {name: LayerNodes(roots[each.inputs], roots[each.outputs]) for name, each in self.layers.items()}
        reshapes = {name: roots[nodes] for name, nodes in self.reshapes.items()}
        return NodeGraph(groups, layers, reshapes, self.left_out)


class _NotUniformError(Exception):
    """A layer wants to read channels, and the positions of a channel belong to several nodes."""


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _plain(shape: Any) -> tuple[int, ...]:
    """A tensor's shape without its batch axis; a length that is not known counts 1: all places are alike."""
    return tuple(1 if size is None else int(size) for size in tuple(shape)[1:])


def _channels(nodes: Nodes) -> Nodes:
    """Returns (channels,) nodes of a tensor whose positions are all alike.

    Raises:
        _NotUniformError: they are not.
    """
    flat = nodes.reshape(-1, nodes.shape[-1])
    if (flat != flat[0]).any():
        raise _NotUniformError("it reads channels whose positions were made by different nodes")
    first: Nodes = flat[0]
    return first


def _activated(walk: _Walk, layer: Any, nodes: Nodes) -> Nodes:
    activation = getattr(layer, "activation", None)
    if activation is not None and activation_name(activation) not in ELEMENTWISE:
        walk.keep(nodes)
    return nodes


def _kernel(walk: _Walk, layer: Any, tensors: list[Nodes], shape: tuple[int, ...]) -> Nodes:
    """Dense, Conv1D, Conv2D, SeparableConv2D: reads every input channel, makes nodes of its own."""
    if getattr(layer, "groups", 1) != 1:
        raise _NotUniformError("its convolution is grouped")
    read = _channels(tensors[0])
    made = _activated(walk, layer, walk.new(shape[-1], layer.name))
    walk.layers[layer.name] = LayerNodes(read, made)
    return np.broadcast_to(made, shape)


def _recurrent(walk: _Walk, layer: Any, tensors: list[Nodes], shape: tuple[int, ...]) -> Nodes:
    """LSTM, GRU, SimpleRNN: reads every channel of a step, makes nodes of its own, which read each other."""
    if len(tensors) > 1 or layer.stateful:
        raise _NotUniformError("its state comes from elsewhere")
    read = _channels(tensors[0])
    made = walk.new(shape[-1], layer.name)
    walk.layers[layer.name] = LayerNodes(read, made)
    return np.broadcast_to(made, shape)


def _depthwise(walk: _Walk, layer: Any, tensors: list[Nodes], shape: tuple[int, ...]) -> Nodes:
    """Channel c yields channels c * multiplier to c * multiplier + multiplier - 1: they go with it."""
    read = _channels(tensors[0])
    made = _activated(walk, layer, np.repeat(read, layer.depth_multiplier))
    walk.layers[layer.name] = LayerNodes(read, made)
    return np.broadcast_to(made, shape)


def _normalization(walk: _Walk, layer: Any, tensors: list[Nodes], shape: tuple[int, ...]) -> Nodes:
    if _listed(layer.axis) != [len(shape)]:
        raise _NotUniformError("it normalizes another axis than the channels")
    read = _channels(tensors[0])
    walk.layers[layer.name] = LayerNodes(read, read)
    return tensors[0]


def _same(walk: _Walk, layer: Any, tensors: list[Nodes], shape: tuple[int, ...]) -> Nodes:  # noqa: ARG001 -- one signature
    return _activated(walk, layer, tensors[0])


def _spatial(walk: _Walk, layer: Any, tensors: list[Nodes], shape: tuple[int, ...]) -> Nodes:  # noqa: ARG001
    """Pooling, padding, cropping, upsampling: each channel by itself."""
    return np.broadcast_to(_channels(tensors[0]), shape)


def _reshape(walk: _Walk, layer: Any, tensors: list[Nodes], shape: tuple[int, ...]) -> Nodes:
    """Flatten and Reshape; the latter only where whole channels remain whole channels."""
    nodes = tensors[0].reshape(shape)
    if isinstance(layer, _layers.Reshape):
        _channels(nodes)
        walk.reshapes[layer.name] = nodes
    return nodes


def _permute(walk: _Walk, layer: Any, tensors: list[Nodes], shape: tuple[int, ...]) -> Nodes:  # noqa: ARG001
    return np.transpose(tensors[0], [axis - 1 for axis in layer.dims])


def _merge(walk: _Walk, layer: Any, tensors: list[Nodes], shape: tuple[int, ...]) -> Nodes:  # noqa: ARG001
    """Add and its like: what is combined element by element goes together."""
    tensors = [np.broadcast_to(tensor, shape) for tensor in tensors]
    for other in tensors[1:]:
        walk.join(tensors[0], other)
    return tensors[0]


def _concatenate(walk: _Walk, layer: Any, tensors: list[Nodes], shape: tuple[int, ...]) -> Nodes:  # noqa: ARG001
    return np.concatenate(tensors, axis=layer.axis - 1 if layer.axis > 0 else layer.axis)


_Handler = Callable[[_Walk, Any, list[Nodes], tuple[int, ...]], Nodes]


def _handlers() -> dict[type, _Handler]:
    by_handler: Sequence[tuple[_Handler, str]] = (
        (_kernel, "Dense Conv1D Conv2D SeparableConv2D"),
        (_recurrent, "LSTM GRU SimpleRNN"),
        (_depthwise, "DepthwiseConv2D"),
        (_normalization, "BatchNormalization"),
        (
            _same,
            "Activation ReLU LeakyReLU ELU Dropout GaussianNoise GaussianDropout SpatialDropout1D SpatialDropout2D",
        ),
        (_spatial, "MaxPooling1D MaxPooling2D AveragePooling1D AveragePooling2D GlobalMaxPooling1D GlobalMaxPooling2D"),
        (_spatial, "GlobalAveragePooling1D GlobalAveragePooling2D ZeroPadding1D ZeroPadding2D Cropping1D Cropping2D"),
        (_spatial, "UpSampling1D UpSampling2D"),
        (_reshape, "Flatten Reshape"),
        (_permute, "Permute"),
        (_merge, "Add Subtract Multiply Average Maximum Minimum"),
        (_concatenate, "Concatenate"),
    )
    own: dict[type, _Handler] = {StatelessDropout: _same, TimeReversed: _spatial}
    return own | {getattr(_layers, name): handler for handler, names in by_handler for name in names.split()}


_HANDLERS = _handlers()

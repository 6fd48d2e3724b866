from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.contract import ConfigError
from models.legacy_keras import keras
from models.measurements import count_parameters
from models.pruning.graph import NodeGraph, node_graph
from models.pruning.surgery import remove_nodes

layers = keras.layers


def residual() -> Any:
    """Two convolutions whose outputs are added, a depthwise one behind, two ways to a dense head."""
    inputs = keras.Input((8, 8, 3))
    stem = layers.ReLU()(
        layers.BatchNormalization(name="stem_bn")(layers.Conv2D(6, 3, padding="same", name="stem")(inputs))
    )
    added = layers.Add(name="added")([stem, layers.Conv2D(6, 3, padding="same", name="branch")(stem)])
    depthwise = layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise")(added)
    top = layers.Conv2D(5, 1, name="top")(depthwise)
    pooled = layers.Concatenate()([layers.GlobalAveragePooling2D()(top), layers.GlobalMaxPooling2D()(added)])
    hidden = layers.Dense(7, "relu", name="hidden")(layers.Flatten()(layers.MaxPooling2D()(top)))
    return keras.Model(inputs, layers.Dense(4, "softmax", name="output")(layers.Concatenate()([pooled, hidden])))


def sizes(graph: NodeGraph) -> dict[str, int]:
    return {group.name: len(group.nodes) for group in graph.groups}


def silence(model: Any, graph: NodeGraph, removed: np.ndarray) -> None:
    """Zeroes every kernel's weights that read the nodes."""
    for layer in model.layers:
        if layer.name not in graph.layers or isinstance(layer, layers.BatchNormalization | layers.DepthwiseConv2D):
            continue
        reads = np.isin(graph.layers[layer.name].inputs, removed)
        kernel = layer.pointwise_kernel if isinstance(layer, layers.SeparableConv2D) else layer.kernel
        values = kernel.numpy()
        values[..., np.repeat(reads, getattr(layer, "depth_multiplier", 1)), :] = 0.0
        kernel.assign(values)


def randomize(model: Any, seed: int) -> None:
    """Gives every weight a value of its own: fresh biases and statistics hide mistakes behind zeros and ones."""
    generator = np.random.default_rng(seed)
    model.set_weights(
        [generator.uniform(0.1, 1.0, array.shape) - 0.5 * (i % 2) for i, array in enumerate(model.get_weights())]
    )
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.moving_variance.assign(generator.uniform(0.5, 2.0, layer.moving_variance.shape))


def difference(model: Any, twin: Any, seed: int = 0) -> float:
    """Largest difference of the answers, relative to answers above 1."""
    x = np.random.default_rng(seed).normal(size=(8, *model.input_shape[1:])).astype(np.float32)
    before, after = model(x, training=False).numpy(), twin(x, training=False).numpy()
    return float((np.abs(after - before) / np.maximum(1.0, np.abs(before))).max())


def test_groups_are_what_must_go_together() -> None:
    graph = node_graph(residual())
    assert sizes(graph) == {"stem + branch": 6, "top": 5, "hidden": 7}
    assert graph.left_out == {}
    # The depthwise convolution makes two channels of each, in this order.
    added, depthwise = graph.layers["branch"].outputs, graph.layers["depthwise"].outputs
    np.testing.assert_array_equal(depthwise, np.repeat(added, 2))
    np.testing.assert_array_equal(graph.layers["top"].inputs, depthwise)
    np.testing.assert_array_equal(graph.layers["hidden"].inputs, np.tile(graph.layers["top"].outputs, 9))


def test_a_smaller_model_has_the_parameters_counted_by_hand() -> None:
    model = residual()
    graph = node_graph(model)
    # Of stem + branch two go, of top one, of hidden three.
    removed = np.concatenate([group.nodes[:n] for group, n in zip(graph.groups, (2, 1, 3), strict=True)])
    twin = remove_nodes(model, graph, removed)
    stem, bn, branch, depthwise, top = 3 * 9 * 4 + 4, 4 * 4, 4 * 9 * 4 + 4, 9 * 4 * 2 + 8, 8 * 4 + 4
    hidden, output = 9 * 4 * 4 + 4, (4 + 4 + 4) * 4 + 4
    assert count_parameters(twin) == stem + bn + branch + depthwise + top + hidden + output
    assert [layer.name for layer in twin.layers] == [layer.name for layer in model.layers]


def test_removing_silent_nodes_of_a_residual_net_changes_nothing() -> None:
    model = residual()
    randomize(model, 1)
    graph = node_graph(model)
    removed = np.concatenate([group.nodes[1::2] for group in graph.groups])
    silence(model, graph, removed)
    twin = remove_nodes(model, graph, removed)
    assert difference(model, twin) <= 1e-6
    assert (
        difference(model, remove_nodes(model, graph, np.concatenate([group.nodes[::2] for group in graph.groups])))
        > 1e-2
    )


# ------------------------------------------------------------------------------ random architectures


@st.composite
def architectures(draw: Any) -> Any:
    """A convolutional network of random blocks: every kind of layer that the graph knows."""
    inputs = keras.Input((6, 6, draw(st.integers(1, 3))))
    maps = inputs
    for _ in range(draw(st.integers(1, 4))):
        maps = _block(draw, maps)
    kind = draw(st.sampled_from(["flatten", "average", "max", "sequence"]))
    if kind == "sequence":
        height, width, channels = maps.shape[1:]
        maps = layers.Reshape((height * width, channels))(maps)
        maps = layers.Conv1D(draw(st.integers(2, 5)), 1, activation="relu")(maps)
    hidden = {"average": layers.GlobalAveragePooling2D, "max": layers.GlobalMaxPooling2D}.get(kind, layers.Flatten)()(
        maps
    )
    for _ in range(draw(st.integers(0, 2))):
        hidden = layers.Dense(draw(st.integers(2, 6)), draw(st.sampled_from(["relu", "tanh", "sigmoid"])))(hidden)
    return keras.Model(inputs, layers.Dense(3, "linear")(hidden))


def _block(draw: Any, maps: Any) -> Any:
    kind = draw(st.sampled_from(["conv", "separable", "depthwise", "residual", "branches", "pool"]))
    filters, channels = draw(st.integers(2, 6)), maps.shape[-1]
    if kind == "conv":
        maps = layers.Conv2D(filters, 3, padding="same", strides=draw(st.integers(1, 2)))(maps)
    elif kind == "separable":
        maps = layers.SeparableConv2D(filters, 3, padding="same", depth_multiplier=draw(st.integers(1, 2)))(maps)
    elif kind == "depthwise":
        maps = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=draw(st.integers(1, 2)))(maps)
    elif kind == "residual":
        maps = layers.Add()([maps, layers.Conv2D(channels, 3, padding="same", activation="relu")(maps)])
    elif kind == "branches":
        other = layers.Conv2D(filters, 1, activation="relu")(maps)
        maps = layers.Concatenate()([maps, other, layers.MaxPooling2D(3, 1, "same")(other)])
    elif min(maps.shape[1:3]) > 1:
        maps = layers.AveragePooling2D(2)(layers.ZeroPadding2D(1)(maps))
    if draw(st.booleans()):
        maps = layers.ReLU()(layers.BatchNormalization()(maps))
    return maps


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_removing_silent_nodes_changes_no_answer(data: Any) -> None:
    model = data.draw(architectures())
    seed = data.draw(st.integers(0, 2**16))
    randomize(model, seed)
    graph = node_graph(model)
    assert graph.left_out == {}
    generator = np.random.default_rng(seed)
    removed = np.concatenate(
        [np.zeros(0, np.int64)]
        + [generator.permutation(group.nodes)[: generator.integers(0, len(group.nodes))] for group in graph.groups]
    )
    silence(model, graph, removed)
    twin = remove_nodes(model, graph, removed)
    assert difference(model, twin, seed) <= 1e-6
    assert sum(sizes(node_graph(twin)).values()) == sum(sizes(graph).values()) - len(removed)
    assert count_parameters(twin) < count_parameters(model) or len(removed) == 0


# -------------------------------------------------------------------------------- what stays whole


def test_a_sequential_model_is_cut_too() -> None:
    model = keras.Sequential([keras.Input((5,)), layers.Dense(4, "relu", name="a"), layers.Dense(2, name="b")])
    graph = node_graph(model)
    assert sizes(graph) == {"a": 4}
    twin = remove_nodes(model, graph, graph.groups[0].nodes[:3])
    np.testing.assert_array_equal(twin.get_layer("a").kernel, model.get_layer("a").kernel[:, 3:])
    np.testing.assert_array_equal(twin.get_layer("b").kernel, model.get_layer("b").kernel[3:])


def unknown(inputs: Any) -> Any:
    return layers.LayerNormalization(name="strange")(layers.Dense(4, name="before")(inputs))


def softmax_inside(inputs: Any) -> Any:
    return layers.Dense(4, "softmax", name="before")(inputs)


def called_twice(inputs: Any) -> Any:
    shared = layers.Dense(5, name="strange")
    return shared(shared(layers.Dense(5, name="before")(inputs)))


def rows_as_channels(inputs: Any) -> Any:
    """A permutation turns the channels into places: each place of a channel is another node."""
    places = layers.Reshape((3, 4))(layers.Dense(12, name="before")(inputs))
    return layers.Flatten()(layers.Conv1D(2, 1, name="strange")(layers.Permute((2, 1))(places)))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (unknown, "layers of type LayerNormalization are not known to the graph"),
        (softmax_inside, None),
        (called_twice, "it is called more than once"),
    ],
)
def test_what_the_graph_does_not_know_is_named_and_left_whole(body: Any, reason: str | None) -> None:
    inputs = keras.Input((5,))
    model = keras.Model(inputs, layers.Dense(2, name="output")(layers.Dense(3, name="after")(body(inputs))))
    graph = node_graph(model)
    assert sizes(graph) == {"after": 3}
    assert graph.left_out == ({} if reason is None else {"strange": reason})
    twin = remove_nodes(model, graph, graph.groups[0].nodes[:1])
    assert twin.get_layer("before").units == model.get_layer("before").units


def test_a_reshape_that_breaks_channels_up_keeps_them() -> None:
    inputs = keras.Input((5,))
    graph = node_graph(keras.Model(inputs, layers.Dense(2)(rows_as_channels(inputs))))
    assert sizes(graph) == {"strange": 2}
    assert list(graph.left_out.values()) == ["it reads channels whose positions were made by different nodes"]


def test_no_layer_is_emptied_and_nothing_else_removed() -> None:
    model = residual()
    graph = node_graph(model)
    with pytest.raises(
        ConfigError, match=r"at least one node to stay in top, got all 5 removed\. Lower prune\.sparsity"
    ):
        remove_nodes(model, graph, graph.groups[1].nodes)
    kept = np.setdiff1d(graph.layers["output"].outputs, np.concatenate([group.nodes for group in graph.groups]))
    with pytest.raises(ValueError, match="expected removable nodes"):
        remove_nodes(model, graph, kept[:1])

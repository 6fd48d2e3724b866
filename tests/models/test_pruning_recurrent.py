"""Units of recurrent layers go with all their gates; weights of their kernels are pruned like others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.batches import ArrayBatches
from data.contract import ConfigError, Schema
from models.architectures.builder import build
from models.clustering import plan_clusters
from models.compression_config import PruneConfig
from models.config import OptimizerConfig
from models.legacy_keras import clone, keras, tf
from models.measurements import count_macs, count_parameters
from models.pruning.gradual import prune_nodes
from models.pruning.graph import NodeGraph, node_graph
from models.pruning.importance import node_importance
from models.pruning.kernels import layer_sparsity, prunable_kernels
from models.pruning.surgery import remove_nodes
from models.pruning.weights import MagnitudePruning
from models.recurrent import GATES
from models.rnn_config import RnnConfig
from models.tasks import Classification
from models.training import TrainingSettings, train

CELLS = ("lstm", "gru", "simple")
SCHEMA = Schema(
    kind="vector",
    input_shape=(5, 3),
    input_range=None,
    storage_divisor=1.0,
    class_names=("a", "b", "c"),
    target_name="class",
)
X = np.random.default_rng(1).normal(size=(24, 5, 3)).astype(np.float32)
Y = np.random.default_rng(2).integers(0, 3, 24).astype(np.int32)


def network(seed: int = 1, **fields: Any) -> Any:
    model = build(RnnConfig(family="rnn", **fields), SCHEMA, "classification", seed)
    generator = np.random.default_rng(seed)
    model.set_weights([generator.normal(size=array.shape) * 0.4 for array in model.get_weights()])
    return model


def answer(model: Any) -> Any:
    return model(X, training=False).numpy()


def silence(model: Any, graph: NodeGraph, removed: Any) -> None:
    """Zeroes every weight that reads the nodes: of the layers behind, and of their own layer at the next step."""
    for layer in model.layers:
        if layer.name not in graph.layers:
            continue
        nodes = graph.layers[layer.name]
        weights = layer.get_weights()
        weights[0][np.isin(nodes.inputs, removed)] = 0.0
        if type(layer) in GATES:
            weights[1][np.isin(nodes.outputs, removed)] = 0.0
        layer.set_weights(weights)


# -------------------------------------------------------------------------------------------- nodes


@pytest.mark.parametrize("cell", CELLS)
def test_units_are_nodes_and_two_directions_two_groups(cell: Any) -> None:
    graph = node_graph(network(cell=cell, units=(4, 3), bidirectional=True, head_units=(2,)))
    assert graph.left_out == {}
    assert {group.name: len(group.nodes) for group in graph.groups} == {
        f"{cell}_1_forward": 4,
        f"{cell}_1_backward": 4,
        f"{cell}_2_forward": 3,
        f"{cell}_2_backward": 3,
        "dense_1": 2,
    }
    both = np.concatenate([graph.layers[f"{cell}_1_{way}"].outputs for way in ("forward", "backward")])
    np.testing.assert_array_equal(graph.layers[f"{cell}_2_forward"].inputs, both)
    np.testing.assert_array_equal(graph.layers[f"{cell}_2_backward"].inputs, both)


@settings(max_examples=8, deadline=None)
@given(
    cell=st.sampled_from(CELLS),
    both=st.booleans(),
    pooling=st.sampled_from(["last", "mean"]),
    units=st.lists(st.integers(2, 5), min_size=1, max_size=2),
    seed=st.integers(0, 1000),
)
def test_removing_silent_units_changes_nothing(cell: Any, both: bool, pooling: Any, units: Any, seed: int) -> None:
    model = network(seed, cell=cell, units=tuple(units), bidirectional=both, pooling=pooling, head_units=(4,))
    graph = node_graph(model)
    generator = np.random.default_rng(seed)
    parts = [generator.permutation(group.nodes)[: generator.integers(1, len(group.nodes))] for group in graph.groups]
    removed = np.concatenate(parts)
    silence(model, graph, removed)
    twin = remove_nodes(model, graph, removed)
    np.testing.assert_allclose(answer(twin), answer(model), atol=1e-6)
    assert [layer.name for layer in twin.layers] == [layer.name for layer in model.layers]
    assert count_parameters(twin) < count_parameters(model)


@pytest.mark.parametrize("cell", CELLS)
def test_a_unit_that_speaks_is_missed(cell: Any) -> None:
    model = network(cell=cell, units=(4,))
    graph = node_graph(model)
    twin = remove_nodes(model, graph, graph.groups[0].nodes[:1])
    assert np.abs(answer(twin) - answer(model)).max() > 1e-3


@pytest.mark.parametrize("cell", CELLS)
def test_what_stays_are_the_columns_and_rows_of_the_units_that_stay(cell: Any) -> None:
    model = network(cell=cell, units=(4,))
    graph = node_graph(model)
    twin = remove_nodes(model, graph, graph.groups[0].nodes[[0, 2]])
    gates = {"lstm": 4, "gru": 3, "simple": 1}[cell]
    columns = [gate * 4 + unit for gate in range(gates) for unit in (1, 3)]
    kernel, recurrent, bias = model.get_layer(f"{cell}_1").get_weights()
    expected = [kernel[:, columns], recurrent[[1, 3]][:, columns], bias[..., columns]]
    for found, wanted in zip(twin.get_layer(f"{cell}_1").get_weights(), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(
        twin.get_layer("output").kernel.numpy(), model.get_layer("output").kernel.numpy()[[1, 3]]
    )
    assert count_macs(twin) == 5 * gates * 2 * (3 + 2) + 2 * 3


@pytest.mark.parametrize(("criterion", "order"), [("l1", 1), ("l2", 2)])
def test_norms_are_over_all_gates_and_both_kernels(criterion: Any, order: int) -> None:
    model = network(cell="gru", units=(4,))
    graph = node_graph(model)
    batches = ArrayBatches(X, Y, 8, seed=1)
    scores = node_importance(model, graph, criterion, batches, Classification(), 24)
    kernel, recurrent, _ = model.get_layer("gru_1").get_weights()
    for place, node in enumerate(graph.groups[0].nodes):
        read = np.concatenate([kernel[:, place::4].ravel(), recurrent[:, place::4].ravel()]).astype(np.float64)
        assert scores[int(node)] == pytest.approx(np.sum(np.abs(read) ** order) ** (1 / order))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_taylor_is_the_slope_of_a_gate_on_each_unit(cell: Any, pooling: Any) -> None:
    """A gate z scales what a unit tells the output and itself: dL/dz by the difference of two losses."""
    model = network(cell=cell, units=(4,), pooling=pooling)
    graph = node_graph(model)
    scores = node_importance(model, graph, "taylor", ArrayBatches(X, Y, 24, seed=1), Classification(), 24)
    x, y = ArrayBatches(X, Y, 24, seed=1).batch(0, 0)
    objective = Classification()

    def loss(unit: int, gate: float) -> float:
        twin = clone(model)
        layer, output = twin.get_layer(f"{cell}_1"), twin.get_layer("output")
        for variable in (layer.cell.recurrent_kernel, output.kernel):
            values = variable.numpy()
            values[unit] *= gate
            variable.assign(values)
        return float(objective.loss(tf.constant(y), twin(x, training=False), None))

    for place, node in enumerate(graph.groups[0].nodes):
        slope = (loss(place, 1.03) - loss(place, 0.97)) / 0.06
        assert scores[int(node)] == pytest.approx(slope**2, rel=0.05, abs=1e-6)


def test_layers_that_hand_on_their_state_stay_whole() -> None:
    inputs = keras.Input((5, 3))
    answers, state, _ = keras.layers.LSTM(4, return_state=True, name="teller")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, name="output")(keras.layers.Add()([answers, state])))
    assert node_graph(model).left_out["teller"] == "it has 3 outputs"
    inputs = keras.Input(batch_shape=(2, 5, 3))
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.GRU(4, stateful=True, name="keeper")(inputs)))
    assert node_graph(model).left_out["keeper"] == "its state comes from elsewhere"


def test_nodes_are_pruned_in_steps_with_training() -> None:
    model = network(cell="lstm", units=(8,))
    config = PruneConfig(
        unit="node", sparsity=0.5, epochs=2, recovery_epochs=1, optimizer=OptimizerConfig(), batch_size=8
    )
    result = prune_nodes(
        model,
        ArrayBatches(X, Y, 8, seed=3),
        (X, Y),
        Classification(),
        config,
        TrainingSettings(epochs=1, optimizer=config.optimizer, seed=2, label="prune"),
    )
    assert (result.before, result.after) == ({"lstm_1": 8}, {"lstm_1": 4})
    assert result.model.get_layer("lstm_1").units == 4


# ------------------------------------------------------------------------------------------ weights


def test_both_kernels_are_prunable_and_named() -> None:
    model = network(cell="gru", units=(4,))
    found = prunable_kernels(model)
    assert {name: tuple(kernel.shape) for name, kernel in found.kernels.items()} == {
        "gru_1/kernel": (3, 12),
        "gru_1/recurrent_kernel": (4, 12),
        "output": (4, 3),
    }
    assert found.left_out == {}
    assert [row["name"] for row in layer_sparsity(model)] == list(found.kernels)


@pytest.mark.parametrize("scope", ["global", "local"])
def test_pruned_weights_stay_zero_in_training(scope: Any) -> None:
    model = network(cell="lstm", units=(4,))
    config = PruneConfig(scope=scope, sparsity=0.5, epochs=1, update_steps=1)
    pruning = MagnitudePruning(prunable_kernels(model).kernels, config, 3)
    train(
        model,
        ArrayBatches(X, Y, 8, seed=3),
        (X, Y),
        Classification(),
        TrainingSettings(epochs=2, optimizer=OptimizerConfig(), seed=2),
        constraint=pruning,
    )
    masks = pruning.masks()
    assert list(masks) == ["lstm_1/kernel", "lstm_1/recurrent_kernel", "output"]
    layer = model.get_layer("lstm_1")
    for name, kernel in (("kernel", layer.cell.kernel), ("recurrent_kernel", layer.cell.recurrent_kernel)):
        np.testing.assert_array_equal(kernel.numpy() != 0.0, masks[f"lstm_1/{name}"])
    kept = sum(int(mask.sum()) for mask in masks.values())
    assert kept == (3 * 16 + 4 * 16 + 12) // 2


def test_clusters_leave_recurrent_layers_out_and_lose_no_zeros() -> None:
    model = network(cell="lstm", units=(4,), head_units=(30,))
    plan = plan_clusters(model, 4, "linear", 50, seed=1)
    assert list(plan.layers) == ["dense_1", "output"]
    assert plan.left_out == {"lstm_1": "recurrent layers are not clustered"}
    kernel = model.get_layer("lstm_1").cell.recurrent_kernel
    kernel.assign(kernel.numpy() * (np.abs(kernel.numpy()) > 0.2))
    with pytest.raises(
        ConfigError, match=r"cluster: expected zeros in dense and convolutional layers alone, .*'lstm_1'"
    ):
        plan_clusters(model, 4, "linear", 50, seed=1)

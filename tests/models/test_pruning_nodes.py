"""Importance of nodes against hand calculation and finite differences; which of them go; pruning them in steps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from data.batches import ArrayBatches
from data.contract import ConfigError
from models.checkpointing import EpochRecord
from models.compression_config import PruneConfig
from models.config import OptimizerConfig
from models.legacy_keras import clone, keras
from models.pruning.gradual import NodePruning, prune_nodes
from models.pruning.graph import NodeGraph, node_graph
from models.pruning.importance import comparable, node_importance
from models.pruning.nodes import choose, global_counts, least_counts, node_counts, rounded_counts
from models.tasks import Classification, Regression
from models.training import TrainingSettings

layers = keras.layers
ROWS = np.random.default_rng(0).normal(size=(24, 5)).astype(np.float32)
NUMBERS = np.random.default_rng(1).normal(size=24).astype(np.float32)
BATCHES = ArrayBatches(ROWS, NUMBERS, 8, seed=1)


def network(*, normalized: bool = False) -> Any:
    """5 inputs, 4 nodes, 3 nodes, 1 output; every weight a value of its own."""
    inputs = keras.Input((5,))
    hidden = layers.Dense(4, None if normalized else "relu", name="first")(inputs)
    if normalized:
        hidden = layers.ReLU()(layers.BatchNormalization(name="norm")(hidden))
    model = keras.Model(inputs, layers.Dense(1, name="output")(layers.Dense(3, "tanh", name="second")(hidden)))
    generator = np.random.default_rng(2)
    model.set_weights([generator.uniform(-1.0, 1.5, array.shape) for array in model.get_weights()])
    if normalized:
        model.get_layer("norm").moving_variance.assign([0.5, 1.0, 1.5, 2.0])
    return model


def importance(model: Any, criterion: Any, num_rows: int = 24) -> tuple[NodeGraph, dict[str, list[float]]]:
    graph = node_graph(model)
    scores = node_importance(model, graph, criterion, BATCHES, Regression(), num_rows)
    return graph, {group.name: [scores[int(node)] for node in group.nodes] for group in graph.groups}


@pytest.mark.parametrize(("criterion", "order"), [("l1", 1), ("l2", 2)])
def test_norms_are_those_of_the_weights_a_node_reads(criterion: str, order: int) -> None:
    model = network()
    _, scores = importance(model, criterion)
    for name in ("first", "second"):
        expected = np.linalg.norm(model.get_layer(name).kernel.numpy(), order, axis=0)
        np.testing.assert_allclose(scores[name], expected, rtol=1e-6)


def test_norms_of_nodes_whose_outputs_are_added_are_taken_together() -> None:
    inputs = keras.Input((3,))
    one, other = layers.Dense(2, name="one")(inputs), layers.Dense(2, name="other")(inputs)
    model = keras.Model(inputs, layers.Dense(1)(layers.Add()([one, other])))
    graph = node_graph(model)
    scores = node_importance(model, graph, "l2", BATCHES, Regression(), 8)
    both = np.concatenate([model.get_layer(name).kernel.numpy() for name in ("one", "other")])
    np.testing.assert_allclose([scores[int(n)] for n in graph.groups[0].nodes], np.linalg.norm(both, axis=0), rtol=1e-6)


@pytest.mark.parametrize("normalized", [False, True])
def test_taylor_is_the_squared_slope_of_the_loss_along_a_gate(normalized: bool) -> None:
    model = network(normalized=normalized)
    _, scores = importance(model, "taylor")
    # A gate of 1 + e on node k: its kernel column and bias, or the scale and shift of its normalization, times 1 + e.
    places = {"first": ("norm", 0) if normalized else ("first", 0), "second": ("second", 0)}
    for name, (gated, _) in places.items():
        found = []
        for k in range(len(scores[name])):
            slopes = []
            for index in range(BATCHES.num_batches):
                x, y = BATCHES.batch(0, index)
                losses = [_gated_loss(model, gated, k, 1.0 + e, x, y) for e in (1e-3, -1e-3)]
                slopes.append((losses[0] - losses[1]) / 2e-3)
            found.append(np.mean(np.square(slopes)))
        np.testing.assert_allclose(scores[name], found, rtol=2e-2, atol=1e-6)


def _gated_loss(model: Any, layer: str, node: int, gate: float, x: Any, y: Any) -> float:
    twin = clone(model)
    target = twin.get_layer(layer)
    weights = target.get_weights()
    for array in weights[:2]:
        array[..., node] *= gate
    target.set_weights(weights)
    answers = twin(x, training=False).numpy().astype(np.float64)
    return float(np.mean((y - answers[:, 0]) ** 2))


def test_scales_of_batch_normalization() -> None:
    model = network(normalized=True)
    with pytest.raises(ConfigError, match=r"prune\.criterion: .* got it with second\. Choose taylor, l1 or l2\."):
        importance(model, "batch_normalization_scale")
    inputs = keras.Input((4, 4, 1))
    maps = layers.BatchNormalization(name="norm")(layers.Conv2D(3, 3, name="conv")(inputs))
    model = keras.Model(inputs, layers.Dense(1)(layers.Flatten()(maps)))
    model.get_layer("norm").gamma.assign([0.5, -2.0, 0.0])
    graph = node_graph(model)
    scores = node_importance(model, graph, "batch_normalization_scale", BATCHES, Regression(), 8)
    assert [scores[int(node)] for node in graph.groups[0].nodes] == [0.5, 2.0, 0.0]


def test_mean_activation_is_over_rows_and_places() -> None:
    inputs = keras.Input((4, 4, 1))
    maps = layers.Conv2D(3, 3, activation="relu", name="conv")(inputs)
    model = keras.Model(inputs, layers.Dense(1, name="output")(layers.Flatten()(maps)))
    x = np.random.default_rng(3).normal(size=(6, 4, 4, 1)).astype(np.float32)
    graph = node_graph(model)
    batches = ArrayBatches(x, np.zeros(6, np.float32), 6, seed=1)
    scores = node_importance(model, graph, "mean_activation", batches, Regression(), 6)
    maps_seen = keras.Model(inputs, maps)(x).numpy()
    np.testing.assert_allclose(
        [scores[int(node)] for node in graph.groups[0].nodes], np.abs(maps_seen).mean(axis=(0, 1, 2)), rtol=1e-5
    )


# ------------------------------------------------------------------------------------- which go


def test_global_ranking_spares_what_every_layer_keeps() -> None:
    graph = node_graph(network())
    first, second = (group.nodes.tolist() for group in graph.groups)
    scores = dict(zip([*first, *second], [0.1, 0.2, 0.3, 0.4, 5.0, 6.0, 7.0], strict=True))
    least = least_counts(node_counts(graph), 0.3)
    assert least == {"first": 2, "second": 1}
    assert global_counts(graph, scores, 2, least) == {"first": 2, "second": 3}
    assert global_counts(graph, scores, 3, least) == {"first": 2, "second": 2}
    assert choose(graph, scores, {"first": 2, "second": 2}).tolist() == sorted([*first[:2], second[0]])
    with pytest.raises(ConfigError, match=r"expected no more than 4 of 7 nodes to go .* got 5"):
        global_counts(graph, scores, 5, least)


def test_equal_nodes_go_in_their_order() -> None:
    graph = node_graph(network())
    scores = {int(node): 1.0 for group in graph.groups for node in group.nodes}
    assert choose(graph, scores, {"first": 3, "second": 3}).tolist() == [graph.groups[0].nodes[0]]


@pytest.mark.parametrize(
    ("keep", "multiple", "rounded"), [(5, 1, 5), (5, 4, 4), (6, 4, 8), (1, 4, 4), (15, 16, 10), (10, 8, 8)]
)
def test_counts_are_rounded_to_a_multiple_of_what_there_is(keep: int, multiple: int, rounded: int) -> None:
    assert rounded_counts({"a": keep}, {"a": 10}, multiple) == {"a": rounded}


def test_scores_of_layers_are_made_comparable() -> None:
    graph = node_graph(network())
    scores = {int(node): 0.0 for group in graph.groups for node in group.nodes}
    scores.update(zip(graph.groups[0].nodes.tolist(), [3.0, 4.0, 0.0, 0.0], strict=True))
    shares = comparable(graph, scores)
    assert [shares[int(node)] for node in graph.groups[0].nodes] == [0.6, 0.8, 0.0, 0.0]
    assert [shares[int(node)] for node in graph.groups[1].nodes] == [0.0, 0.0, 0.0]


# -------------------------------------------------------------------------------------- in steps


class Memory:
    """Keeps states in memory; refuses to go on after so many, as a kill would."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.kept: dict[str, Any] = {}
        self.left = stop_after

    def of(self, name: str) -> Any:
        memory = self

        class One:
            def save(self, arrays: Any, state: Any) -> None:
                memory.kept[name] = ({key: np.array(value) for key, value in arrays.items()}, state)
                if memory.left is not None:
                    memory.left -= 1
                    if memory.left == 0:
                        raise KeyboardInterrupt

            def load(self) -> Any:
                return memory.kept.get(name)

        return One()


def digits() -> tuple[Any, Any]:
    generator = np.random.default_rng(5)
    y = generator.integers(0, 3, 240)
    x = (generator.normal(size=(240, 6)) + np.eye(3, 6)[y] * 3).astype(np.float32)
    return x, y


def run(config: PruneConfig, memory: Memory | None = None, **changed: Any) -> NodePruning:
    keras.utils.set_random_seed(7)
    inputs = keras.Input((6,))
    hidden = layers.Dense(10, "relu", name="b")(layers.Dense(20, "relu", name="a")(inputs))
    model = keras.Model(inputs, layers.Dense(3, "softmax", name="output")(hidden))
    x, y = digits()
    return prune_nodes(
        model,
        ArrayBatches(x[:200], y[:200], 20, seed=3),
        (x[200:], y[200:]),
        Classification(),
        config,
        TrainingSettings(epochs=1, optimizer=config.optimizer, seed=2, label="prune"),
        checkpoints=None if memory is None else memory.of,
        **changed,
    )


FAST = OptimizerConfig(learning_rate=0.01)


def test_nodes_go_in_cubic_steps_and_the_epochs_are_numbered_through() -> None:
    config = PruneConfig(unit="node", sparsity=0.5, epochs=5, recovery_epochs=2, steps=3, optimizer=FAST, batch_size=20)
    result = run(config)
    # 15 of 30 nodes in the end: 1 - (1 - k/3)^3 of them after step k.
    assert [removal.nodes for removal in result.removals] == [30 - round(15 * part) for part in (19 / 27, 26 / 27, 1)]
    assert [removal.epoch for removal in result.removals] == [0, 2, 4]
    assert [record.epoch for record in result.history] == list(range(1, 8))
    assert sum(result.after.values()) == 15
    assert 6 <= result.best_epoch <= 7
    rates = [record.learning_rate for record in result.history]
    assert rates[:5] == [0.01] * 5
    assert rates[6] < rates[5] < 0.01


@pytest.mark.parametrize(
    ("fields", "after"),
    [
        ({"scope": "local", "sparsity": 0.5}, {"a": 10, "b": 5}),
        ({"scope": "local", "sparsity": 0.5, "multiple": 4}, {"a": 12, "b": 4}),
        ({"scope": "local", "sparsity": 0.94}, {"a": 1, "b": 1}),
    ],
)
def test_local_counts_and_multiples(fields: dict[str, Any], after: dict[str, int]) -> None:
    config = PruneConfig(unit="node", epochs=1, recovery_epochs=0, optimizer=FAST, batch_size=20, **fields)
    assert run(config).after == after


def test_each_layer_may_have_a_sparsity_of_its_own() -> None:
    config = PruneConfig(unit="node", sparsity="auto", epochs=2, recovery_epochs=0, optimizer=FAST, batch_size=20)
    result = run(config, sparsities={"a": 0.75, "b": 0.0})
    assert result.after == {"a": 5, "b": 10}


def test_what_cannot_go_is_refused_before_any_training() -> None:
    config = PruneConfig(unit="node", sparsity=0.95, min_layer_density=0.1, epochs=1, optimizer=FAST)
    memory = Memory()
    with pytest.raises(ConfigError, match=r"prune\.sparsity: expected no more than 27 of 30 nodes to go"):
        run(config, memory)
    assert memory.kept == {}


def test_a_sparsity_that_leaves_a_layer_empty_is_refused_before_any_training() -> None:
    config = PruneConfig(unit="node", scope="local", sparsity=0.96, epochs=1, optimizer=FAST)
    memory = Memory()
    message = (
        r"^prune\.sparsity: expected at most 0\.9 where b keeps one of its 10 nodes under local scope, got 0\.96, "
        r"which leaves none\. Lower it, or set prune\.scope to global\.$"
    )
    with pytest.raises(ConfigError, match=message):
        run(config, memory)
    assert memory.kept == {}


def test_a_model_without_hidden_nodes_is_refused() -> None:
    inputs = keras.Input((6,))
    model = keras.Model(inputs, layers.Dense(3, "softmax", name="output")(inputs))
    x, y = digits()
    settings = TrainingSettings(epochs=1, optimizer=FAST, seed=2)
    with pytest.raises(ConfigError, match=r"prune\.unit: .* got none \(it has no hidden layer\)\. Set it to weight"):
        prune_nodes(model, ArrayBatches(x, y, 20, 1), (x, y), Classification(), PruneConfig(unit="node"), settings)


@pytest.mark.parametrize("stop_after", [1, 3, 4])
def test_a_killed_pruning_ends_in_the_same_bits(stop_after: int) -> None:
    config = PruneConfig(unit="node", sparsity=0.5, epochs=3, recovery_epochs=2, steps=2, optimizer=FAST, batch_size=20)
    whole = run(config)
    memory = Memory(stop_after)
    with pytest.raises(KeyboardInterrupt):
        run(config, memory)
    memory.left = None
    resumed = run(config, memory)
    for one, other in zip(whole.model.get_weights(), resumed.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert [plain(record) for record in resumed.history] == [plain(record) for record in whole.history]
    assert resumed.removals == whole.removals


def plain(record: EpochRecord) -> EpochRecord:
    return replace(record, seconds=0.0, samples_per_second=0.0)


@pytest.mark.parametrize("scope", ["global", "local"])
@pytest.mark.parametrize("multiple", [2, 4, 8])
def test_counts_are_multiples_after_several_steps_too(scope: Any, multiple: int) -> None:
    config = PruneConfig(
        unit="node", scope=scope, sparsity=0.5, multiple=multiple, epochs=4, recovery_epochs=0, optimizer=FAST
    )
    after = run(config).after
    assert after["a"] % multiple == 0
    assert after["b"] % multiple == 0 or after["b"] == 10

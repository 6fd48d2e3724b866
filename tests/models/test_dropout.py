from __future__ import annotations

import numpy as np
import pytest

from models.architectures.builder import build
from models.architectures.dropout import StatelessDropout
from models.config import BlockConfig, CnnConfig, MlpConfig, OptimizerConfig
from models.legacy_keras import clone, keras, tf
from models.measurements import count_macs, count_nonzero, count_parameters
from models.prediction import predict
from models.pruning.graph import node_graph
from models.pruning.surgery import remove_nodes
from models.tasks import task_for
from models.tflite.audit import operators
from models.tflite.convert import convert
from models.training import TrainingSettings, train


def test_it_thins_out_while_training_alone_and_keeps_the_mean():
    layer = StatelessDropout(0.3, 5)
    x = tf.ones((400, 500))
    first, second = layer(x, training=True).numpy(), layer(x, training=True).numpy()
    assert np.mean(first == 0.0) == pytest.approx(0.3, abs=0.005)  # 5 standard deviations of 200,000 draws
    assert set(np.unique(first)) == {np.float32(0.0), np.float32(1.0) / np.float32(0.7)}
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(layer(x), x)
    again = StatelessDropout(0.3, 5)
    np.testing.assert_array_equal(again(x, training=True), first)
    assert not np.array_equal(StatelessDropout(0.3, 6)(x, training=True), first)


def test_a_killed_training_draws_on_where_it_was(vector_schema, blobs, memory_batches, checkpoints, killed):
    def run(kept):
        model = build(MlpConfig(family="mlp", units=(16,), dropout_fraction=0.4), vector_schema, "classification", 1)
        settings = TrainingSettings(4, OptimizerConfig(learning_rate=0.01), 1)
        train(model, memory_batches(*blobs, 8), blobs, task_for("classification"), settings, checkpoints=kept)
        return model

    checkpoints.kill_after = 2
    with pytest.raises(killed):
        run(checkpoints)
    checkpoints.kill_after = None
    whole, resumed = run(None), run(checkpoints)
    for expected, got in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(expected, got)
    steps = whole.get_layer("dense_1_dropout").steps
    assert 0 < int(steps) <= 4 * 19


def test_a_network_with_dropout_is_one_without_once_it_is_trained(image_schema, tmp_path):
    fields = {"family": "cnn", "blocks": (BlockConfig(filters=4, pool=2),), "head_units": (5,)}
    plain = build(CnnConfig(**fields), image_schema, "classification", 1)
    model = build(CnnConfig(**fields, dropout_fraction=0.5), image_schema, "classification", 1)
    names = [layer.name for layer in model.layers if isinstance(layer, StatelessDropout)]
    assert names == ["features_dropout", "dense_1_dropout"]
    for measure in (count_parameters, count_nonzero, count_macs):
        assert measure(model) == measure(plain)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    x = np.random.default_rng(1).random((5, 8, 8, 1), dtype=np.float32)
    for other in (plain, clone(model), loaded):
        np.testing.assert_array_equal(predict(other, x), predict(model, x))
    assert operators(convert(model, "float32")) == operators(convert(plain, "float32"))


def test_nodes_go_through_it(vector_schema):
    model = build(MlpConfig(family="mlp", units=(6, 4), dropout_fraction=0.5), vector_schema, "classification", 1)
    graph = node_graph(model)
    assert [(group.name, len(group.nodes)) for group in graph.groups] == [("dense_1", 6), ("dense_2", 4)]
    smaller = remove_nodes(model, graph, graph.groups[0].nodes[:2])
    assert smaller.get_layer("dense_2").kernel.shape == (4, 4)
    assert not graph.left_out

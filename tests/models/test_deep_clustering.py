"""Deep Embedded Clustering: its equations by hand, the layer that decides as they do, exact resume."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import silhouette_score

from data.contract import ConfigError
from models import soft_clusters
from models.architectures.builder import build
from models.autoencoder_config import AutoencoderConfig
from models.config import OptimizerConfig
from models.deep_clustering import STOPPED, TargetDistribution, embedding_of, refine
from models.legacy_keras import clone, keras, tf
from models.prediction import predict
from models.soft_clusters import (
    StudentClusters,
    assigned,
    in_unit_of_spread,
    kl_divergence,
    kmeans_centers,
    put_clusters,
    soft_assignment,
    target_distribution,
)
from models.task_config import ClusteringConfig, check_refinement
from models.tasks import Clustering, task_for
from models.tasks.silhouette import scored_rows, silhouette
from models.tflite.convert import convert
from models.tflite.interpreter import LiteRT
from models.tflite.micro import MicroResult, run_micro
from models.tflite.operator_agreement import OperatorAgreement, compare_operators
from models.training import TrainingSettings

TINY = AutoencoderConfig(family="autoencoder", units=(8,), bottleneck=2)


@pytest.fixture
def embedded() -> tuple[np.ndarray, np.ndarray]:
    """40 embeddings of three dimensions and four centers."""
    generator = np.random.default_rng(5)
    return generator.normal(0, 2, (40, 3)).astype(np.float32), generator.normal(0, 2, (4, 3)).astype(np.float32)


def slow_q(z: np.ndarray, centers: np.ndarray) -> np.ndarray:
    q = np.zeros((len(z), len(centers)))
    for i, row in enumerate(z.astype(np.float64)):
        for k, center in enumerate(centers.astype(np.float64)):
            q[i, k] = 1.0 / (1.0 + sum((a - b) ** 2 for a, b in zip(row, center, strict=True)))
        q[i] /= q[i].sum()
    return q


def slow_p(q: np.ndarray) -> np.ndarray:
    frequency = [sum(q[i, k] for i in range(len(q))) for k in range(q.shape[1])]
    p = np.array([[q[i, k] ** 2 / frequency[k] for k in range(q.shape[1])] for i in range(len(q))])
    return np.array([row / sum(row) for row in p])


def test_the_equations_are_the_papers(embedded):
    z, centers = embedded
    q = slow_q(z, centers)
    np.testing.assert_allclose(soft_assignment(z, centers), q, rtol=1e-5)
    p = slow_p(q)
    np.testing.assert_allclose(target_distribution(q), p, rtol=1e-5)
    np.testing.assert_allclose(target_distribution(q).sum(axis=1), 1, rtol=1e-6)
    slow = sum(p[i, k] * np.log(p[i, k] / q[i, k]) for i in range(40) for k in range(4)) / 40
    assert float(kl_divergence(p.astype(np.float32), q.astype(np.float32))) == pytest.approx(slow, rel=1e-4)


def test_an_aim_of_zero_adds_nothing_and_an_equal_one_costs_nothing():
    p = np.array([[1.0, 0.0], [0.5, 0.5]], np.float32)
    assert float(kl_divergence(p, np.array([[0.25, 0.75], [0.5, 0.5]], np.float32))) == pytest.approx(np.log(4) / 2)
    assert float(kl_divergence(p, p)) == pytest.approx(0, abs=1e-6)


def test_the_gradients_are_those_of_the_papers_equations_4_and_5(embedded):
    z, centers = embedded
    q = slow_q(z, centers)
    p = slow_p(q)
    z_variable, center_variable = tf.Variable(z), tf.Variable(centers)
    with tf.GradientTape() as tape:
        distances = tf.reduce_sum(tf.square(z_variable[:, None] - center_variable[None]), axis=-1)
        kernel = 1 / (1 + distances)
        loss = kl_divergence(p.astype(np.float32), kernel / tf.reduce_sum(kernel, axis=1, keepdims=True))
    by_rows, by_centers = tape.gradient(loss, [z_variable, center_variable])
    apart = z[:, None].astype(np.float64) - centers[None]
    pull = 2 * (p - q)[..., None] * apart / (1 + np.sum(apart**2, axis=-1, keepdims=True))
    np.testing.assert_allclose(by_rows, pull.sum(axis=1) / 40, rtol=1e-3, atol=1e-7)
    np.testing.assert_allclose(by_centers, -pull.sum(axis=0) / 40, rtol=1e-3, atol=1e-7)


def test_the_exported_layer_decides_as_the_soft_assignment_does(embedded):
    z, centers = embedded
    layer = keras.layers.Dense(4, activation="softmax")
    layer.build((None, 3))
    sizes = put_clusters(layer, z, centers)
    nearest = slow_q(z, centers).argmax(axis=1)
    counts = np.bincount(nearest, minlength=4)
    order = sorted(range(4), key=lambda cluster: -counts[cluster])
    assert sizes == sorted(counts.tolist(), reverse=True)
    rows = np.random.default_rng(6).normal(0, 3, (500, 3)).astype(np.float32)
    decided = layer(rows).numpy().argmax(axis=1)
    assert [order[cluster] for cluster in decided] == slow_q(rows, centers).argmax(axis=1).tolist()
    variance = np.mean((z - centers[nearest]) ** 2)
    squares = np.array([[np.sum((row - centers[cluster]) ** 2) for cluster in order] for row in rows])
    shares = np.exp(-squares / (2 * variance))
    np.testing.assert_allclose(layer(rows), shares / shares.sum(axis=1, keepdims=True), rtol=2e-3, atol=1e-6)


def test_a_large_offset_of_all_clusters_changes_no_decision(embedded):
    """Thousands of spreads away the layer still takes the center that is nearest."""
    z, centers = (part + np.float32(3000) for part in embedded)
    layer = keras.layers.Dense(4, activation="softmax")
    layer.build((None, 3))
    sizes = put_clusters(layer, z, centers)
    rows = np.random.default_rng(6).normal(3000, 3, (2000, 3)).astype(np.float32)
    counts = np.bincount(slow_q(z, centers).argmax(axis=1), minlength=4)
    order = np.argsort(-counts, kind="stable")
    assert sizes == counts[order].tolist()
    decided = order[layer(rows).numpy().argmax(axis=1)]
    assert np.mean(decided == slow_q(rows, centers).argmax(axis=1)) >= 0.999
    kernel = layer.kernel.numpy()
    assert np.abs(kernel.mean(axis=1)).max() < 1e-6 * np.abs(kernel).max()


def test_rows_are_assigned_in_parts_to_the_same_bits(embedded, monkeypatch):
    z, centers = embedded
    clusters = StudentClusters(centers)
    whole = clusters(tf.constant(z)).numpy()
    monkeypatch.setattr(soft_clusters, "ROWS_AT_ONCE", 7)
    pieces = []
    call = StudentClusters.call
    monkeypatch.setattr(StudentClusters, "call", lambda self, part: pieces.append(len(part)) or call(self, part))
    np.testing.assert_array_equal(soft_assignment(z, centers), whole)
    np.testing.assert_array_equal(assigned(clusters, z), whole)
    assert pieces == [7, 7, 7, 7, 7, 5] * 2
    target = TargetDistribution(lambda: z, clusters, (), 0.0)
    np.testing.assert_array_equal(target.p.numpy(), target_distribution(whole))
    assert pieces[12:] == [7, 7, 7, 7, 7, 5]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"optimizer": OptimizerConfig(warmup_steps=10)},
            "clustering.optimizer.warmup_steps: expected fewer than the 10 steps of the whole refinement, got 10. "
            "Lower it, or refine for more epochs.",
        ),
        (
            {"update_steps": 11},
            "clustering.update_steps: expected at most the 10 steps of the whole refinement, got 11. Lower it, or "
            "refine for more epochs.",
        ),
    ],
)
def test_a_refinement_too_short_for_what_it_is_to_do_is_refused(fields, message):
    config = ClusteringConfig(num_clusters=2, **fields)
    with pytest.raises(ConfigError, match=re.escape(message)):
        check_refinement(config, 10)
    check_refinement(config, 11)
    check_refinement(config.model_copy(update={"refine_epochs": 0}), 0)


def test_the_embedding_is_put_in_the_unit_of_its_spread(embedded):
    z, centers = embedded
    layer = keras.layers.Dense(3)
    layer.build((None, 3))
    layer.set_weights([np.eye(3, dtype=np.float32), np.array([1, 2, 3], np.float32)])
    x = z - np.array([1, 2, 3], np.float32)
    scaled_centers = in_unit_of_spread(layer, z, centers)
    scaled = layer(x).numpy()
    nearest = soft_assignment(z, centers).argmax(axis=1)
    assert np.mean((scaled - scaled_centers[nearest]) ** 2) == pytest.approx(1, rel=1e-5)
    assert soft_assignment(scaled, scaled_centers).argmax(axis=1).tolist() == nearest.tolist()


def test_k_means_finds_what_is_apart_and_refuses_what_is_not():
    corners = np.array([[0, 0], [0, 9], [9, 0]], np.float32)
    z = np.repeat(corners, 20, axis=0) + np.random.default_rng(1).normal(0, 0.1, (60, 2)).astype(np.float32)
    config = ClusteringConfig(num_clusters=3, kmeans_starts=3)
    found = kmeans_centers(z, config, seed=3)
    expected = [z[start : start + 20].mean(axis=0) for start in (0, 20, 40)]
    assert sorted(map(tuple, found.round(4).tolist())) == sorted(tuple(row.round(4).tolist()) for row in expected)
    np.testing.assert_array_equal(found, kmeans_centers(z, config, seed=3))
    message = (
        "clustering.num_clusters: expected at most 3, the distinct embeddings of 60 training rows, got 4. Ask for "
        "fewer clusters, or train the autoencoder for longer."
    )
    with pytest.raises(ConfigError, match=re.escape(message)):
        kmeans_centers(np.repeat(corners, 20, axis=0), ClusteringConfig(num_clusters=4), seed=3)


@pytest.mark.parametrize("clusters", [2, 5])
def test_the_silhouette_is_scikit_learns(clusters):
    generator = np.random.default_rng(clusters)
    x, decided = generator.normal(size=(80, 4)), generator.integers(0, clusters, 80)
    decided[0] = clusters  # alone in its cluster: counts 0
    assert silhouette(x, decided) == pytest.approx(silhouette_score(x, decided), abs=1e-12)


def test_one_cluster_is_the_worst_and_large_splits_are_sampled():
    generator = np.random.default_rng(1)
    x, decided = generator.normal(size=(3000, 4)), generator.integers(0, 3, 3000)
    assert silhouette(x, np.zeros(3000)) == -1.0
    chosen = scored_rows(3000)
    assert len(np.unique(chosen)) == 1000
    assert silhouette(x, decided) == pytest.approx(silhouette_score(x[chosen], decided[chosen]), abs=1e-12)
    assert scored_rows(7).tolist() == list(range(7))


def test_equal_rows_have_no_silhouette():
    assert silhouette(np.zeros((6, 2)), np.array([0, 0, 0, 1, 1, 1])) == 0.0


def test_the_task_is_a_choice_judged_by_its_inputs(blobs):
    x, y = blobs
    task = task_for("clustering")
    outputs = np.eye(3)[y]
    assert task.decide(outputs).tolist() == y.tolist()
    assert task.score(x, outputs) == pytest.approx(silhouette_score(x, y), abs=1e-6)
    assert (task.metric, task.judged_by, task.chooses) == ("silhouette", "inputs", True)
    shares = np.array([[0.25, 0.75], [0.5, 0.5]], np.float32)
    expected = -(np.log(0.75) + 2 * np.log(0.5)) / 2
    assert float(task.loss(np.array([1, 0]), shares, np.array([1.0, 2.0], np.float32))) == pytest.approx(expected)


def test_the_encoder_is_the_autoencoders(vector_schema):
    model = build(TINY, vector_schema, "clustering", 3, 4)
    autoencoder = build(TINY, vector_schema, "reconstruction", 3)
    assert [layer.name for layer in model.layers] == ["input", "encoder_1", "bottleneck", "output"]
    assert model.count_params() == 7 * 8 + 9 * 2 + 3 * 4
    for name in ("encoder_1", "bottleneck"):
        np.testing.assert_array_equal(model.get_layer(name).kernel, autoencoder.get_layer(name).kernel)


class Trial:
    """A refinement on the blobs, from fixed centers."""

    def __init__(self, blobs: Any, schema: Any, memory_batches: Any, **fields: Any) -> None:
        self.x, _ = blobs
        self.model = build(TINY, schema, "clustering", 3, 3)
        self.config = ClusteringConfig(num_clusters=3, batch_size=32, **fields)
        self.embedding = embedding_of(self.model)
        z = predict(self.embedding, self.x)
        centers = kmeans_centers(z, self.config, 1)
        self.centers = in_unit_of_spread(self.model.get_layer("bottleneck"), z, centers)
        self.batches = memory_batches(self.x, np.arange(len(self.x), dtype=np.int32), 32)
        self.before = clone(self.model)

    def run(self, **others: Any) -> Any:
        optimizer = OptimizerConfig(learning_rate=0.01, schedule="constant")
        settings = TrainingSettings(self.config.refine_epochs, optimizer, 1, label="refine")
        return refine(
            self.model,
            lambda: predict(self.embedding, self.x),
            self.batches,
            (self.x[:50], self.x[:50]),
            Clustering(),
            self.config,
            self.centers,
            settings,
            **others,
        )


def test_the_refinement_makes_the_embedding_tighter(blobs, vector_schema, memory_batches):
    trial = Trial(blobs, vector_schema, memory_batches, refine_epochs=12, tolerance_fraction=0.0)
    z = predict(trial.embedding, trial.x)
    decided = soft_assignment(z, trial.centers).argmax(axis=1)
    before = silhouette(z, decided)
    result = trial.run()
    assert result.training.stopped_by == "epochs"
    assert len(result.changed) == 12
    outputs = predict(trial.model, trial.x)
    assert silhouette(predict(trial.embedding, trial.x), outputs.argmax(axis=1)) > before + 0.1
    assert result.sizes == np.bincount(outputs.argmax(axis=1), minlength=3).tolist()
    # The last epoch's weights stay, whatever the score says.
    assert result.training.best_epoch == 12


def test_it_ends_where_the_clusters_stand_still(blobs, vector_schema, memory_batches):
    trial = Trial(blobs, vector_schema, memory_batches, refine_epochs=40, tolerance_fraction=0.05, update_steps=3)
    result = trial.run()
    assert result.training.stopped_by == STOPPED
    assert len(result.training.history) < 40
    assert result.changed[-1] < 0.05
    # 5 steps an epoch, a look every third; the rule holds at the end of an epoch.
    assert len(result.changed) == len(result.training.history) * 5 // 3


def test_without_a_refinement_k_means_has_the_last_word(blobs, vector_schema, memory_batches):
    trial = Trial(blobs, vector_schema, memory_batches, refine_epochs=0)
    result = trial.run()
    assert (result.training, result.changed) == (None, [])
    np.testing.assert_array_equal(trial.model.get_layer("encoder_1").kernel, trial.before.get_layer("encoder_1").kernel)
    z = predict(trial.embedding, trial.x)
    nearest = np.bincount(soft_assignment(z, trial.centers).argmax(axis=1), minlength=3)
    assert result.sizes == sorted(nearest.tolist(), reverse=True)


@pytest.mark.parametrize("saves", [1, 3])
def test_a_killed_refinement_ends_with_the_same_bits(blobs, vector_schema, memory_batches, checkpoints, killed, saves):
    """The target distribution is kept too: a look falls between two checkpoints."""
    fields = {"refine_epochs": 5, "tolerance_fraction": 0.0, "update_steps": 7}
    whole = Trial(blobs, vector_schema, memory_batches, **fields)
    expected = whole.run()
    first = Trial(blobs, vector_schema, memory_batches, **fields)
    checkpoints.kill_after = saves
    with pytest.raises(killed):
        first.run(checkpoints=checkpoints)
    checkpoints.kill_after = None
    second = Trial(blobs, vector_schema, memory_batches, **fields)
    result = second.run(checkpoints=checkpoints)
    for ours, theirs in zip(second.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert result.changed == expected.changed
    assert [record.loss for record in result.training.history] == [r.loss for r in expected.training.history]


def test_int8_decides_alike_in_litert_and_tflite_micro(blobs, vector_schema, memory_batches):
    trial = Trial(blobs, vector_schema, memory_batches, refine_epochs=6)
    trial.run()
    file = convert(trial.model, "int8", trial.x)
    runtime = LiteRT(file)
    quantized = runtime.quantize(trial.x)
    micro = run_micro(file, quantized)
    assert isinstance(micro, MicroResult)
    outputs = runtime.invoke(quantized)
    assert micro.outputs.argmax(axis=1).tolist() == outputs.argmax(axis=1).tolist()
    # One rounding of the embedding may be many steps of a softmax as steep as this one: each kernel by itself.
    agreement = compare_operators(file, quantized)
    assert isinstance(agreement, OperatorAgreement)
    assert max(each.steps for each in agreement.operators) <= 1
    assert np.mean(outputs.argmax(axis=1) == predict(trial.model, trial.x).argmax(axis=1)) > 0.97

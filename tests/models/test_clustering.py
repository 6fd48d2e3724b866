from __future__ import annotations

import importlib
import re

import numpy as np
import pytest
from sklearn.cluster import KMeans

from data.contract import ConfigError
from models.architectures.builder import build
from models.clustering import cluster, distinct_values, plan_clusters
from models.config import BlockConfig, CnnConfig, MlpConfig, OptimizerConfig, RegularizationConfig
from models.held_kernels import HeldClusters, HeldZeros, KernelClusters, existing_clusters
from models.kernel_maps import kernel_of, plain_model, with_kernel_maps
from models.kmeans import kmeans, nearest
from models.legacy_keras import clone, keras, tf, tfmot
from models.pruning.kernels import prunable_kernels
from models.pruning.weights import local_mask
from models.tasks import task_for
from models.training import TrainingSettings, predict, train

TASK = task_for("classification")


def settings(epochs=2, name="adam", rate=0.003, **more):
    optimizer = OptimizerConfig(name=name, learning_rate=rate, schedule="constant")
    return TrainingSettings(epochs=epochs, optimizer=optimizer, seed=1, **more)


def mlp(schema, units=(16, 8), sparsity=0.0):
    model = build(MlpConfig(family="mlp", units=units), schema, "classification", 1)
    for kernel in prunable_kernels(model).kernels.values():
        kernel.assign(kernel * local_mask(kernel.numpy(), sparsity))
    return model


def planned(model, clusters=4, initialization="k_means++", min_layer_weights=1):
    return plan_clusters(model, clusters, initialization, min_layer_weights, 5)


class LastWeights:
    """The task's loss; every evaluation is the best, so that the model ends with its last weights."""

    def __init__(self):
        self.evaluations = 0
        self.loss = TASK.loss

    def score(self, y, outputs):
        self.evaluations += 1
        return float(self.evaluations)


# ------------------------------------------------------------------------------------ k-means


def test_kmeans_by_hand():
    values = np.array([0.0, 1.0, 10.0, 12.0, 2.0], np.float32)
    np.testing.assert_allclose(kmeans(values, 2), [1.0, 11.0])  # from 0 and 12: {0, 1, 2} and {10, 12}
    np.testing.assert_allclose(kmeans(values, 5), [0.0, 1.0, 2.0, 10.0, 12.0])
    np.testing.assert_allclose(kmeans(values, 1), [5.0])


@pytest.mark.parametrize("initialization", ["linear", "k_means++"])
@pytest.mark.parametrize("count", [2, 7, 15])
def test_kmeans_ends_where_scikit_learn_would_stay(count, initialization):
    values = np.random.default_rng(count).laplace(size=600).astype(np.float32)
    centroids = kmeans(values, count, initialization, seed=3)
    rows = values[:, np.newaxis].astype(np.float64)
    reference = KMeans(count, init=centroids[:, np.newaxis], n_init=1, max_iter=1, tol=0.0).fit(rows)
    np.testing.assert_allclose(reference.cluster_centers_[:, 0], centroids, atol=1e-7)
    np.testing.assert_array_equal(reference.labels_, nearest(values, centroids))
    if initialization == "k_means++":
        np.testing.assert_array_equal(centroids, kmeans(values, count, initialization, seed=3))
        # Arthur & Vassilvitskii, theorem 1.1, with room: the optimum is not known, scikit-learn's best of 10 stands in.
        best = KMeans(count, n_init=10, random_state=1).fit(rows).inertia_
        assert reference.inertia_ < 2.0 * best


def test_the_lower_of_two_equally_near_centroids_is_taken():
    centroids = np.array([-1.0, 0.5, 2.0])
    values = np.array([[-0.25, 1.25], [-9.0, 9.0]], np.float32)
    assert nearest(values, centroids).tolist() == [[0, 1], [0, 2]]


def test_a_cluster_that_runs_empty_gets_the_farthest_number():
    values = np.array([0.0, 0.1, 0.2, 10.0, 10.1], np.float32)  # linear: 0, 3.4, 6.7, 10.1; the middle two are empty
    assert np.unique(nearest(values, kmeans(values, 4))).size == 4


def test_more_clusters_than_values_are_refused():
    with pytest.raises(ValueError, match="count: expected at most 2 clusters for 2 distinct values, got 3"):
        kmeans(np.array([1.0, 1.0, 2.0], np.float32), 3)


# ---------------------------------------------------------------------------------- the plan


@pytest.mark.parametrize("sparsity", [0.0, 0.7])
def test_zero_is_one_of_the_values_where_the_kernel_has_zeros(sparsity, vector_schema):
    model = mlp(vector_schema, sparsity=sparsity)
    plan = planned(model, clusters=5)
    for name, clusters in plan.layers.items():
        kernel = model.get_layer(name).kernel.numpy()
        assert len(clusters.centroids) == (4 if sparsity else 5)
        np.testing.assert_array_equal(clusters.keep, kernel != 0)


def test_layers_left_out_are_named_with_the_reason_and_keep_their_zeros(image_schema):
    blocks = (BlockConfig(filters=4, pool=2), BlockConfig(filters=6, separable=True))
    model = build(CnnConfig(family="cnn", blocks=blocks, head_units=(16,)), image_schema, "classification", 1)
    kernel = model.get_layer("dense_1").kernel
    sparse = np.zeros(kernel.shape, np.float32)
    sparse[:, 3] = [0.5, 0.5, 0.25, -1.0, 0.25, 2.0]
    kernel.assign(sparse)
    plan = planned(model, clusters=6, min_layer_weights=40)
    assert list(plan.layers) == ["output"]
    assert plan.left_out == {
        "block_1_conv": "36 weights, fewer than min_layer_weights, 40",
        "block_1_bn": "batch normalization has no kernel; it is folded into the layer before it on conversion",
        "block_2_depthwise": "depthwise kernels hold few weights, and each is a large share of its channel",
        "block_2_depthwise_bn": plan.left_out["block_1_bn"],
        "block_2_pointwise": "24 weights, fewer than min_layer_weights, 40",
        "block_2_pointwise_bn": plan.left_out["block_1_bn"],
        "dense_1": "4 distinct non-zero weights, fewer than the 5 clusters for them",
    }
    assert list(plan.zeros) == ["dense_1"]
    np.testing.assert_array_equal(plan.zeros["dense_1"], sparse != 0)


def test_more_clusters_than_weights_are_refused(vector_schema):
    message = (
        "cluster.clusters: expected a layer with enough weights for 30 clusters, got none "
        "(dense_1: 24 weights, fewer than min_layer_weights, 25; output: 12 weights, fewer than min_layer_weights, "
        "25). Lower it, or cluster.min_layer_weights, or leave the section out."
    )
    with pytest.raises(ConfigError, match=re.escape(message)):
        planned(mlp(vector_schema, (4,)), 30, min_layer_weights=25)


def test_clusters_are_read_off_a_clustered_kernel():
    clusters = existing_clusters(np.array([[0.5, 0.0, -1.0], [0.5, 0.25, 0.0]], np.float32))
    assert clusters.centroids.tolist() == [-1.0, 0.25, 0.5]
    assert clusters.keep.tolist() == [[True, False, True], [True, True, False]]


# -------------------------------------------------------------------------------- the training


def descend(name, rate, step, number, gradient, first, second):
    """One step of the optimizer, as its paper has it."""
    if name == "sgd":
        return number - rate * gradient, first, second
    if name == "momentum":
        first = 0.9 * first - rate * gradient
        return number + first, first, second
    first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
    return number - rate * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-7), first, second


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam"])
def test_training_against_a_slow_reference(name, vector_schema, blobs, memory_batches):
    """Centroids get the mean of their members' gradients, latent weights their own, zeros none; in NumPy."""
    batches = memory_batches(*blobs, 25)
    model = mlp(vector_schema, (8,), sparsity=0.3)
    plan = planned(model, 4)
    ours = cluster(model, plan, batches, blobs, LastWeights(), settings(2, name, 0.02)).model
    reference = clone(model)
    numbers, changed = {}, 0
    for layer, clusters in plan.layers.items():
        numbers["w", layer], numbers["b", layer] = (v.astype(np.float64) for v in model.get_layer(layer).get_weights())
        numbers["c", layer] = clusters.centroids.astype(np.float64)
    slots = {key: (np.zeros_like(v), np.zeros_like(v)) for key, v in numbers.items()}

    def put():
        found = {}
        for layer, clusters in plan.layers.items():
            distance = np.abs(numbers["w", layer][..., None] - numbers["c", layer])
            found[layer] = distance.argmin(-1)
            kernel = numbers["c", layer][found[layer]] * clusters.keep
            reference.get_layer(layer).set_weights([kernel, numbers["b", layer]])
        return found

    members = put()
    for step in range(12):
        x, y = batches.batch(*divmod(step, 6))
        with tf.GradientTape() as tape:
            loss = TASK.loss(y, reference(x), None)
        gradients = tape.gradient(loss, [reference.get_layer(layer).trainable_weights for layer in plan.layers])
        for (layer, clusters), (kernel, bias) in zip(plan.layers.items(), gradients, strict=True):
            through = kernel.numpy() * clusters.keep
            mean = [
                through[(members[layer] == k) & clusters.keep].mean() if (members[layer] == k).any() else 0.0
                for k in range(3)
            ]
            for key, gradient in (("w", through), ("c", np.array(mean)), ("b", bias.numpy())):
                numbers[key, layer], *slots[key, layer] = descend(
                    name, 0.02, step + 1, numbers[key, layer], gradient, *slots[key, layer]
                )
        before, members = members, put()
        changed += sum(int((before[layer] != members[layer]).sum()) for layer in members)
    for layer in plan.layers:
        kernel = ours.get_layer(layer).kernel.numpy()
        np.testing.assert_allclose(kernel, reference.get_layer(layer).kernel.numpy(), atol=1e-4)
    assert changed > 0  # weights did change clusters


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_no_more_values_than_asked_and_zeros_stay_zero(name, image_schema, memory_batches):
    generator = np.random.default_rng(5)
    y = generator.integers(0, 3, 90).astype(np.int32)
    x = (generator.random((90, 8, 8, 1)) * 0.5 + y[:, None, None, None] / 8).astype(np.float32)
    blocks = (BlockConfig(filters=6, pool=2), BlockConfig(filters=8, separable=True))
    model = build(CnnConfig(family="cnn", blocks=blocks), image_schema, "classification", 1)
    masks = {}
    for layer, kernel in prunable_kernels(model).kernels.items():
        masks[layer] = local_mask(kernel.numpy(), 0.4)
        kernel.assign(kernel * masks[layer])
    before = model.get_weights()
    plan = planned(model, 6, min_layer_weights=40)
    assert list(plan.layers) == ["block_1_conv", "block_2_pointwise"]
    assert list(plan.zeros) == ["output"]
    penalty = RegularizationConfig(l1=1e-3, l2=1e-3)
    result = cluster(model, plan, memory_batches(x, y, 32), (x, y), TASK, settings(3, name, regularization=penalty))
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert distinct_values(result.model, list(plan.layers)) == {"block_1_conv": 6, "block_2_pointwise": 6}
    for layer, mask in masks.items():
        np.testing.assert_array_equal(result.model.get_layer(layer).kernel.numpy() != 0, mask)
    assert [weight.name for weight in result.model.weights] == [weight.name for weight in model.weights]
    assert {type(layer).__module__.split(".")[0] for layer in result.model.layers} == {"tf_keras"}
    assert result.training.history[-1].loss < result.training.history[0].loss
    assert result.training.best_score == TASK.score(y, predict(result.model, x))  # what was scored is what comes out


def test_without_epochs_the_weights_are_rounded_to_their_centroids(vector_schema, blobs, memory_batches):
    model = mlp(vector_schema, sparsity=0.5)
    plan = planned(model, 4)
    result = cluster(model, plan, memory_batches(*blobs, 25), blobs, TASK, settings(0))
    assert result.training is None
    for name, clusters in plan.layers.items():
        kernel = model.get_layer(name).kernel.numpy()
        expected = clusters.centroids[nearest(kernel, clusters.centroids)] * clusters.keep
        np.testing.assert_array_equal(result.model.get_layer(name).kernel.numpy(), expected)


def test_clustering_resumes_with_the_same_bits(vector_schema, blobs, memory_batches, checkpoints, killed):
    def run(kept):
        model = mlp(vector_schema, sparsity=0.5)
        done = cluster(model, planned(model, 4), memory_batches(*blobs, 25), blobs, TASK, settings(4), checkpoints=kept)
        return done.model.get_weights()

    whole = run(None)
    checkpoints.kill_after = 2
    with pytest.raises(killed):
        run(checkpoints)
    assert all(np.array_equal(a, b) for a, b in zip(whole, run(checkpoints), strict=True))


@pytest.mark.parametrize("clusters", [4, 8])
def test_centroids_and_assignment_are_tfmots(clusters, vector_schema, blobs, memory_batches):
    """Same weights, centroids, data and steps: the same assignment at the start, the same kernels at the end."""
    batches = memory_batches(*blobs, 25)
    model = mlp(vector_schema)
    plan = planned(model, clusters)
    aggregation = importlib.import_module("tensorflow_model_optimization.python.core.clustering.keras.cluster_config")
    wrapped = tfmot().clustering.keras.cluster_weights(
        clone(model),
        number_of_clusters=clusters,
        cluster_centroids_init=tfmot().clustering.keras.CentroidInitialization.LINEAR,
        cluster_gradient_aggregation=aggregation.GradientAggregation.AVG,
    )
    wrappers = {layer.layer.name: layer for layer in wrapped.layers if hasattr(layer, "cluster_centroids")}
    for name, found in plan.layers.items():
        wrappers[name].cluster_centroids["kernel"].assign(found.centroids)
    wrapped(blobs[0], training=True)
    for name, found in plan.layers.items():
        ours = nearest(model.get_layer(name).kernel.numpy(), found.centroids)
        np.testing.assert_array_equal(wrappers[name].pulling_indices["kernel"].numpy(), ours)
    wrapped.compile(keras.optimizers.legacy.SGD(0.05), "sparse_categorical_crossentropy")
    for step in range(6):
        wrapped.train_on_batch(*batches.batch(0, step))
    ours = cluster(model, plan, batches, blobs, LastWeights(), settings(1, "sgd", 0.05)).model
    stripped = tfmot().clustering.keras.strip_clustering(wrapped)
    for name in plan.layers:
        theirs = stripped.get_layer(name).kernel.numpy()
        np.testing.assert_allclose(ours.get_layer(name).kernel.numpy(), theirs, atol=1e-6)
        assert np.abs(theirs - model.get_layer(name).kernel.numpy()).max() > 1e-3


def test_the_loss_ends_where_tfmots_does(vector_schema, blobs, memory_batches):
    """Adam, 16 epochs, 8 values a kernel, from the same trained model; each with its own first centroids."""
    batches = memory_batches(*blobs, 25)
    model = mlp(vector_schema)
    train(model, batches, blobs, LastWeights(), settings(15, rate=0.01))
    wrapping = tfmot().clustering.keras
    wrapped = wrapping.cluster_weights(
        clone(model),
        number_of_clusters=8,
        cluster_centroids_init=wrapping.CentroidInitialization.KMEANS_PLUS_PLUS,
    )
    wrapped.compile(keras.optimizers.legacy.Adam(0.003), "sparse_categorical_crossentropy")
    for step in range(96):
        wrapped.train_on_batch(*batches.batch(*divmod(step, 6)))
    theirs = wrapping.strip_clustering(wrapped)
    ours = cluster(model, planned(model, 8), batches, blobs, LastWeights(), settings(16)).model

    def loss(network):
        return float(TASK.loss(blobs[1], predict(network, blobs[0]), None))

    print(loss(model), loss(ours), loss(theirs))
    assert loss(ours) < loss(theirs) + 0.02
    assert set(distinct_values(ours, ["dense_1", "dense_2", "output"]).values()) == {8}


# ---------------------------------------------------------------------------------------- twins


def test_a_twin_with_kernels_unchanged_answers_as_the_model(image_schema):
    blocks = (BlockConfig(filters=4, stride=2, padding="valid"), BlockConfig(filters=6, separable=True))
    config = CnnConfig(family="cnn", blocks=blocks, head_units=(5,), activation="tanh")
    model = build(config, image_schema, "classification", 1)
    x = np.random.default_rng(1).random((7, 8, 8, 1)).astype(np.float32)
    names = ["block_1_conv", "block_2_depthwise", "block_2_pointwise", "dense_1", "output"]
    maps = {name: HeldZeros(np.ones(kernel_of(model.get_layer(name)).shape, bool)) for name in names}
    twin = with_kernel_maps(model, maps)
    np.testing.assert_allclose(predict(twin, x), predict(model, x), atol=1e-6)
    twin.get_layer("dense_1").bias.assign_add(np.ones(5))
    back = plain_model(model, twin)
    np.testing.assert_allclose(predict(back, x), predict(twin, x), atol=1e-6)
    assert [v.name for v in back.weights] == [v.name for v in model.weights]


def test_gradients_by_hand():
    keep = np.array([[False, True], [True, True], [True, True]])
    held = HeldClusters(KernelClusters(np.array([2.0, 1.0], np.float32), keep))
    held.build(keras.layers.Layer())
    latent = tf.Variable([[1.0, 1.4], [1.6, 0.5], [9.0, 1.5]])  # 1.5 is as near to 1 as to 2: the lower is taken
    with tf.GradientTape() as tape:
        kernel = held.used(tf.convert_to_tensor(latent), True)
        loss = tf.reduce_sum(kernel * [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    assert kernel.numpy().tolist() == [[0.0, 1.0], [2.0, 1.0], [2.0, 1.0]]
    through, centroids = tape.gradient(loss, [latent, held.centroids])
    assert through.numpy().tolist() == [[0.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    assert centroids.numpy().tolist() == [4.0, 4.0]  # (3 + 5) / 2 and (2 + 4 + 6) / 3

from __future__ import annotations

import re

import numpy as np
import pytest

from data.contract import ConfigError
from models.architectures.builder import build
from models.compression_config import PruneConfig
from models.config import BlockConfig, CnnConfig, MlpConfig, OptimizerConfig
from models.legacy_keras import clone, keras, tf, tfmot
from models.pruning.kernels import layer_sparsity, prunable_kernels
from models.pruning.weights import (
    MagnitudePruning,
    cubic_sparsity,
    global_masks,
    local_mask,
)
from models.tasks import task_for
from models.training import TrainingSettings, train

SHAPES = {"a": (7, 5), "b": (3, 3, 2, 4), "c": (11, 3)}


def random_weights(seed, scales=(1.0, 0.3, 0.05)):
    generator = np.random.default_rng(seed)
    return {
        name: (generator.normal(size=shape) * scale).astype(np.float32)
        for (name, shape), scale in zip(SHAPES.items(), scales, strict=True)
    }


def slow_global(weights, sparsity, floor):
    """Prunes one weight at a time: the smallest of a layer that may still lose one."""
    entries = sorted(
        (abs(value), number, position, name)
        for number, (name, array) in enumerate(weights.items())
        for position, value in enumerate(array.ravel())
    )
    left = {name: array.size for name, array in weights.items()}
    keep = {name: np.ones(array.size, bool) for name, array in weights.items()}
    wanted = round(sparsity * sum(left.values()))
    for _, _, position, name in entries:
        if wanted > 0 and left[name] - 1 >= floor * weights[name].size:
            keep[name][position] = False
            left[name] -= 1
            wanted -= 1
    return {name: array.reshape(weights[name].shape) for name, array in keep.items()}


# ----------------------------------------------------------------------------------- schedule


def test_cubic_schedule_by_hand():
    assert cubic_sparsity(0, 0, 10, 0.0, 0.8) == 0.0
    assert cubic_sparsity(5, 0, 10, 0.0, 0.8) == pytest.approx(0.8 * (1 - 0.125))
    assert cubic_sparsity(10, 0, 10, 0.0, 0.8) == 0.8
    assert cubic_sparsity(25, 0, 10, 0.0, 0.8) == 0.8
    assert cubic_sparsity(6, 2, 10, 0.5, 0.9) == pytest.approx(0.9 - 0.4 * 0.125)
    assert cubic_sparsity(1, 2, 10, 0.5, 0.9) == 0.5


def test_cubic_schedule_is_tfmots():
    theirs = tfmot().sparsity.keras.PolynomialDecay(0.0, 0.9, begin_step=0, end_step=60, frequency=7)
    for step in range(0, 70, 3):
        assert cubic_sparsity(step, 0, 60, 0.0, 0.9) == pytest.approx(float(theirs(step)[1]), abs=1e-6)


@pytest.mark.parametrize(
    ("every", "steps"), [(10, (10, 20, 24)), (12, (12, 24)), (24, (24,)), (1000, (24,)), (7, (7, 14, 21, 24))]
)
def test_the_last_update_falls_on_the_last_step_of_the_ramp(every, steps):
    config = PruneConfig(epochs=3, update_steps=every, sparsity=0.9)
    pruning = MagnitudePruning({"a": tf.Variable(random_weights(1)["a"])}, config, steps_per_epoch=8)
    assert pruning.update_steps == steps
    assert pruning.settled_step == 24
    assert pruning.schedule[-1] == {"step": 24, "sparsity": 0.9}
    assert [entry["step"] for entry in pruning.schedule] == list(steps)


# -------------------------------------------------------------------------------------- masks


@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.5, 0.73, 0.9, 0.999])
def test_local_masks_by_sorting(sparsity):
    for array in random_weights(2).values():
        order = np.argsort(np.abs(array).ravel(), kind="stable")
        expected = np.ones(array.size, bool)
        expected[order[: min(round(sparsity * array.size), array.size - 1)]] = False
        np.testing.assert_array_equal(local_mask(array, sparsity), expected.reshape(array.shape))


@pytest.mark.parametrize("floor", [0.02, 0.1, 0.25])
@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.5, 0.7, 0.74])
def test_global_masks_against_a_slow_reference(sparsity, floor):
    weights = random_weights(3)
    masks = global_masks(weights, sparsity, floor)
    expected = slow_global(weights, sparsity, floor)
    for name in SHAPES:
        np.testing.assert_array_equal(masks[name], expected[name])
    total = sum(array.size for array in weights.values())
    assert sum(np.count_nonzero(~mask) for mask in masks.values()) == round(sparsity * total)
    assert all(mask.sum() >= floor * mask.size for mask in masks.values())


def test_the_floor_keeps_the_weakest_layer_alive_and_others_give_more():
    weights = random_weights(4, scales=(1.0, 1.0, 1e-4))
    free = global_masks(weights, 0.5, 1e-9)  # one weight at least, whatever the fraction
    assert free["c"].sum() == 1
    held = global_masks(weights, 0.5, 0.3)
    assert held["c"].sum() == 10  # ceil(0.3 * 33)
    largest = np.argsort(np.abs(weights["c"]).ravel())[-10:]
    assert held["c"].ravel()[largest].all()
    assert held["a"].sum() + held["b"].sum() < free["a"].sum() + free["b"].sum()


def test_ties_fall_by_position():
    assert local_mask(np.array([1.0, -1.0, 2.0, 1.0]), 0.5).tolist() == [False, False, True, True]
    masks = global_masks({"a": np.ones((2, 2)), "b": np.ones(4)}, 0.5, 0.25)
    # The floor holds the last of each layer; of the other six, the first four go.
    assert masks["a"].ravel().tolist() == [False, False, False, True]
    assert masks["b"].tolist() == [False, True, True, True]


@pytest.mark.parametrize(
    ("size", "sparsity", "message"),
    [
        (6, 0.95, "expected at most 0.8333 where a keeps one of its 6 weights under local scope, got 0.95"),
        (1, 0.6, "expected at most 0 where a keeps one of its 1 weights under local scope, got 0.6"),
    ],
)
def test_a_layer_left_empty_is_refused_before_training(size, sparsity, message):
    config = PruneConfig(scope="local", sparsity=sparsity)
    with pytest.raises(ConfigError, match=f"^prune.sparsity: {re.escape(message)}, which leaves none"):
        MagnitudePruning({"a": tf.Variable(np.ones((size, 1), np.float32))}, config, 5)


def test_a_floor_that_leaves_too_little_is_refused_before_training():
    config = PruneConfig(scope="global", sparsity=0.9, min_layer_density=0.2)
    message = (
        "prune.sparsity: expected at most 0.8000 where every layer keeps 0.2 of its weights, got 0.9. "
        "Lower it, or prune.min_layer_density."
    )
    with pytest.raises(ConfigError, match=re.escape(message)):
        MagnitudePruning({"a": tf.Variable(np.ones((10, 10), np.float32))}, config, 5)


@pytest.mark.parametrize("sparsity", [0.2, 0.52, 0.88])  # no halves: TFMOT rounds what it keeps, this what it prunes
def test_local_masks_are_tfmots_for_the_same_weights(sparsity):
    implementation = pytest.importorskip("tensorflow_model_optimization.python.core.sparsity.keras.pruning_impl")
    weights = random_weights(5)
    triples = [(tf.Variable(w), tf.Variable(tf.ones_like(w)), tf.Variable(0.0)) for w in weights.values()]
    schedule = tfmot().sparsity.keras.ConstantSparsity(sparsity, begin_step=0, frequency=1)
    implementation.Pruning(lambda: tf.constant(3), triples, schedule, (1, 1), "AVG").conditional_mask_update()
    for (_, theirs, _), array in zip(triples, weights.values(), strict=True):
        np.testing.assert_array_equal(local_mask(array, sparsity), theirs.numpy() > 0)


# ----------------------------------------------------------------------------------- training


def settings(epochs, rate=0.01):
    optimizer = OptimizerConfig(name="sgd", learning_rate=rate, schedule="constant")
    return TrainingSettings(epochs=epochs, optimizer=optimizer, seed=1)


class LastWeights:
    """The task's loss; every evaluation is the best, so that the model ends with its last weights."""

    def __init__(self):
        self.evaluations = 0
        self.loss = task_for("classification").loss

    def score(self, y, outputs):
        self.evaluations += 1
        return float(self.evaluations)


def test_local_pruning_is_tfmots_wrapper(vector_schema, blobs, memory_batches):
    """Same weights, data, steps and schedule: the same masks, and the same weights to rounding.

    TFMOT counts a step when it begins, and draws its masks before the gradient: its step t + 1 begins where
    this loop's step t has ended, so its schedule is told 1 more. It leaves what the optimizer revives in place
    until the next forward pass, so one more of them, without a gradient, ends the ramp.
    """
    batches = memory_batches(*blobs, 25)  # 6 steps an epoch
    model = build(MlpConfig(family="mlp", units=(16, 8)), vector_schema, "classification", 1)
    wrapping = tfmot().sparsity.keras
    schedule = wrapping.PolynomialDecay(0.0, 0.7, begin_step=1, end_step=13, frequency=4)
    wrapped = wrapping.prune_low_magnitude(clone(model), pruning_schedule=schedule)
    wrapped.compile(keras.optimizers.legacy.SGD(0.01), "sparse_categorical_crossentropy")

    def number(step):
        for layer in wrapped.layers:
            if hasattr(layer, "pruning_step"):
                layer.pruning_step.assign(step)  # as its callback does; the wrapper adds 1 as the step begins

    for step in range(12):
        number(step)
        wrapped.train_on_batch(*batches.batch(*divmod(step, 6)))
    number(12)
    wrapped(batches.batch(0, 0)[0], training=True)

    config = PruneConfig(scope="local", sparsity=0.7, epochs=2, recovery_epochs=0, update_steps=4)
    found = prunable_kernels(model)
    pruning = MagnitudePruning(found.kernels, config, steps_per_epoch=6)
    train(model, batches, blobs, LastWeights(), settings(2), constraint=pruning)
    theirs = wrapping.strip_pruning(wrapped)
    for name, mask in pruning.masks().items():
        kernel = theirs.get_layer(name).kernel.numpy()
        np.testing.assert_array_equal(kernel != 0, mask)
        np.testing.assert_allclose(model.get_layer(name).kernel.numpy(), kernel, atol=1e-6)
        assert np.count_nonzero(~mask) == round(0.7 * mask.size)


@pytest.mark.parametrize("scope", ["global", "local"])
def test_a_pruned_training_ends_at_the_asked_sparsity(scope, vector_schema, blobs, memory_batches):
    model = build(MlpConfig(family="mlp", units=(16, 8)), vector_schema, "classification", 1)
    config = PruneConfig(scope=scope, sparsity=0.8, epochs=2, recovery_epochs=2, update_steps=5)
    pruning = MagnitudePruning(prunable_kernels(model).kernels, config, steps_per_epoch=6)
    seen = []

    class Watched:
        loss = staticmethod(task_for("classification").loss)

        def score(self, y, outputs):
            seen.append({name: kernel.numpy() for name, kernel in prunable_kernels(model).kernels.items()})
            return -float(len(seen))

    adam = TrainingSettings(epochs=4, optimizer=OptimizerConfig(learning_rate=0.01), seed=1)
    result = train(model, memory_batches(*blobs, 25), blobs, Watched(), adam, constraint=pruning)
    assert result.best_epoch == 2  # the first that counts; epoch 1 scored higher but was too dense
    masks = pruning.masks()
    for evaluated in seen[1:]:
        for name, kernel in evaluated.items():
            assert not kernel[~masks[name]].any()
    rows = layer_sparsity(model)
    assert [row["name"] for row in rows] == ["dense_1", "dense_2", "output"]
    assert [row["weights"] for row in rows] == [96, 128, 24]
    zeros = {row["name"]: row["weights"] - row["nonzero"] for row in rows}
    if scope == "local":
        assert zeros == {"dense_1": 77, "dense_2": 102, "output": 19}
        assert rows[0]["sparsity"] == pytest.approx(77 / 96)
    assert sum(zeros.values()) == 198  # round(0.8 * 248), and the sum of the three
    assert np.count_nonzero(model.get_layer("dense_1").bias.numpy()) == 16


def test_pruning_resumes_with_the_same_bits(vector_schema, blobs, memory_batches, checkpoints, killed):
    def run(kept):
        model = build(MlpConfig(family="mlp", units=(16, 8)), vector_schema, "classification", 1)
        config = PruneConfig(scope="global", sparsity=0.8, epochs=3, recovery_epochs=1, update_steps=4)
        pruning = MagnitudePruning(prunable_kernels(model).kernels, config, steps_per_epoch=6)
        task = task_for("classification")
        train(model, memory_batches(*blobs, 25), blobs, task, settings(4), constraint=pruning, checkpoints=kept)
        return model.get_weights(), pruning.masks()

    whole, whole_masks = run(None)
    checkpoints.kill_after = 2
    with pytest.raises(killed):
        run(checkpoints)
    resumed, masks = run(checkpoints)
    assert all(np.array_equal(a, b) for a, b in zip(whole, resumed, strict=True))
    assert all(np.array_equal(whole_masks[name], masks[name]) for name in masks)


# --------------------------------------------------------------------------------------- layers


def test_layers_that_are_left_out_are_named_with_a_reason(image_schema):
    blocks = (BlockConfig(filters=4, pool=2), BlockConfig(filters=6, separable=True))
    found = prunable_kernels(build(CnnConfig(family="cnn", blocks=blocks), image_schema, "classification", 1))
    assert list(found.kernels) == ["block_1_conv", "block_2_pointwise", "output"]
    assert list(found.left_out) == ["block_1_bn", "block_2_depthwise", "block_2_depthwise_bn", "block_2_pointwise_bn"]
    assert found.left_out["block_2_depthwise"].startswith("depthwise kernels hold few weights")
    assert found.left_out["block_1_bn"].startswith("batch normalization has no kernel")


def test_a_model_without_kernels_is_refused():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.BatchNormalization()(inputs))
    with pytest.raises(ConfigError, match="prune: expected a model with dense, convolutional or recurrent layers, got none"):
        prunable_kernels(model)

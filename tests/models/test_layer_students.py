"""One part between frozen layers and a temporary one: reconstruction by hand, noise, decoders, what is frozen."""

from __future__ import annotations

import numpy as np
import pytest

from models.architectures.builder import build
from models.config import BlockConfig, CnnConfig, MlpConfig, OptimizerConfig
from models.layer_parts import parts_of
from models.layer_students import MaskingNoise, Reconstruction, Student, mean_variance
from models.legacy_keras import clone, keras, tf
from models.prediction import predict
from models.tasks import r2, task_for
from models.training import TrainingSettings, train


def cnn(schema, *blocks, **others):
    return build(CnnConfig(family="cnn", blocks=blocks, **others), schema, "classification", 1)


def student(model, number, seed=5):
    twin = clone(model)
    parts = parts_of(twin)
    return Student(twin, parts[number], parts[number - 1] if number else None, seed)


def test_parts_are_blocks_and_hidden_layers(image_schema):
    model = cnn(
        image_schema,
        BlockConfig(filters=3, pool=2),
        BlockConfig(filters=4, separable=True, residual=True, batch_normalization=False),
        head_units=(6, 5),
        dropout_fraction=0.1,
    )
    parts = parts_of(model)
    assert [part.name for part in parts] == ["block_1", "block_2", "dense_1", "dense_2"]
    assert parts[0].layers == ("block_1_conv", "block_1_bn", "block_1_activation", "block_1_pool")
    assert set(parts[1].layers) == {
        "block_2_depthwise", "block_2_depthwise_activation", "block_2_pointwise", "block_2_shortcut",
        "block_2_add", "block_2_pointwise_activation",
    }  # fmt: skip
    assert [part.inputs.shape[1:] for part in parts] == [(8, 8, 1), (4, 4, 3), (4,), (6,)]
    assert [part.outputs.shape[1:] for part in parts] == [(4, 4, 3), (4, 4, 4), (6,), (5,)]
    rows = np.random.default_rng(1).random((5, 8, 8, 1)).astype(np.float32)
    together = parts[1].network()(parts[0].network()(rows))
    np.testing.assert_allclose(together, predict(keras.Model(model.input, parts[1].outputs), rows), atol=1e-6)


@pytest.mark.parametrize(
    ("block", "answers"),
    [
        (BlockConfig(filters=2, pool=3), (3, 3, 2)),
        (BlockConfig(filters=2, stride=3, padding="valid", kernel=2), (3, 3, 2)),
        (BlockConfig(filters=2, padding="valid", kernel=5, pool=2), (2, 2, 2)),
        (BlockConfig(filters=2, kernel=1), (8, 8, 2)),
    ],
)
def test_a_block_is_restored_at_its_own_resolution(block, answers, image_schema):
    if block.pool == 3:
        answers = (2, 2, 2)
    model = cnn(image_schema, block, BlockConfig(filters=2))
    assert parts_of(model)[0].outputs.shape[1:] == answers
    for number, restored in ((0, (8, 8, 1)), (1, answers)):
        network, _ = student(model, number).reconstructing(0.0)
        decoding = network.get_layer("decoding")
        assert decoding.output_shape[1:] == restored
        assert decoding.get_layer("decoder").kernel_size == ((block.kernel, 3)[number],) * 2
        assert network.output_shape == (None, 1)


def test_the_reconstruction_of_a_block_by_hand(image_schema):
    """A 1 x 1 block without normalization halves height and width; the rest is slow NumPy."""
    block = BlockConfig(filters=2, kernel=3, pool=2, batch_normalization=False)
    model = cnn(image_schema, block, BlockConfig(filters=3, kernel=1, pool=2, batch_normalization=False))
    rows = np.random.default_rng(1).random((4, 8, 8, 1)).astype(np.float32)
    learning = student(model, 1)
    network, _ = learning.reconstructing(0.0)
    truth = predict(learning.frozen, rows)  # (4, 4, 4, 2), what block 1 answers
    kernel, bias = model.get_layer("block_2_conv").get_weights()
    maps = np.maximum(truth @ kernel[0, 0] + bias, 0)
    pooled = maps.reshape(4, 2, 2, 2, 2, 3).max(axis=(2, 4))
    wide = pooled.repeat(2, axis=1).repeat(2, axis=2)
    decoder, offset = network.get_layer("decoding").get_layer("decoder").get_weights()
    errors = np.mean((wide @ decoder[0, 0] + offset - truth) ** 2, axis=(1, 2, 3))
    np.testing.assert_allclose(predict(network, rows)[:, 0], errors, rtol=1e-5)
    objective = Reconstruction(mean_variance(learning.frozen, rows))
    weights = tf.constant([1.0, 0.0, 2.0, 0.5])
    outputs = tf.constant(predict(network, rows))
    assert float(objective.loss(None, outputs, None)) == pytest.approx(errors.mean(), rel=1e-5)
    assert float(objective.loss(None, outputs, weights)) == pytest.approx(np.mean(errors * weights), rel=1e-5)
    restored = (wide @ decoder[0, 0] + offset).reshape(4, -1)
    assert objective.score(None, outputs) == pytest.approx(r2(truth.reshape(4, -1), restored), rel=1e-4)


def test_variance_is_that_of_numpy_however_many_rows_pass_at_once(image_schema):
    model = cnn(image_schema, BlockConfig(filters=3, pool=2), BlockConfig(filters=2))
    rows = np.random.default_rng(1).random((1100, 8, 8, 1)).astype(np.float32)
    frozen = student(model, 1).frozen
    expected = predict(frozen, rows).astype(np.float64).var(axis=0).mean()
    assert mean_variance(frozen, rows) == pytest.approx(expected, rel=1e-6)
    constant = Reconstruction(0.0)
    assert (constant.score(None, np.zeros((3, 1))), constant.score(None, np.ones((3, 1)))) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("activation", "number", "expected"),
    [("relu", 0, "sigmoid"), ("relu", 1, "linear"), ("sigmoid", 1, "sigmoid"), ("sigmoid", 2, "sigmoid")],
)
def test_the_decoder_answers_fractions_where_its_truth_is_fractions(activation, number, expected, image_schema):
    model = cnn(image_schema, BlockConfig(filters=2, pool=2), BlockConfig(filters=2), activation=activation,
                head_units=(3,))  # fmt: skip
    network, _ = student(model, number).reconstructing(0.0)
    assert network.get_layer("decoding").get_layer("decoder").activation is keras.activations.get(expected)


def test_a_vector_of_any_range_has_a_linear_decoder(vector_schema):
    model = build(MlpConfig(family="mlp", units=(4,)), vector_schema, "classification", 1)
    network, macs = student(model, 0).reconstructing(0.0)
    assert network.get_layer("decoding").get_layer("decoder").activation is keras.activations.linear
    assert macs == 3 * (6 * 4 + 4 * 6)


def test_the_cost_of_a_step_counts_what_learns_thrice_and_what_is_frozen_once(image_schema):
    model = cnn(image_schema, BlockConfig(filters=3, pool=2), BlockConfig(filters=4, stride=2), head_units=(5,))
    first, second = 8 * 8 * 9 * 1 * 3, 2 * 2 * 9 * 3 * 4
    assert student(model, 0).reconstructing(0.0)[1] == 3 * (first + 8 * 8 * 9 * 3 * 1)
    assert student(model, 1).reconstructing(0.3)[1] == 3 * (second + 4 * 4 * 9 * 4 * 3) + first
    assert student(model, 1).classifying()[1] == 3 * (second + 4 * 3) + first
    assert student(model, 2).classifying()[1] == 3 * (4 * 5 + 5 * 3) + first + second
    dense = cnn(image_schema, BlockConfig(filters=3, pool=2), head="dense")
    assert student(dense, 0).classifying()[1] == 3 * (first + 48 * 3)


@pytest.mark.parametrize(("head", "features"), [("global_average", 3), ("dense", 48)])
def test_the_temporary_head_takes_maps_as_the_models_own_does(head, features, image_schema):
    model = cnn(image_schema, BlockConfig(filters=3, pool=2), BlockConfig(filters=4), head=head)
    network, _ = student(model, 0).classifying()
    top = network.get_layer("temporary_output")
    assert top.kernel.shape == (features, 3)
    rows = np.random.default_rng(1).random((5, 8, 8, 1)).astype(np.float32)
    maps = predict(keras.Model(model.input, model.get_layer("block_1_pool").output), rows)
    vector = maps.mean(axis=(1, 2)) if head == "global_average" else maps.reshape(5, -1)
    logits = vector @ top.get_weights()[0]
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(predict(network, rows), expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["reconstructing", "classifying"])
def test_layers_below_are_frozen_their_statistics_too(kind, image_schema, memory_batches):
    model = cnn(image_schema, BlockConfig(filters=3, pool=2), BlockConfig(filters=4), dropout_fraction=0.5)
    learning = student(model, 1)
    network = learning.reconstructing(0.2)[0] if kind == "reconstructing" else learning.classifying()[0]
    before = learning.frozen.get_weights()
    generator = np.random.default_rng(2)
    rows = generator.random((60, 8, 8, 1)).astype(np.float32), generator.integers(0, 3, 60).astype(np.int32)
    objective = Reconstruction(1.0) if kind == "reconstructing" else task_for("classification")
    settings = TrainingSettings(2, OptimizerConfig(learning_rate=0.05), 1)
    train(network, memory_batches(*rows, 20), rows, objective, settings)
    for got, kept in zip(learning.frozen.get_weights(), before, strict=True):
        np.testing.assert_array_equal(got, kept)
    learned = network.get_layer("block_2").get_layer("block_2_bn")
    assert not np.array_equal(learned.moving_mean, np.zeros(4))


def test_masking_noise_is_a_function_of_seed_and_step():
    rows = tf.fill((200, 300), 2.0)
    layer = MaskingNoise(0.3, 5)
    first, second = layer(rows, training=True).numpy(), layer(rows, training=True).numpy()
    assert set(np.unique(first)) == {0.0, 2.0}  # nothing is scaled up
    assert np.mean(first == 0.0) == pytest.approx(0.3, abs=0.01)  # 5 standard deviations of 60,000 draws
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(layer(rows), rows)
    np.testing.assert_array_equal(MaskingNoise(0.3, 5)(rows, training=True), first)
    assert not np.array_equal(MaskingNoise(0.3, 6)(rows, training=True), first)


def test_denoising_starts_from_a_corrupted_input_and_is_judged_by_the_clean_one(image_schema):
    model = build(MlpConfig(family="mlp", units=(4,)), image_schema, "classification", 1)
    network, _ = student(model, 0).reconstructing(0.9)
    rows = np.ones((50, 8, 8, 1), np.float32)
    clean = network(rows, training=False).numpy()
    noisy = network(rows, training=True).numpy()
    assert np.all(clean == clean[0])
    assert len(np.unique(noisy)) > 40
    decoder = network.get_layer("decoding")
    hidden = np.maximum(np.ones((1, 64)) @ model.get_layer("dense_1").get_weights()[0], 0)
    restored = predict(decoder, hidden.astype(np.float32))
    assert clean[0, 0] == pytest.approx(float(np.mean((restored - 1.0) ** 2)), rel=1e-5)


def test_a_series_is_restored_step_by_step():
    """An image of width 1 behind a layer that makes it one, as convolutions along the steps of a series are built."""
    inputs = keras.Input((9, 4))
    maps = keras.layers.Reshape((9, 1, 4), name="steps")(inputs)
    maps = keras.layers.Conv2D(5, (3, 1), padding="same", activation="tanh", name="block_1_conv")(maps)
    maps = keras.layers.MaxPooling2D((2, 1), name="block_1_pool")(maps)
    vector = keras.layers.GlobalAveragePooling2D()(maps)
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax", name="output")(vector))
    assert [part.name for part in parts_of(model)] == ["block_1"]
    network, macs = student(model, 0).reconstructing(0.0)
    decoding = network.get_layer("decoding")
    assert decoding.output_shape == (None, 9, 1, 4)
    assert decoding.get_layer("decoder").kernel_size == (3, 1)
    assert decoding.get_layer("decoder").activation is keras.activations.linear  # measurements, not pixels
    assert macs == 3 * (9 * 3 * 4 * 5 + 9 * 3 * 5 * 4)

from __future__ import annotations

import re

import numpy as np
import pytest

from data.contract import ConfigError, TrainingError
from models.architectures.builder import build
from models.config import BlockConfig, CnnConfig, MlpConfig, OptimizerConfig, PretrainConfig, StopConfig
from models.layerwise import pretrain
from models.legacy_keras import keras
from models.tasks import task_for

TASK = task_for("classification")


def mlp(schema, activation="relu", units=(8, 5)):
    return build(MlpConfig(family="mlp", units=units, activation=activation), schema, "classification", 1)


def config(kind, epochs=3, **others):
    return PretrainConfig(kind=kind, epochs=epochs, optimizer=OptimizerConfig(learning_rate=0.01), **others)


@pytest.mark.parametrize("kind", ["autoencoder", "denoising_autoencoder", "supervised"])
def test_every_hidden_layer_learns_and_the_output_stays(kind, vector_schema, blobs, memory_batches, progress):
    model = mlp(vector_schema)
    before = model.get_weights()
    result = pretrain(model, memory_batches(*blobs, 16), blobs, config(kind, 6), TASK, 1, progress=progress)
    for kept, original in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(kept, original)
    assert [layer["layer"] for layer in result.layers] == ["dense_1", "dense_2"]
    for layer in result.layers:
        assert len(layer["loss"]) == len(layer["score"]) == 6
        assert layer["loss"][-1] < layer["loss"][0]
        assert layer["score"][-1] > layer["score"][0]
        changed, initial = (m.get_layer(layer["layer"]).get_weights()[0] for m in (result.model, model))
        assert not np.array_equal(changed, initial)
    for kept, original in zip(result.model.get_layer("output").get_weights(), before[-2:], strict=True):
        np.testing.assert_array_equal(kept, original)
    assert [step[0] for step in progress.steps] == ["pretrain dense_1"] * 6 + ["pretrain dense_2"] * 6


def test_a_linear_autoencoder_finds_the_principal_subspace(vector_schema, memory_batches):
    """Two units on data of two directions and a little noise explain nearly all of it (Baldi & Hornik 1989)."""
    generator = np.random.default_rng(1)
    x = 0.1 * generator.normal(size=(256, 2)) @ generator.normal(size=(2, 6)) + 0.005 * generator.normal(size=(256, 6))
    x = x.astype(np.float32)
    y = np.zeros(256, np.int32)
    model = mlp(vector_schema, "tanh", (2,))  # tanh is nearly linear in so small a range
    learned = pretrain(model, memory_batches(x, y, 32), (x, y), config("autoencoder", 40), TASK, 1)
    singular = np.linalg.svd(x - x.mean(axis=0), compute_uv=False)
    explained = (singular[:2] ** 2).sum() / (singular**2).sum()
    assert explained - 0.03 < max(learned.layers[0]["score"]) <= explained + 1e-3


@pytest.mark.parametrize(
    ("kind", "killed_after"), [("denoising_autoencoder", 2), ("denoising_autoencoder", 5), ("supervised", 3)]
)
def test_a_killed_pretraining_repeats_no_layer_and_ends_with_the_same_bits(
    kind, killed_after, image_schema, memory_batches, checkpoints, killed
):
    generator = np.random.default_rng(2)
    rows = generator.random((60, 8, 8, 1)).astype(np.float32), generator.integers(0, 3, 60).astype(np.int32)

    def run(kept):
        model, batches = mlp(image_schema), memory_batches(*rows, 16)
        return pretrain(model, batches, rows, config(kind, 2), TASK, 1, checkpoints=kept)

    whole = run(None)
    checkpoints.kill_after = killed_after  # each layer saves twice, then once as finished
    with pytest.raises(killed):
        run(checkpoints)
    places = {2: "dense_1, the end of training", 3: "dense_2", 5: "dense_2, the end of training"}
    assert checkpoints.load()[1]["resumes_at"] == places[killed_after]
    resumed = run(checkpoints)
    assert checkpoints.saves == 6
    assert resumed.layers == whole.layers
    for got, expected in zip(resumed.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_array_equal(got, expected)
    again = run(checkpoints)
    assert checkpoints.saves == 6
    for got, expected in zip(again.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_array_equal(got, expected)


BLOCKS = (
    BlockConfig(filters=3, pool=2),
    BlockConfig(filters=4, separable=True, residual=True, stride=2),
)


def cnn(schema):
    network = CnnConfig(family="cnn", blocks=BLOCKS, head_units=(5,), dropout_fraction=0.2)
    return build(network, schema, "classification", 1)


@pytest.fixture
def images():
    """60 images of three classes, of which each has its own brightness."""
    generator = np.random.default_rng(2)
    y = generator.integers(0, 3, 60).astype(np.int32)
    return (0.5 * generator.random((60, 8, 8, 1)) + y[:, None, None, None] / 4).astype(np.float32), y


@pytest.mark.parametrize("kind", ["autoencoder", "supervised"])
def test_every_block_and_head_layer_learns(kind, image_schema, images, memory_batches):
    model = cnn(image_schema)
    before = model.get_weights()
    result = pretrain(model, memory_batches(*images, 20), images, config(kind, 4), TASK, 1)
    assert all(np.array_equal(kept, original) for kept, original in zip(model.get_weights(), before, strict=True))
    assert [layer["layer"] for layer in result.layers] == ["block_1", "block_2", "dense_1"]
    for layer in result.layers:
        assert len(layer["loss"]) == len(layer["score"]) == 4
        assert layer["loss"][-1] < layer["loss"][0]
        assert layer["stopped_by"] == "epochs"
    for layer in model.layers:
        pairs = zip(result.model.get_layer(layer.name).get_weights(), layer.get_weights(), strict=True)
        same = [np.array_equal(got, initial) for got, initial in pairs]
        # The output waits for fine-tuning; a layer of dropout has a counter, and no step was taken with it.
        assert all(same) if layer.name == "output" or "dropout" in layer.name else not any(same)
    assert all(layer.trainable for layer in result.model.layers)


def test_lower_blocks_stay_as_they_were_left(image_schema, images, memory_batches, checkpoints, killed):
    """What is kept of block 1 when it is finished is what the pretrained model has, statistics of its rows included."""
    model, batches = cnn(image_schema), memory_batches(*images, 20)
    checkpoints.kill_after = 3  # two epochs, then as finished
    with pytest.raises(killed):
        pretrain(model, batches, images, config("supervised", 2), TASK, 1, checkpoints=checkpoints)
    finished = {name: array for name, array in checkpoints.load()[0].items() if name.startswith("finished/")}
    assert {name.split("/")[1] for name in finished} == {"block_1_conv", "block_1_bn"}
    whole = pretrain(model, batches, images, config("supervised", 2), TASK, 1).model
    for name, array in finished.items():
        _, layer, place = name.split("/")
        np.testing.assert_array_equal(whole.get_layer(layer).get_weights()[int(place)], array)
    assert not np.array_equal(finished["finished/block_1_bn/2"], np.zeros(3))  # the moving mean met rows


@pytest.mark.parametrize(
    ("kind", "killed_after", "place"),
    [
        ("denoising_autoencoder", 1, "block_1, epoch 2"),
        ("denoising_autoencoder", 4, "block_2, epoch 2"),
        ("supervised", 3, "block_2"),
    ],
)
def test_a_killed_pretraining_of_blocks_ends_with_the_same_bits(
    kind, killed_after, place, image_schema, images, memory_batches, checkpoints, killed
):
    def run(kept):
        model = build(CnnConfig(family="cnn", blocks=BLOCKS), image_schema, "classification", 1)
        return pretrain(model, memory_batches(*images, 16), images, config(kind, 2), TASK, 1, checkpoints=kept)

    whole = run(None)
    checkpoints.kill_after = killed_after
    with pytest.raises(killed):
        run(checkpoints)
    assert checkpoints.load()[1]["resumes_at"] == place
    resumed = run(checkpoints)
    assert checkpoints.saves == 6
    assert resumed.layers == whole.layers
    for got, expected in zip(resumed.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_patience_ends_a_layer_and_costs_less(vector_schema, blobs, memory_batches):
    """With a rate of 1e-9 no epoch is better than the first by more than rounding: the rule ends each layer early."""
    slow = OptimizerConfig(learning_rate=1e-9, schedule="constant")
    patient = PretrainConfig(kind="supervised", epochs=50, optimizer=slow, stop=StopConfig(patience=2))
    result = pretrain(mlp(vector_schema), memory_batches(*blobs, 64), blobs, patient, TASK, 1)
    for layer in result.layers:
        assert layer["stopped_by"] == "patience"
        assert len(layer["loss"]) == layer["best_epoch"] + 2 < 50
    # dense_1: 6 -> 8 under 8 -> 3; dense_2: 8 -> 5 under 5 -> 3, 48 multiply-accumulates frozen below it.
    steps = [3 * (6 * 8 + 8 * 3), 3 * (8 * 5 + 5 * 3) + 48]
    expected = [len(layer["loss"]) * 150 * step for layer, step in zip(result.layers, steps, strict=True)]
    assert [layer["macs"] for layer in result.layers] == expected
    assert result.macs == sum(expected)


def test_steps_that_cut_an_epoch_short_are_counted_as_steps(vector_schema, blobs, memory_batches):
    cut = PretrainConfig(kind="autoencoder", epochs=3, stop=StopConfig(steps=4))
    result = pretrain(mlp(vector_schema, units=(8,)), memory_batches(*blobs, 64), blobs, cut, TASK, 1)
    assert len(result.layers[0]["loss"]) == 2  # three batches, then one
    assert result.macs == 4 * 64 * 3 * (6 * 8 + 8 * 6)


def test_a_network_of_other_layers_is_refused(memory_batches):
    rows = np.zeros((4, 8, 3), np.float32), np.zeros(4, np.int32)
    inputs = keras.Input((8, 3))
    model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.LSTM(4, name="lstm")(inputs)))
    message = (
        "train.mode: expected end_to_end for a model with a layer of type LSTM (lstm), got layer_wise. "
        "Layer-wise pretraining is built for mlp and cnn."
    )
    with pytest.raises(ConfigError, match=re.escape(message)):
        pretrain(model, memory_batches(*rows, 4), rows, config("autoencoder"), TASK, 1)


def test_class_weights_hold_in_supervised_pretraining(vector_schema, memory_batches):
    """Equal weights change nothing; a class that weighs nine times as much makes the mean loss larger."""
    generator = np.random.default_rng(2)
    y = np.repeat(np.arange(3), 40).astype(np.int32)
    x = (generator.normal(size=(120, 6)) + y[:, None]).astype(np.float32)

    def learned(weights):
        model = mlp(vector_schema)
        batches = memory_batches(x, y, 120)
        return pretrain(model, batches, (x, y), config("supervised", 2), TASK, 1, class_weights=weights)

    equal, uneven = learned((1.0, 1.0, 1.0)), learned((1.0, 1.0, 9.0))
    for got, expected in zip(equal.model.get_weights(), learned(None).model.get_weights(), strict=True):
        np.testing.assert_array_equal(got, expected)
    assert uneven.layers[0]["loss"][0] > 1.5 * equal.layers[0]["loss"][0]


def test_messages_name_the_section_that_can_be_changed(vector_schema, blobs, memory_batches):
    """Progress calls the training `pretrain dense_1`; a config has no such field."""
    for optimizer, message in (
        (OptimizerConfig(warmup_steps=10), "pretrain.optimizer.warmup_steps: expected fewer than the 10 steps"),
        (OptimizerConfig(name="sgd", learning_rate=10.0), "pretrain.optimizer.learning_rate: expected one that keeps"),
    ):
        section = PretrainConfig(kind="autoencoder", epochs=1, optimizer=optimizer)
        rows = (blobs[0] * np.float32(1e20), blobs[1])
        with pytest.raises(TrainingError, match=f"^{re.escape(message)}"):
            pretrain(mlp(vector_schema), memory_batches(*rows, 16), rows, section, TASK, 1)

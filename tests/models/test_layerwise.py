from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from models.layer_batches import LayerBatches, activations

from data.contract import ConfigError
from models.architectures.builder import build
from models.config import CnnConfig, MlpConfig, OptimizerConfig, PretrainConfig
from models.layerwise import pretrain
from models.legacy_keras import keras
from models.prediction import predict
from models.tasks import task_for

TASK = task_for("classification")
ROOT = Path(__file__).resolve().parents[2]


def mlp(schema, activation="relu", units=(8, 5)):
    return build(MlpConfig(family="mlp", units=units, activation=activation), schema, "classification", 1)


def config(kind, epochs=3, **others):
    return PretrainConfig(kind=kind, epochs=epochs, optimizer=OptimizerConfig(learning_rate=0.01), **others)


@pytest.mark.parametrize("activation", ["relu", "relu6", "sigmoid", "tanh"])
def test_activations_are_those_of_keras(activation, image_schema):
    model = mlp(image_schema, activation, units=(20, 9))
    x = 4 * np.random.default_rng(1).random((7, 8, 8, 1)).astype(np.float32)
    hidden = keras.Model(model.input, model.get_layer("dense_2").output)
    below = [(*model.get_layer(name).get_weights(), activation) for name in ("dense_1", "dense_2")]
    np.testing.assert_allclose(activations(x, below), predict(hidden, x), atol=2e-5)
    assert activations(x, below).dtype == np.float32
    np.testing.assert_array_equal(activations(x, []), x.reshape(7, 64))


def test_masking_noise_is_a_function_of_seed_epoch_and_batch(blobs, memory_batches):
    rows = np.full((2000, 6), 2.0, np.float32), np.zeros(2000, np.int32)
    batches = LayerBatches(memory_batches(*rows, 1000), [], True, 0.3, seed=4)
    x, clean = batches.batch(2, 1)
    assert np.all(clean == 2.0)
    assert set(np.unique(x)) == {0.0, 2.0}
    assert x.dtype == np.float32
    assert np.mean(x == 0.0) == pytest.approx(0.3, abs=0.02)  # 6,000 draws: a standard deviation of 0.006
    np.testing.assert_array_equal(x, batches.batch(2, 1)[0])
    others = [batches.batch(1, 1)[0], batches.batch(2, 0)[0]]
    others.append(LayerBatches(memory_batches(*rows, 1000), [], True, 0.3, seed=5).batch(2, 1)[0])
    assert not any(np.array_equal(x, other) for other in others)


def test_layers_meet_what_the_layers_below_answer(blobs, memory_batches):
    below = [(np.eye(6, 3, dtype=np.float32), np.zeros(3, np.float32), "relu")]
    inner = memory_batches(*blobs, 64)
    x, y = LayerBatches(inner, below, False, 0.0, 1).batch(0, 2)
    rows, labels = inner.batch(0, 2)
    np.testing.assert_array_equal(x, np.maximum(rows[:, :3], 0))
    np.testing.assert_array_equal(y, labels)


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


@pytest.mark.parametrize("kind", ["denoising_autoencoder", "supervised"])
@pytest.mark.parametrize("killed_after", [2, 3, 5])
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


def test_a_convolutional_network_is_refused(image_schema, memory_batches):
    rows = np.zeros((4, 8, 8, 1), np.float32), np.zeros(4, np.int32)
    model = build(CnnConfig(family="cnn"), image_schema, "classification", 1)
    message = "train.mode: expected end_to_end for a model with a layer of type Conv2D (block_1_conv), got layer_wise."
    with pytest.raises(ConfigError, match=re.escape(message)):
        pretrain(model, memory_batches(*rows, 4), rows, config("autoencoder"), TASK, 1)


def test_lower_layers_give_the_same_bits_under_any_number_of_threads():
    """OpenBLAS splits a product among its threads, and their sums differ in the last bits."""
    program = (
        "import hashlib, numpy as np; from models.layer_batches import activations\n"
        "g = np.random.default_rng(0); x = g.normal(size=(128, 784)).astype('f')\n"
        "below = [(g.normal(size=(784, 300)).astype('f'), g.normal(size=300).astype('f'), 'tanh')]\n"
        "print(hashlib.sha256(activations(x, below).tobytes()).hexdigest())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={**os.environ, "OPENBLAS_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "2", "4")
    }
    assert len(found) == 1


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

"""Autoencoders: their shape, their parameters, and what of them runs in int8."""

from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import r2_score

from data.contract import ConfigError, Schema
from models.architectures.builder import build
from models.autoencoder_config import AutoencoderBlockConfig, AutoencoderConfig
from models.config import LossConfig
from models.legacy_keras import keras
from models.prediction import predict
from models.pruning.graph import node_graph
from models.shapes import encoder_shapes, num_weights
from models.tasks import task_for
from models.tflite.audit import operators
from models.tflite.convert import convert
from models.tflite.interpreter import LiteRT
from models.tflite.micro import MicroResult, run_micro

Block = AutoencoderBlockConfig
ODD = AutoencoderConfig(
    family="autoencoder",
    kind="convolutional",
    blocks=(Block(filters=4, pool=2), Block(filters=6, pool=3, kernel=5, batch_normalization=False)),
    bottleneck=3,
)


def dense(**fields: Any) -> AutoencoderConfig:
    return AutoencoderConfig(family="autoencoder", **fields)


def image(shape: tuple[int, int, int]) -> Schema:
    return Schema(
        kind="image",
        input_shape=shape,
        input_range=(0.0, 1.0),
        storage_divisor=255.0,
        class_names=(),
        target_name="class",
    )


def test_a_dense_autoencoder_mirrors_its_encoder(image_schema):
    model = build(dense(units=(20, 10), bottleneck=4), image_schema, "reconstruction", 1)
    names = ["input", "flatten", "encoder_1", "encoder_2", "bottleneck", "decoder_2", "decoder_1", "output"]
    assert [layer.name for layer in model.layers] == names
    units = [layer.units for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    assert units == [20, 10, 4, 10, 20, 64]
    assert model.count_params() == 65 * 20 + 21 * 10 + 11 * 4 + 5 * 10 + 11 * 20 + 21 * 64
    assert model.get_layer("bottleneck").activation is model.get_layer("output").activation is keras.activations.linear
    assert model.output_shape == (None, 64)


def test_without_hidden_layers_two_linear_layers_are_left(vector_schema):
    model = build(dense(units=(), bottleneck=2), vector_schema, "reconstruction", 1)
    assert [layer.name for layer in model.layers] == ["input", "bottleneck", "output"]
    assert model.count_params() == 7 * 2 + 3 * 6


def test_a_convolutional_autoencoder_gives_odd_sides_back():
    schema = image((7, 10, 1))
    assert encoder_shapes(ODD, (7, 10, 1)) == [(4, 5, 4), (2, 2, 6)]
    model = build(ODD, schema, "reconstruction", 1)
    assert [model.get_layer(name).output_shape[1:] for name in ("encoder_1_pool", "encoder_2_pool")] == [
        (4, 5, 4),
        (2, 2, 6),
    ]
    assert model.get_layer("decoder_2_upsampling").output_shape[1:] == (6, 6, 6)
    assert model.get_layer("decoder_2_crop").output_shape[1:] == (4, 5, 6)
    assert model.get_layer("decoder_1_crop").output_shape[1:] == (7, 10, 4)
    assert model.output_shape == (None, 70)
    # conv 9*4, normalization 4*4; conv 25*4*6 + 6; 24 -> 3 -> 24; conv 25*6*4 + 4; conv 9*4 + 1
    assert model.count_params() == 36 + 16 + 606 + 75 + 96 + 604 + 37
    kernels = 36 + 600 + 72
    assert num_weights(ODD, (7, 10, 1)) == 2 * kernels


@pytest.mark.parametrize(
    ("config", "shape"), [(dense(units=(20, 10), bottleneck=4), (8, 8, 1)), (dense(units=()), (100,)), (ODD, (9, 9, 3))]
)
def test_weights_are_counted_without_building(config, shape):
    schema = image(shape) if len(shape) == 3 else image((1, 1, 1)).model_copy(update={"input_shape": shape})
    model = build(config, schema, "reconstruction", 1)
    assert num_weights(config, shape) == sum(
        layer.kernel.numpy().size for layer in model.layers if layer.weights and hasattr(layer, "kernel")
    )


def test_a_layer_starts_alike_whatever_is_around_it(image_schema):
    small, large = (build(dense(units=(12, width)), image_schema, "reconstruction", 3) for width in (4, 9))
    np.testing.assert_array_equal(*(model.get_layer("encoder_1").kernel for model in (small, large)))
    other = build(dense(units=(12, 4)), image_schema, "reconstruction", 4)
    assert (other.get_layer("encoder_1").kernel.numpy() != small.get_layer("encoder_1").kernel.numpy()).any()


def test_one_number_less_than_the_input_is_the_widest_bottleneck(vector_schema):
    assert build(dense(bottleneck=5), vector_schema, "reconstruction", 1).get_layer("bottleneck").units == 5


@pytest.mark.parametrize(
    ("config", "shape", "message"),
    [
        (
            dense(bottleneck=64),
            (8, 8, 1),
            "model.bottleneck: expected fewer than the 64 numbers of an input, got 64. What is as wide as the input "
            "copies it, and learns nothing.",
        ),
        (
            ODD,
            (70,),
            "model.kind: expected dense for inputs that are no images, got convolutional with inputs of shape (70,). "
            "Set model.kind to dense, or give the data as images.",
        ),
        (ODD, (30, 4), "model.kind: expected dense for inputs that are no images, got convolutional"),
        (
            ODD,
            (3, 3, 1),
            "model.blocks[1].pool: expected a feature map of at least 3x3, got 2x2. Remove this pooling or an earlier "
            "one, or use larger images.",
        ),
    ],
)
def test_impossible_shapes_are_refused(config, shape, message):
    schema = image((8, 8, 1)).model_copy(update={"input_shape": shape})
    with pytest.raises(ConfigError, match=re.escape(message)):
        build(config, schema, "reconstruction", 1)


def drawn(config: AutoencoderConfig, schema: Schema) -> Any:
    """Weights from NumPy, large enough for every activation to be alive."""
    model = build(config, schema, "reconstruction", 1)
    generator = np.random.default_rng(2)
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            fan_in = layer.kernel.numpy().size / layer.kernel.shape[-1]
            kernel, *bias = layer.get_weights()
            layer.set_weights([generator.normal(0, 1.4 / fan_in**0.5, kernel.shape), *(b + 0.1 for b in bias)])
    return model


@pytest.mark.parametrize(("config", "kind"), [(dense(units=(24, 12), bottleneck=6), "dense"), (ODD, "convolutional")])
def test_int8_runs_in_litert_and_tflite_micro(config, kind):
    schema = image((7, 10, 1))
    model = drawn(config, schema)
    x = (np.random.default_rng(4).integers(0, 256, (60, 7, 10, 1)) / 255).astype(np.float32)
    file = convert(model, "int8", x[:40])
    wanted = {"RESHAPE", "FULLY_CONNECTED"} | (
        {"CONV_2D", "MAX_POOL_2D", "RESIZE_NEAREST_NEIGHBOR", "STRIDED_SLICE"} if kind == "convolutional" else set()
    )
    assert set(operators(file)) == wanted
    runtime = LiteRT(file)
    keras_outputs, outputs = predict(model, x), runtime.predict(x)
    assert np.sqrt(np.mean((outputs - keras_outputs) ** 2)) < 0.1 * keras_outputs.std()
    quantized = runtime.quantize(x)
    micro = run_micro(file, quantized)
    assert isinstance(micro, MicroResult)
    apart = np.abs(micro.outputs.astype(int) - runtime.invoke(quantized))
    assert np.sqrt(np.mean(apart**2, axis=1)).max() <= 2


def test_what_pruning_of_nodes_may_remove():
    graph = node_graph(build(ODD, image((7, 10, 1)), "reconstruction", 1))
    nodes = {group.name: len(group.nodes) for group in graph.groups}
    assert nodes == {"encoder_1_conv": 4, "encoder_2_conv": 6, "bottleneck": 3, "decoder_2_conv": 4}
    # The dense layer below the decoder's maps makes places, not channels: it stays whole, and so does the output.
    assert "decoder_maps" in graph.left_out


def test_the_loss_is_the_mean_over_rows_of_the_mean_over_columns():
    generator = np.random.default_rng(1)
    y, outputs = (generator.normal(size=(4, 3)).astype(np.float32) for _ in range(2))
    weights = np.array([1.0, 0.5, 2.0, 0.0], np.float32)
    slow = 0.0
    for i, j in itertools.product(range(4), range(3)):
        slow += weights[i] * (y[i, j] - outputs[i, j]) ** 2 / 12
    task = task_for("reconstruction")
    assert float(task.loss(y, outputs, weights)) == pytest.approx(slow, rel=1e-5)
    absolute = task_for("reconstruction", LossConfig(name="mae"))
    assert float(absolute.loss(y, outputs, None)) == pytest.approx(np.abs(y - outputs).mean(), rel=1e-6)
    huber = task_for("reconstruction", LossConfig(name="huber", huber_delta=0.5))
    size = np.abs(y - outputs)
    by_hand = np.where(size <= 0.5, size**2 / 2, 0.5 * (size - 0.25)).mean()
    assert float(huber.loss(y, outputs, None)) == pytest.approx(by_hand, rel=1e-5)


def test_the_score_weighs_columns_by_their_variance():
    generator = np.random.default_rng(1)
    y = generator.normal(size=(30, 3)) * [1, 10, 0.1]
    outputs = y + generator.normal(size=(30, 3)) * 0.3
    score = task_for("reconstruction").score(y, outputs)
    assert score == pytest.approx(r2_score(y, outputs, multioutput="variance_weighted"), abs=1e-12)
    assert task_for("reconstruction").score(y, np.broadcast_to(y.mean(0), y.shape)) == pytest.approx(0, abs=1e-12)

from __future__ import annotations

import re

import numpy as np
import pytest

from data.contract import ConfigError
from models.architectures.builder import build
from models.config import BlockConfig, CnnConfig, LinearConfig, MlpConfig
from models.legacy_keras import clone, keras
from models.prediction import predict
from models.pruning.graph import node_graph
from models.shapes import num_weights
from models.tflite.convert import convert
from models.tflite.micro import MicroResult, run_micro


def parameters(config, schema, task="classification"):
    return build(config, schema, task, 1).count_params()


def test_parameter_counts_of_mlps(vector_schema, image_schema):
    # Each layer: (inputs and a bias) for each unit, 7 x 64, 65 x 64, 65 x 32, 33 x 3.
    assert parameters(MlpConfig(family="mlp"), vector_schema) == 448 + 4160 + 2080 + 99
    # 64 pixels; regression has one unit
    assert parameters(MlpConfig(family="mlp", units=(10,)), image_schema, "regression") == 650 + 11
    lecun = image_schema.model_copy(update={"input_shape": (28, 28, 1), "class_names": tuple("0123456789")})
    assert parameters(MlpConfig(family="mlp", units=(300, 100)), lecun) == 266_610


def test_parameter_counts_of_cnns(image_schema):
    # 9*16 + 4*16, 9*16*32 + 4*32, 33*3: no bias before batch normalization
    assert parameters(CnnConfig(family="cnn"), image_schema) == 144 + 64 + 4608 + 128 + 99
    blocks = (
        BlockConfig(filters=4, batch_normalization=False),
        BlockConfig(filters=8, separable=True, pool=2),
        BlockConfig(filters=2, separable=True, batch_normalization=False),
    )
    config = CnnConfig(family="cnn", blocks=blocks, head="dense", head_units=(5,))
    # conv 9*4+4; depthwise 9*4 + 4*4, pointwise 4*8 + 4*8; depthwise 9*8+8, pointwise 8*2+2; dense 4*4*2 -> 5 -> 3
    assert parameters(config, image_schema) == 40 + 36 + 16 + 32 + 32 + 80 + 18 + 165 + 18


def test_parameter_counts_of_linear_models(vector_schema, image_schema):
    assert parameters(LinearConfig(family="linear"), vector_schema) == 7 * 3
    assert parameters(LinearConfig(family="linear"), image_schema, "regression") == 65
    names = [layer.name for layer in build(LinearConfig(family="linear"), image_schema, "classification", 1).layers]
    assert names == ["input", "flatten", "output"]


def test_residual_blocks(image_schema):
    """The second block adds its input as it is; the third, of another shape, through a 1x1 convolution."""
    blocks = (
        BlockConfig(filters=4),
        BlockConfig(filters=4, residual=True),
        BlockConfig(filters=6, residual=True, stride=2, separable=True),
    )
    config = CnnConfig(family="cnn", blocks=blocks)
    model = build(config, image_schema, "classification", 1)
    # conv 36 + 16; conv 144 + 16; depthwise 36 + 16, pointwise 24 + 24, shortcut 24 + 24; 6 x 3 + 3
    assert model.count_params() == 52 + 160 + 52 + 48 + 48 + 21
    assert num_weights(config, (8, 8, 1)) == 36 + 144 + 36 + 24 + 24
    names = [layer.name for layer in model.layers]
    assert "block_2_shortcut" not in names
    assert {"block_2_add", "block_3_add", "block_3_shortcut", "block_3_shortcut_bn"} <= set(names)
    x = np.random.default_rng(1).random((2, 8, 8, 1), dtype=np.float32)

    def answer(name):
        return predict(keras.Model(model.inputs, model.get_layer(name).output), x)

    expected = np.maximum(answer("block_2_bn") + answer("block_1_activation"), 0)
    np.testing.assert_allclose(answer("block_2_activation"), expected, atol=1e-6)
    assert answer("block_3_pointwise_activation").shape == (2, 4, 4, 6)
    shared = next(group for group in node_graph(model).groups if "block_2_conv" in group.layers)
    assert shared.layers == ("block_1_conv", "block_2_conv")


def test_a_residual_block_keeps_its_size(image_schema):
    config = CnnConfig(family="cnn", blocks=(BlockConfig(filters=4, residual=True, padding="valid"),))
    with pytest.raises(ConfigError, match=re.escape("model.blocks[0].residual: expected it with padding same alone")):
        build(config, image_schema, "classification", 1)


def test_layer_names_are_stable(image_schema):
    blocks = (BlockConfig(filters=4, pool=2), BlockConfig(filters=8, separable=True))
    config = CnnConfig(family="cnn", blocks=blocks, head_units=(5,))
    expected = [
        "input",
        *("block_1_conv", "block_1_bn", "block_1_activation", "block_1_pool"),
        *("block_2_depthwise", "block_2_depthwise_bn", "block_2_depthwise_activation"),
        *("block_2_pointwise", "block_2_pointwise_bn", "block_2_pointwise_activation"),
        *("global_average", "dense_1", "output"),
    ]
    for _ in range(2):
        assert [layer.name for layer in build(config, image_schema, "classification", 1).layers] == expected
    mlp = build(MlpConfig(family="mlp"), image_schema, "classification", 1)
    assert [layer.name for layer in mlp.layers] == ["input", "flatten", "dense_1", "dense_2", "dense_3", "output"]


def test_weights_follow_seed_and_layer_name_alone(vector_schema):
    first = build(MlpConfig(family="mlp", units=(8, 8)), vector_schema, "classification", 5)
    same = build(MlpConfig(family="mlp", units=(8, 8, 8)), vector_schema, "classification", 5)
    other = build(MlpConfig(family="mlp", units=(8, 8)), vector_schema, "classification", 6)
    assert np.array_equal(first.layers[1].get_weights()[0], same.layers[1].get_weights()[0])
    assert not np.array_equal(first.layers[1].get_weights()[0], other.layers[1].get_weights()[0])


@pytest.mark.parametrize(
    ("activation", "limit"), [("relu", np.sqrt(6 / 6)), ("relu6", np.sqrt(6 / 6)), ("tanh", np.sqrt(6 / (6 + 400)))]
)
def test_initial_range_fits_the_activation(activation, limit, vector_schema):
    config = MlpConfig(family="mlp", units=(400,), activation=activation)
    kernel = build(config, vector_schema, "classification", 1).get_layer("dense_1").get_weights()[0]
    assert 0.98 * limit < np.abs(kernel).max() <= limit


def test_depthwise_kernel_starts_with_its_own_fan_in(image_schema):
    schema = image_schema.model_copy(update={"input_shape": (8, 8, 64)})
    config = CnnConfig(family="cnn", blocks=(BlockConfig(filters=4, separable=True),))
    kernel = build(config, schema, "classification", 1).get_layer("block_1_depthwise").get_weights()[0]
    limit = np.sqrt(6 / 9)
    assert 0.98 * limit < np.abs(kernel).max() <= limit


def test_outputs_are_probabilities_or_one_value(vector_schema):
    x = np.random.default_rng(1).normal(size=(5, 6)).astype(np.float32)
    model = build(MlpConfig(family="mlp"), vector_schema, "classification", 1)
    np.testing.assert_allclose(predict(model, x, batch_size=2).sum(axis=1), np.ones(5), atol=1e-6)
    assert predict(build(MlpConfig(family="mlp"), vector_schema, "regression", 1), x).shape == (5, 1)
    np.testing.assert_array_equal(predict(clone(model), x), predict(model, x))


def test_classification_without_classes_is_refused(vector_schema):
    schema = vector_schema.model_copy(update={"class_names": ()})
    message = "task: expected regression for data without classes, got classification with 0 classes."
    with pytest.raises(ConfigError, match=re.escape(message)):
        build(MlpConfig(family="mlp"), schema, "classification", 1)


@pytest.mark.parametrize(
    "config",
    [
        MlpConfig(family="mlp", units=(8,), activation="tanh"),
        CnnConfig(
            family="cnn",
            blocks=(BlockConfig(filters=4, pool=2), BlockConfig(filters=6, separable=True)),
            activation="relu6",
        ),
        CnnConfig(family="cnn", blocks=(BlockConfig(filters=4, stride=2),), head="dense", head_units=(5,)),
    ],
    ids=["mlp", "separable", "dense-head"],
)
def test_int8_models_run_in_tflite_micro(config, image_schema):
    rows = np.random.default_rng(1).integers(0, 256, (16, 8, 8, 1)).astype(np.float32) / np.float32(255)
    rows[0, 0, 0, 0], rows[0, 0, 1, 0] = 0.0, 1.0
    model = build(config, image_schema, "classification", 1)
    result = run_micro(convert(model, "int8", rows), np.round(rows[:4] * 255 - 128).astype(np.int8))
    assert isinstance(result, MicroResult), result
    probabilities = (result.outputs.astype(np.float32) + 128) / 256
    np.testing.assert_allclose(probabilities.reshape(4, 3), predict(model, rows[:4]), atol=0.03)


@pytest.mark.parametrize("activation", ["relu", "relu6", "sigmoid", "tanh"])
def test_every_activation_is_inferred_behind_batch_normalization(image_schema, activation):
    # TensorFlow's graph optimizer used to fuse batch normalization with tanh into a kernel that is not there.
    config = CnnConfig(family="cnn", activation=activation, blocks=(BlockConfig(filters=4),))
    model = build(config, image_schema, "classification", 1)
    x = np.random.default_rng(1).random((5, *image_schema.input_shape), dtype=np.float32)
    np.testing.assert_allclose(predict(model, x), model(x, training=False).numpy(), atol=1e-6)

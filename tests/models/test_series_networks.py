"""Networks on series: 1-D convolutions by hand, their shapes, and all that prunes, quantizes and converts them."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from data.contract import ConfigError, Schema
from models.architectures.builder import build
from models.config import BlockConfig, CnnConfig, LinearConfig, MlpConfig
from models.fake_quantization import observe, ranges_of, rounding_twin
from models.legacy_keras import keras
from models.measurements import count_macs
from models.prediction import predict
from models.pruning.graph import node_graph
from models.pruning.inputs import constant_inputs, remove_constant_inputs
from models.pruning.kernels import prunable_kernels
from models.pruning.surgery import remove_nodes
from models.shapes import check_shapes, feature_map_shapes, num_weights
from models.tflite import audit
from models.tflite.convert import convert
from models.tflite.interpreter import LiteRT
from models.tflite.micro import MicroResult, run_micro

STEPS, CHANNELS = 20, 3
ROWS = np.random.default_rng(0).normal(size=(60, STEPS, CHANNELS)).astype(np.float32)
BLOCKS = (
    BlockConfig(filters=6, kernel=5, pool=2),
    BlockConfig(filters=6, kernel=3, separable=True, residual=True),
    BlockConfig(filters=8, kernel=3, stride=2, separable=True, residual=True),
)


@pytest.fixture
def series_schema() -> Schema:
    return Schema(
        kind="series",
        input_shape=(STEPS, CHANNELS),
        input_range=None,
        storage_divisor=1.0,
        class_names=("a", "b", "c"),
        target_name="class",
        channel_names=("x", "y", "z"),
    )


@pytest.fixture
def network(series_schema: Schema) -> Any:
    model = build(CnnConfig(family="cnn", blocks=BLOCKS, head_units=(7,)), series_schema, "classification", 1)
    generator = np.random.default_rng(2)
    for layer in model.layers:  # statistics as training would leave them
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_mean.assign(generator.normal(0, 0.1, layer.moving_mean.shape))
            layer.moving_variance.assign(generator.uniform(0.5, 1.5, layer.moving_variance.shape))
    return model


def test_a_block_is_a_convolution_over_time(series_schema):
    block = BlockConfig(filters=4, kernel=3, padding="valid", stride=2, batch_normalization=False, pool=2)
    model = build(CnnConfig(family="cnn", blocks=(block,)), series_schema, "classification", 1)
    kernel, bias = model.get_layer("block_1_conv").get_weights()
    assert kernel.shape == (3, 1, CHANNELS, 4)
    bias = np.arange(4, dtype=np.float32) / 10
    model.get_layer("block_1_conv").set_weights([kernel, bias])
    found = predict(keras.Model(model.inputs, model.get_layer("block_1_pool").output), ROWS[:5])
    for row, maps in zip(ROWS[:5].astype(np.float64), found, strict=True):
        convolved = [
            [
                max(0.0, float((row[step : step + 3] * kernel[:, 0, :, filter_]).sum() + bias[filter_]))
                for filter_ in range(4)
            ]
            for step in range(0, STEPS - 2, 2)
        ]
        pooled = np.array(convolved[:8]).reshape(4, 2, 4).max(axis=1)
        np.testing.assert_allclose(maps[:, 0], pooled, atol=1e-5)


def test_depthwise_convolutions_step_as_others_do(series_schema):
    """TensorFlow refuses depthwise strides that differ by direction; a width of 1 stays 1 under any stride."""
    block = BlockConfig(filters=4, kernel=3, stride=2, separable=True, batch_normalization=False)
    model = build(CnnConfig(family="cnn", blocks=(block,)), series_schema, "classification", 1)
    kernel = model.get_layer("block_1_depthwise").get_weights()[0]
    assert kernel.shape == (3, 1, CHANNELS, 1)
    found = predict(keras.Model(model.inputs, model.get_layer("block_1_depthwise").output), ROWS[:3])
    # padding same, stride 2 of 20 steps: one zero behind, none before
    padded = np.pad(ROWS[:3], ((0, 0), (0, 1), (0, 0)))
    expected = [(padded[:, step : step + 3] * kernel[:, 0, :, 0]).sum(axis=1) for step in range(0, STEPS, 2)]
    np.testing.assert_allclose(found[:, :, 0], np.stack(expected, axis=1), atol=1e-5)


def test_parameters_and_macs(network, series_schema):
    # conv 5*3*6 + bn; depthwise 3*6 + bn, pointwise 6*6 + bn; depthwise 3*6 + bn, pointwise 6*8 + bn, shortcut 6*8 + bn
    normalized = 4 * (6 + 6 + 6 + 6 + 8 + 8)
    kernels = 90 + 18 + 36 + 18 + 48 + 48
    assert network.count_params() == kernels + normalized + (8 * 7 + 7) + (7 * 3 + 3)
    assert num_weights(CnnConfig(family="cnn", blocks=BLOCKS, head_units=(7,)), (STEPS, CHANNELS)) == kernels + 8 * 7
    # 20 positions, pooled to 10, strided to 5
    assert count_macs(network) == 20 * 90 + 10 * (18 + 36) + 5 * (18 + 48 + 48) + 56 + 21
    assert [layer.name for layer in network.layers[:3]] == ["input", "steps", "block_1_conv"]
    for config, expected in (
        (LinearConfig(family="linear"), 60 * 3 + 3),
        (MlpConfig(family="mlp", units=(4,)), 244 + 15),
    ):
        assert build(config, series_schema, "classification", 1).count_params() == expected


def test_initial_range_fits_what_is_summed(series_schema):
    config = CnnConfig(family="cnn", blocks=(BlockConfig(filters=64, kernel=9),))
    kernel = build(config, series_schema, "classification", 1).get_layer("block_1_conv").get_weights()[0]
    limit = np.sqrt(6 / (9 * CHANNELS))
    assert 0.98 * limit < np.abs(kernel).max() <= limit
    wide = series_schema.model_copy(update={"input_shape": (STEPS, 64)})
    config = CnnConfig(family="cnn", blocks=(BlockConfig(filters=4, kernel=5, separable=True),))
    kernel = build(config, wide, "classification", 1).get_layer("block_1_depthwise").get_weights()[0]
    assert 0.98 * np.sqrt(6 / 5) < np.abs(kernel).max() <= np.sqrt(6 / 5)


@pytest.mark.parametrize(
    "blocks",
    [
        BLOCKS,
        (BlockConfig(filters=4, stride=2), BlockConfig(filters=6, kernel=2, padding="valid", pool=3)),
        (BlockConfig(filters=4, kernel=5, stride=3, padding="valid"), BlockConfig(filters=2, kernel=4, stride=2)),
        (BlockConfig(filters=4, separable=True, stride=2, padding="valid"), BlockConfig(filters=5, pool=2)),
    ],
)
def test_shapes_are_those_that_keras_computes(blocks, series_schema):
    config = CnnConfig(family="cnn", blocks=blocks)
    model = build(config, series_schema, "classification", 1)
    found = [
        [layer for layer in model.layers if layer.name.startswith(f"block_{number}_")][-1].output_shape[1:]
        for number in range(1, len(blocks) + 1)
    ]
    assert feature_map_shapes(config, (STEPS, CHANNELS)) == found


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        (
            (BlockConfig(filters=4, pool=4), BlockConfig(filters=4, pool=8)),
            "model.blocks[1].pool: expected a feature map of at least 8x1, got 5x1 from the convolution of block 2. "
            "Remove this pooling or an earlier one, lower a stride, or use longer windows.",
        ),
        (
            (BlockConfig(filters=4, pool=4), BlockConfig(filters=4, kernel=7, padding="valid")),
            "model.blocks[1].kernel: expected a feature map of at least 7x1 for padding valid, got 5x1 after block 1. "
            "Set its padding to same, use a smaller kernel, or remove an earlier pooling.",
        ),
    ],
)
def test_windows_too_short_for_the_blocks(blocks, message):
    for channels in (CHANNELS, -1):  # what the config says of channels may be nothing
        with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
            check_shapes(CnnConfig(family="cnn", blocks=blocks), (STEPS, channels))


def test_int8_takes_the_window_as_it_is(network):
    file = convert(network, "int8", ROWS)
    runtime = LiteRT(file)
    assert (runtime.input.shape, runtime.input.dtype) == ((1, STEPS, CHANNELS), np.int8)
    assert set(audit.operators(file)) == {
        "ADD", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "MAX_POOL_2D", "MEAN", "RESHAPE", "SOFTMAX",
    }  # fmt: skip
    assert audit.operators(file)[0] == "RESHAPE"
    assert audit.float_operators(file) == []
    np.testing.assert_allclose(runtime.predict(ROWS), predict(network, ROWS), atol=0.05)
    inputs = runtime.quantize(ROWS)
    micro = run_micro(file, inputs)
    assert isinstance(micro, MicroResult), micro
    assert np.abs(micro.outputs.astype(int) - runtime.invoke(inputs).astype(int)).max() <= 1


def test_filters_leave_behind_the_reshape(network):
    graph = node_graph(network)
    assert graph.left_out == {}
    groups = {group.name: group for group in graph.groups}
    # the second block adds its input: its filters go with those of the first
    assert list(groups) == ["block_1_conv + block_2_pointwise", "block_3_shortcut + block_3_pointwise", "dense_1"]
    removed = np.sort([groups["block_1_conv + block_2_pointwise"].nodes[0], groups["dense_1"].nodes[3]])
    for name, nodes in graph.layers.items():  # what reads them no longer does
        gone = np.isin(nodes.inputs, removed)
        layer = network.get_layer(name)
        kernel = "depthwise_kernel" if "depthwise" in name else "kernel"
        if gone.any() and hasattr(layer, kernel):
            values = getattr(layer, kernel).numpy()
            values[..., gone, :] = 0.0
            getattr(layer, kernel).assign(values)
    smaller = remove_nodes(network, graph, removed)
    assert smaller.get_layer("steps").output_shape == (None, STEPS, 1, CHANNELS)
    assert smaller.get_layer("block_1_conv").kernel.shape == (5, 1, CHANNELS, 5)
    np.testing.assert_allclose(predict(smaller, ROWS), predict(network, ROWS), atol=1e-5)
    file = convert(smaller, "int8", ROWS)
    assert isinstance(run_micro(file, LiteRT(file).quantize(ROWS[:2])), MicroResult)


def test_kernels_are_pruned_and_rounded_as_those_of_images(network):
    found = prunable_kernels(network)
    assert {"block_1_conv", "block_2_pointwise", "block_3_shortcut", "dense_1"} <= set(found.kernels)
    twin = rounding_twin(network, {}, {})
    observe(twin, ROWS)
    twin = rounding_twin(network, ranges_of(twin), {})
    np.testing.assert_allclose(twin(ROWS, training=False).numpy(), predict(network, ROWS), atol=0.05)


def test_steps_that_never_change_leave_a_dense_network(series_schema):
    rows = ROWS.copy()
    rows[:, :, 1] = 0.25
    rows[:, 4, 2] = -1.0
    model = build(MlpConfig(family="mlp", units=(6,)), series_schema, "classification", 1)
    smaller, kept = remove_constant_inputs(model, constant_inputs([rows]))
    assert kept == tuple(
        step * CHANNELS + channel for step in range(STEPS) for channel in (0, 2) if (step, channel) != (4, 2)
    )
    flat = rows.reshape(len(rows), -1)[:, kept]
    np.testing.assert_allclose(predict(smaller, flat), predict(model, rows), atol=1e-6)


def test_a_convolution_reads_every_step(network):
    with pytest.raises(ConfigError, match=r"^prune\.inputs: expected 'all' where another layer than a dense one reads"):
        remove_constant_inputs(network, constant_inputs([ROWS]))

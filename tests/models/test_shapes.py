from __future__ import annotations

import re

import numpy as np
import pytest

from data.contract import ConfigError
from models.architectures.builder import build
from models.config import BlockConfig, CnnConfig, MlpConfig
from models.shapes import check_shapes, feature_map_shapes, num_weights


def cnn(*blocks: BlockConfig) -> CnnConfig:
    return CnnConfig(family="cnn", blocks=blocks)


@pytest.mark.parametrize("shape", [(-1,), (7,), (8, 8, 1)])
def test_mlp_takes_vectors_and_images(shape):
    check_shapes(MlpConfig(family="mlp"), shape)


@pytest.mark.parametrize(
    ("blocks", "shape", "message"),
    [
        ([BlockConfig(filters=4)], (-1,), "model.family: expected mlp for a vector, got cnn with inputs of shape (?,)"),
        ([BlockConfig(filters=4)], (7,), "model.family: expected mlp for a vector, got cnn with inputs of shape (7,)."),
        (
            [BlockConfig(filters=4, pool=2), BlockConfig(filters=4, pool=4), BlockConfig(filters=4, pool=2)],
            (8, 8, 1),
            "model.blocks[2].pool: expected a feature map of at least 2x2, got 1x1 from the convolution of block 3. "
            "Remove",
        ),
        (
            [BlockConfig(filters=4, pool=2), BlockConfig(filters=4, kernel=5, padding="valid")],
            (9, 8, 1),
            "model.blocks[1].kernel: expected a feature map of at least 5x5 for padding valid, got 4x4 after block 1. "
            "Set",
        ),
        (
            [BlockConfig(filters=4, kernel=9, padding="valid")],
            (8, 20, 1),
            "model.blocks[0].kernel: expected a feature map of at least 9x9 for padding valid, got 8x20 from the input",
        ),
    ],
)
def test_impossible_shapes_name_the_block(blocks, shape, message):
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        check_shapes(cnn(*blocks), shape)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "blocks",
    [
        [BlockConfig(filters=4, stride=2), BlockConfig(filters=6, kernel=2, padding="valid", pool=3)],
        [BlockConfig(filters=4, kernel=5, stride=3, padding="valid"), BlockConfig(filters=2, kernel=4, stride=2)],
        [BlockConfig(filters=4, separable=True, kernel=3, stride=2, padding="valid"), BlockConfig(filters=5, pool=2)],
    ],
)
def test_shapes_are_those_that_keras_computes(blocks, image_schema):
    schema = image_schema.model_copy(update={"input_shape": (17, 22, 3)})
    config = cnn(*blocks)
    model = build(config, schema, "classification", 1)
    pooled_or_activated = [
        [layer for layer in model.layers if layer.name.startswith(f"block_{number}_")][-1].output_shape[1:]
        for number in (1, 2)
    ]
    assert feature_map_shapes(config, schema.input_shape) == pooled_or_activated


def test_weights_are_those_that_keras_counts(image_schema):
    separable = BlockConfig(filters=6, separable=True, pool=2)
    networks = (
        MlpConfig(family="mlp", units=(7, 5)),
        CnnConfig(family="cnn", blocks=(BlockConfig(filters=4, kernel=5), separable), head="dense", head_units=(9,)),
        CnnConfig(family="cnn", blocks=(separable,), head_units=(3, 2)),
    )
    for config in networks:
        model = build(config, image_schema, "classification", 1)
        kernels = [w for layer in model.layers[:-1] for w in layer.weights if "kernel" in w.name]
        assert num_weights(config, image_schema.input_shape) == sum(int(np.prod(w.shape)) for w in kernels)


def test_network_too_large_to_train_is_refused():
    block = BlockConfig(filters=1024, kernel=11)
    config = CnnConfig(family="cnn", blocks=(block,), head="dense", head_units=(4096, 4096))
    with pytest.raises(ConfigError, match=r"^model\.blocks: expected at most 100,000,000 weights .* got 4,398,"):
        check_shapes(config, (1024, 1024, 1))

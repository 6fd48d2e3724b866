"""Names of layers from a config alone: those of the file that the built network is converted to."""

from __future__ import annotations

import pytest

from data.contract import Schema
from models.architectures.builder import build
from models.autoencoder_config import AutoencoderBlockConfig, AutoencoderConfig
from models.config import BlockConfig, CnnConfig, LinearConfig, MlpConfig
from models.layer_names import kernel_layers
from models.own_model_config import FileModelConfig
from models.rnn_config import RnnConfig
from models.tflite.convert import convert
from models.tflite.mixed_precision import layer_names

BLOCKS = (
    BlockConfig(filters=3, residual=True, kernel=2),
    BlockConfig(filters=3, separable=True, residual=True, batch_normalization=False),
    BlockConfig(filters=4, separable=True, residual=True, pool=2),
    BlockConfig(filters=4, stride=2, residual=True),
    BlockConfig(filters=5, padding="valid", kernel=1),
)
PAIR = (AutoencoderBlockConfig(filters=3, pool=3), AutoencoderBlockConfig(filters=2, pool=1, batch_normalization=False))


@pytest.mark.parametrize(
    ("config", "task", "shape"),
    [
        (LinearConfig(family="linear"), "regression", (6,)),
        (MlpConfig(family="mlp", units=(5, 4), dropout_fraction=0.1), "classification", (6, 2)),
        (CnnConfig(family="cnn", blocks=BLOCKS, head="dense", head_units=(5, 4)), "classification", (8, 7, 3)),
        (CnnConfig(family="cnn", blocks=BLOCKS), "regression", (8, 1)),
        (RnnConfig(family="rnn", cell="gru", units=(3, 2), head_units=(4,)), "classification", (3, 2)),
        (RnnConfig(family="rnn", cell="gru", units=(3,), bidirectional=True, pooling="mean"), "regression", (3, 2)),
        (RnnConfig(family="rnn", cell="simple", units=(3, 2)), "classification", (1, 2)),
        (AutoencoderConfig(family="autoencoder", units=(5, 4), bottleneck=2), "reconstruction", (6,)),
        (AutoencoderConfig(family="autoencoder", units=(), bottleneck=2), "reconstruction", (6,)),
        (AutoencoderConfig(family="autoencoder", units=(5,), bottleneck=2), "clustering", (6,)),
        (
            AutoencoderConfig(family="autoencoder", kind="convolutional", blocks=PAIR, bottleneck=2),
            "reconstruction",
            (7, 5, 2),
        ),
        (
            AutoencoderConfig(family="autoencoder", kind="convolutional", blocks=PAIR, bottleneck=2),
            "clustering",
            (7, 5, 1),
        ),
    ],
)
def test_names_are_those_of_the_file(config, task, shape):
    kind = {1: "vector", 2: "series", 3: "image"}[len(shape)]
    classes = () if task == "regression" else ("a", "b", "c")
    schema = Schema(
        kind=kind, input_shape=shape, input_range=None, storage_divisor=1.0, class_names=classes, target_name="y"
    )
    model = build(config, schema, task, 1, 3)
    assert sorted(kernel_layers(config, task, shape[-1])) == sorted(layer_names(convert(model, "float32")))


def test_where_only_the_data_tells_the_channels_both_are_possible():
    blocks = (BlockConfig(filters=3, residual=True),)
    config = CnnConfig(family="cnn", blocks=blocks)
    assert kernel_layers(config, "classification") == ["block_1_conv", "block_1_shortcut", "output"]
    assert kernel_layers(config, "classification", 3) == ["block_1_conv", "output"]


def test_a_model_from_a_file_tells_when_it_is_built():
    assert kernel_layers(FileModelConfig(family="file", file="m.keras"), "classification") == []

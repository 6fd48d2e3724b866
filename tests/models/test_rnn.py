"""Recurrent networks: counted by hand, and against the equations of their cells written out in NumPy."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from data.contract import ConfigError, Schema
from models.architectures.builder import build
from models.config import OptimizerConfig, RegularizationConfig
from models.legacy_keras import clone, keras, tf
from models.measurements import count_macs, count_parameters
from models.optimizers import GradientDescent
from models.prediction import predict
from models.regularization import kernels_of, require_kernels
from models.rnn_config import RnnConfig
from models.shapes import check_shapes, num_weights, series_shape


def config(**fields: Any) -> RnnConfig:
    return RnnConfig(family="rnn", **fields)


@pytest.fixture
def series_schema(vector_schema: Schema) -> Schema:
    return vector_schema.model_copy(update={"input_shape": (7, 3)})


def network(schema: Schema, seed: int = 1, **fields: Any) -> Any:
    """A network whose every weight has a value of its own: zeros of fresh biases hide mistakes."""
    model = build(config(**fields), schema, "classification", seed)
    generator = np.random.default_rng(seed)
    model.set_weights([generator.normal(size=array.shape) * 0.5 for array in model.get_weights()])
    return model


# ---------------------------------------------------------------------------------------- reference


def sigmoid(x: Any) -> Any:
    return 1.0 / (1.0 + np.exp(-x))


def states(layer: Any, series: Any) -> Any:
    """(steps, units): what a layer answers to one row, equation by equation, in float64."""
    kernel, recurrent, bias = (array.astype(np.float64) for array in layer.get_weights())
    units = layer.units
    h, c, found = np.zeros(units), np.zeros(units), []
    for x in series:
        if isinstance(layer, keras.layers.LSTM):
            i, f, g, o = np.split(x @ kernel + h @ recurrent + bias, 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        elif isinstance(layer, keras.layers.GRU):
            xz, xr, xh = np.split(x @ kernel + bias[0], 3)
            hz, hr, hh = np.split(h @ recurrent + bias[1], 3)
            z, r = sigmoid(xz + hz), sigmoid(xr + hr)
            h = z * h + (1.0 - z) * np.tanh(xh + r * hh)
        else:
            h = np.tanh(x @ kernel + h @ recurrent + bias)
        found.append(h)
    return np.stack(found)


def answers(model: Any, cell: str, layers: int, both: bool, mean: bool, row: Any) -> Any:
    """What a whole network answers to one row."""
    series = row.reshape(len(row), -1).astype(np.float64)
    for number in range(1, layers + 1):
        if both:
            forward = states(model.get_layer(f"{cell}_{number}_forward"), series)
            backward = states(model.get_layer(f"{cell}_{number}_backward"), series[::-1])
            last = np.concatenate([forward[-1], backward[-1]])
            series = np.concatenate([forward, backward[::-1]], axis=1)
        else:
            series = states(model.get_layer(f"{cell}_{number}"), series)
            last = series[-1]
    vector = series.mean(axis=0) if mean else last
    for name in ("dense_1", "output"):
        kernel, bias = model.get_layer(name).get_weights()
        vector = vector @ kernel + bias
        vector = np.maximum(vector, 0.0) if name == "dense_1" else np.exp(vector) / np.exp(vector).sum()
    return vector


@pytest.mark.parametrize("cell", ["lstm", "gru", "simple"])
@pytest.mark.parametrize(("both", "pooling"), [(False, "last"), (False, "mean"), (True, "last"), (True, "mean")])
def test_answers_are_those_of_the_equations(cell: Any, both: bool, pooling: Any, series_schema: Schema) -> None:
    model = network(series_schema, cell=cell, units=(4, 3), bidirectional=both, pooling=pooling, head_units=(5,))
    x = np.random.default_rng(2).normal(size=(3, 7, 3)).astype(np.float32)
    expected = [answers(model, cell, 2, both, pooling == "mean", row) for row in x]
    np.testing.assert_allclose(model(x, training=False).numpy(), expected, atol=1e-6)


def test_an_image_is_read_row_by_row(image_schema: Schema) -> None:
    schema = image_schema.model_copy(update={"input_shape": (5, 4, 3)})
    model = network(schema, cell="gru", units=(4,), head_units=(2,))
    x = np.random.default_rng(2).random((2, 5, 4, 3), dtype=np.float32)
    assert model.get_layer("rows").output_shape == (None, 5, 12)
    np.testing.assert_allclose(predict(model, x), [answers(model, "gru", 1, False, False, row) for row in x], atol=1e-6)


# --------------------------------------------------------------------------------------- structure


@pytest.mark.parametrize(
    ("fields", "parameters", "macs"),
    [
        # 4 gates of 3 inputs, 5 states and a bias; 5 x 3 + 3 outputs. 7 steps.
        ({"units": (5,)}, 4 * 5 * 9 + 18, 7 * 4 * 5 * 8 + 15),
        # Keras' GRU has two biases.
        ({"cell": "gru", "units": (5,)}, 3 * 5 * 10 + 18, 7 * 3 * 5 * 8 + 15),
        ({"cell": "simple", "units": (5,)}, 5 * 9 + 18, 7 * 5 * 8 + 15),
        # Two directions; the second layer reads 10 answers; a head of 6.
        (
            {"units": (5, 2), "bidirectional": True, "pooling": "mean", "head_units": (6,)},
            2 * 4 * 5 * 9 + 2 * 4 * 2 * 13 + 5 * 6 + 21,
            7 * 2 * (4 * 5 * 8 + 4 * 2 * 12) + 24 + 18,
        ),
    ],
)
def test_parameters_and_multiplications_are_those_counted_by_hand(
    fields: Any, parameters: int, macs: int, series_schema: Schema
) -> None:
    model = build(config(**fields), series_schema, "classification", 1)
    assert count_parameters(model) == parameters
    assert count_macs(model) == macs
    kernels = sum(int(kernel.shape.num_elements()) for kernel in kernels_of(model))
    assert num_weights(config(**fields), (7, 3)) == kernels - int(model.get_layer("output").kernel.shape.num_elements())


def test_layer_names_are_stable(image_schema: Schema) -> None:
    fields: Any = {"units": (4, 4), "bidirectional": True, "head_units": (3,), "dropout_fraction": 0.5}
    names = {layer.name for layer in build(config(**fields), image_schema, "classification", 1).layers}
    assert names == {
        *("input", "rows", "dense_1", "dense_1_dropout", "output"),
        *("lstm_1_forward", "lstm_1_turned", "lstm_1_backward", "lstm_1_turned_back", "lstm_1", "lstm_1_dropout"),
        *("lstm_2_forward", "lstm_2_turned", "lstm_2_backward", "lstm_2", "lstm_2_dropout"),
    }
    plain = build(config(cell="gru", pooling="mean"), image_schema, "regression", 1)
    assert [layer.name for layer in plain.layers] == ["input", "rows", "gru_1", "mean_over_time", "output"]


def test_weights_follow_seed_and_layer_name_alone(series_schema: Schema) -> None:
    first = build(config(units=(6,)), series_schema, "classification", 5).get_layer("lstm_1")
    same = build(config(units=(6, 6)), series_schema, "classification", 5).get_layer("lstm_1")
    other = build(config(units=(6,)), series_schema, "classification", 6).get_layer("lstm_1")
    for one, equal, different in zip(first.get_weights()[:2], same.get_weights(), other.get_weights(), strict=False):
        np.testing.assert_array_equal(one, equal)
        assert not np.array_equal(one, different)
    recurrent, bias = first.get_weights()[1:]
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(6), atol=1e-6)
    assert bias.tolist() == [0.0] * 6 + [1.0] * 6 + [0.0] * 12  # the forget gate starts open


def test_a_saved_network_is_read_again(tmp_path: Any, series_schema: Schema) -> None:
    model = network(series_schema, bidirectional=True, units=(4, 4), dropout_fraction=0.2)
    model.save(tmp_path / "model.keras")
    x = np.random.default_rng(2).normal(size=(3, 7, 3)).astype(np.float32)
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    np.testing.assert_array_equal(predict(loaded, x), predict(model, x))
    np.testing.assert_array_equal(predict(clone(model), x), predict(model, x))


# ----------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("fields", "shape", "message"),
    [
        ({}, (7,), "model.family: expected mlp for a vector, got rnn with inputs of shape (7,), which have no steps"),
        ({}, (-1,), "model.family: expected mlp for a vector, got rnn with inputs of shape (?,)"),
        (
            {"cell": "gru"},
            (129, 4),
            "model.cell: expected lstm for more than 128 steps, got gru with 129: each step of it adds operators to "
            "the file. Set model.cell to lstm, or take shorter windows or smaller images.",
        ),
        ({"cell": "simple"}, (200, 10, 3), "model.cell: expected lstm for more than 128 steps, got simple with 200"),
        (
            {"units": (4096, 4096)},
            (9, 1),
            "model.units: expected at most 100,000,000 weights below the output, got 201,342,976.",
        ),
    ],
)
def test_impossible_shapes_are_refused(fields: Any, shape: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        check_shapes(config(**fields), shape)


def test_what_is_read_is_told_from_the_shape() -> None:
    assert series_shape(config(), (500, 4)) == (500, 4)
    assert series_shape(config(cell="gru"), (128, 6, 3)) == (128, 18)


def test_an_activation_without_a_head_is_refused() -> None:
    with pytest.raises(ValidationError, match="expected activation with head_units alone, got it without"):
        config(activation="tanh")
    assert config(activation="tanh", head_units=(4,)).activation == "tanh"
    assert config(activation="relu").activation == "relu"


# ---------------------------------------------------------------------------------- regularization


@pytest.mark.parametrize("cell", ["lstm", "gru", "simple"])
def test_both_kernels_are_penalized(cell: Any, series_schema: Schema) -> None:
    model = build(config(cell=cell, units=(5,)), series_schema, "classification", 1)
    layer = model.get_layer(f"{cell}_1")
    expected = [layer.cell.kernel, layer.cell.recurrent_kernel, model.get_layer("output").kernel]
    assert [kernel.ref() for kernel in kernels_of(model)] == [kernel.ref() for kernel in expected]
    require_kernels(RegularizationConfig(l1=0.1), kernels_of(model))


def test_a_wrapper_of_keras_counts_as_two_layers() -> None:
    inputs = keras.Input((7, 3))
    model = keras.Model(inputs, keras.layers.Bidirectional(keras.layers.GRU(5))(inputs))
    assert count_macs(model) == 2 * 7 * 3 * 5 * 8
    assert [tuple(kernel.shape) for kernel in kernels_of(model)] == 2 * [(3, 15), (5, 15)]


def test_weight_decay_leaves_the_two_rows_of_a_gru_s_biases_alone(series_schema: Schema) -> None:
    model = network(series_schema, cell="gru", units=(5,))
    kernel, recurrent, bias = (variable for variable in model.get_layer("gru_1").trainable_variables)
    before = [variable.numpy() for variable in (kernel, recurrent, bias)]
    descent = OptimizerConfig(name="adamw", learning_rate=0.5, weight_decay=0.1, schedule="constant")
    GradientDescent((kernel, recurrent, bias), descent, 1).apply([tf.zeros_like(v) for v in (kernel, recurrent, bias)])
    np.testing.assert_allclose(kernel.numpy(), 0.95 * before[0], rtol=1e-6)
    np.testing.assert_allclose(recurrent.numpy(), 0.95 * before[1], rtol=1e-6)
    np.testing.assert_array_equal(bias.numpy(), before[2])

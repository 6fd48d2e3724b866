"""Constant inputs leave the network; what they added stays in the biases."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from data.contract import ConfigError
from models.legacy_keras import keras
from models.pruning.inputs import ConstantInputs, constant_inputs, remove_constant_inputs


def mlp(shape: tuple[int, ...], *, use_bias: bool = True) -> Any:
    inputs = keras.Input(shape, name="input")
    flat = keras.layers.Flatten(name="flatten")(inputs) if len(shape) > 1 else inputs
    noisy = keras.layers.Dropout(0.2, name="dropout")(flat)
    hidden = keras.layers.Dense(5, activation="tanh", use_bias=use_bias, name="hidden")(noisy)
    other = keras.layers.Dense(3, activation="relu", name="other")(flat)
    joined = keras.layers.Concatenate(name="joined")([hidden, other])
    return keras.Model(inputs, keras.layers.Dense(2, name="output")(joined))


def rows(shape: tuple[int, ...], constant: list[int], seed: int = 3) -> np.ndarray:
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(40, *shape)).astype(np.float32)
    x.reshape(40, -1)[:, constant] = generator.normal(size=len(constant)).astype(np.float32)
    return x


def test_what_is_constant_over_all_parts() -> None:
    parts = [np.array([[1, 2, 3], [1, 2, 4]], np.float32), np.array([[1, 5, 3]], np.float32)]
    found = constant_inputs(parts)
    assert found.constant.tolist() == [True, False, False]
    assert found.values[0] == 1.0


@pytest.mark.parametrize(("shape", "constant"), [((6,), [0, 4]), ((3, 4, 1), [0, 5, 11]), ((3, 4, 1), [7])])
def test_the_smaller_model_answers_as_before(shape: tuple[int, ...], constant: list[int]) -> None:
    model, x = mlp(shape), rows(shape, constant)
    for layer in model.layers:
        layer.set_weights([np.random.default_rng(1).normal(size=array.shape) for array in layer.get_weights()])
    weights = [array.copy() for array in model.get_weights()]
    smaller, kept = remove_constant_inputs(model, constant_inputs([x[:20], x[20:]]))
    assert kept == tuple(position for position in range(int(np.prod(shape))) if position not in constant)
    assert smaller.input_shape == (None, len(kept))
    assert [layer.name for layer in smaller.layers] == [layer.name for layer in model.layers]
    np.testing.assert_allclose(smaller(x.reshape(40, -1)[:, kept]).numpy(), model(x).numpy(), atol=2e-6)
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_without_a_bias_a_constant_other_than_zero_stays() -> None:
    x = rows((4,), [1, 2])
    x[:, 1] = 0.0
    model = mlp((4,), use_bias=False)
    smaller, kept = remove_constant_inputs(model, constant_inputs([x]))
    assert kept == (0, 2, 3)
    np.testing.assert_allclose(smaller(x[:, kept]).numpy(), model(x).numpy(), atol=2e-6)


def test_where_all_vary_nothing_happens() -> None:
    model = mlp((4,))
    assert remove_constant_inputs(model, constant_inputs([rows((4,), [])])) == (model, None)


def test_where_none_varies_there_is_nothing_to_learn_from() -> None:
    found = ConstantInputs(np.ones(4, bool), np.zeros(4, np.float32))
    with pytest.raises(ConfigError, match=r"^prune.inputs: expected an input that varies .*, got none\. Look"):
        remove_constant_inputs(mlp((4,)), found)


@pytest.mark.parametrize("kind", ["Conv2D", "BatchNormalization"])
def test_who_else_reads_the_inputs_is_named(kind: str) -> None:
    inputs = keras.Input((4, 4, 1))
    read = {"Conv2D": keras.layers.Conv2D(2, 3, name="first"), "BatchNormalization": None}[kind]
    layer = keras.layers.BatchNormalization(name="first") if read is None else read
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(layer(inputs))))
    found = ConstantInputs(np.arange(16) == 3, np.zeros(16, np.float32))
    with pytest.raises(
        ConfigError, match=rf"^prune.inputs: expected 'all' where .*, got 'varying' with first \({kind}\)"
    ):
        remove_constant_inputs(model, found)

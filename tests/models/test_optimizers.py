from __future__ import annotations

import re

import numpy as np
import pytest

from data.contract import TrainingError
from models.config import OptimizerConfig
from models.legacy_keras import keras, tf
from models.optimizers import GradientDescent

STEPS = 12


def keras_optimizer(config):
    rate = config.learning_rate
    if config.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, STEPS)
    legacy = keras.optimizers.legacy
    return {
        "sgd": lambda: legacy.SGD(rate),
        "momentum": lambda: legacy.SGD(rate, momentum=0.9),
        "adam": lambda: legacy.Adam(rate),
    }[config.name]()


def descend(apply, variables):
    """Steps whose gradients depend on the weights: what differs once differs ever after."""

    @tf.function(autograph=False)
    def step(noise):
        apply([tf.sin(variable) + noise for variable in variables])

    generator = np.random.default_rng(0)
    for _ in range(STEPS):
        step(tf.constant(generator.normal(), tf.float32))
    return [variable.numpy() for variable in variables]


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
@pytest.mark.parametrize("name", ["sgd", "momentum", "adam"])
def test_steps_are_those_of_keras(name, schedule):
    config = OptimizerConfig(name=name, schedule=schedule, learning_rate=0.05)
    start = [np.random.default_rng(1).normal(size=shape).astype(np.float32) for shape in [(5, 3), (3,)]]
    ours = [tf.Variable(value) for value in start]
    descent = GradientDescent(ours, config, STEPS)
    theirs = [tf.Variable(value) for value in start]
    reference = keras_optimizer(config)
    for got, expected in zip(
        descend(descent.apply, ours),
        descend(lambda gradients: reference.apply_gradients(zip(gradients, theirs, strict=True)), theirs),
        strict=True,
    ):
        np.testing.assert_allclose(got, expected, rtol=2e-6, atol=1e-7)
    assert int(descent.variables[0]) == STEPS
    assert len(descent.variables) == 1 + 2 * {"sgd": 0, "momentum": 1, "adam": 2}[name]


def test_cosine_by_hand():
    descent = GradientDescent([], OptimizerConfig(learning_rate=0.4), 100)
    assert [descent.learning_rate(step) for step in (0, 50, 100)] == pytest.approx([0.4, 0.2, 0.0])
    assert descent.learning_rate(25) == pytest.approx(0.2 * (1 + np.sqrt(0.5)))


def test_a_weight_without_gradient_is_named():
    descent = GradientDescent([tf.Variable(1.0, name="lost")], OptimizerConfig(), 1)
    with pytest.raises(TrainingError, match=re.escape("model.lost:0: expected a weight that the loss depends on")):
        descent.apply([None])

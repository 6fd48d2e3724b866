from __future__ import annotations

import re

import numpy as np
import pytest

from data.contract import TrainingError
from models.config import OptimizerConfig
from models.legacy_keras import keras, tf
from models.optimizers import GradientDescent

STEPS = 12
STEPS_PER_EPOCH = 2
SLOTS = {"sgd": 0, "momentum": 1, "nesterov": 1, "rmsprop": 1, "adam": 2, "adamw": 2}


def keras_optimizer(config):
    rate = config.learning_rate
    if config.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, STEPS)
    elif config.schedule == "step":
        drops = list(range(config.drop_epochs * STEPS_PER_EPOCH, STEPS, config.drop_epochs * STEPS_PER_EPOCH))
        rates = [rate * config.drop_factor**i for i in range(len(drops) + 1)]
        rate = keras.optimizers.schedules.PiecewiseConstantDecay([drop - 1 for drop in drops], rates)
    legacy = keras.optimizers.legacy
    return {
        "sgd": lambda: legacy.SGD(rate),
        "momentum": lambda: legacy.SGD(rate, momentum=config.momentum),
        "nesterov": lambda: legacy.SGD(rate, momentum=config.momentum, nesterov=True),
        "rmsprop": lambda: legacy.RMSprop(rate),
        "adamw": lambda: without_decay_of_biases(rate, config.weight_decay),
        "adam": lambda: legacy.Adam(rate),
    }[config.name]()


def without_decay_of_biases(rate, decay):
    optimizer = keras.optimizers.AdamW(rate, weight_decay=decay, jit_compile=False)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


def descend(apply, variables):
    """Steps whose gradients depend on the weights: what differs once differs ever after."""

    @tf.function(autograph=False)
    def step(noise):
        apply([tf.sin(variable) + noise for variable in variables])

    generator = np.random.default_rng(0)
    for _ in range(STEPS):
        step(tf.constant(generator.normal(), tf.float32))
    return [variable.numpy() for variable in variables]


@pytest.mark.parametrize("schedule", ["constant", "cosine", "step"])
@pytest.mark.parametrize("name", SLOTS)
def test_steps_are_those_of_keras(name, schedule):
    fields = {"drop_epochs": 2, "drop_factor": 0.5} if schedule == "step" else {}
    fields |= {"momentum": 0.8} if name == "nesterov" else {"weight_decay": 0.2} if name == "adamw" else {}
    config = OptimizerConfig(name=name, schedule=schedule, learning_rate=0.05, **fields)
    start = [np.random.default_rng(1).normal(size=shape).astype(np.float32) for shape in [(5, 3), (3,)]]
    ours = [tf.Variable(value) for value in start]
    descent = GradientDescent(ours, config, STEPS, steps_per_epoch=STEPS_PER_EPOCH)
    theirs = [tf.Variable(value, name=name) for value, name in zip(start, ("kernel", "bias"), strict=True)]
    reference = keras_optimizer(config)
    for got, expected in zip(
        descend(descent.apply, ours),
        descend(lambda gradients: reference.apply_gradients(zip(gradients, theirs, strict=True)), theirs),
        strict=True,
    ):
        # Keras's AdamW is not one of its legacy optimizers, whose kernels are ours: it rounds otherwise.
        np.testing.assert_allclose(got, expected, rtol=2e-6, atol=5e-6 if name == "adamw" else 1e-7)
    assert int(descent.variables[0]) == STEPS
    assert len(descent.variables) == 1 + 2 * SLOTS[name]


def test_cosine_by_hand():
    descent = GradientDescent([], OptimizerConfig(learning_rate=0.4), 100)
    assert [descent.learning_rate(step) for step in (0, 50, 100)] == pytest.approx([0.4, 0.2, 0.0])
    assert descent.learning_rate(25) == pytest.approx(0.2 * (1 + np.sqrt(0.5)))


@pytest.mark.parametrize("schedule", ["constant", "cosine", "step"])
def test_rates_that_are_told_are_those_that_are_taken(schedule):
    """Plain descent along a gradient of 1: each step moves a weight by the rate."""
    fields = {"drop_epochs": 3, "drop_factor": 0.5} if schedule == "step" else {}
    config = OptimizerConfig(name="sgd", learning_rate=0.1, schedule=schedule, warmup_steps=4, **fields)
    weight = tf.Variable(0.0)
    descent = GradientDescent([weight], config, STEPS, steps_per_epoch=STEPS_PER_EPOCH)
    for step in range(STEPS):
        before = float(weight)
        descent.apply([tf.constant(1.0)])
        assert before - float(weight) == pytest.approx(descent.learning_rate(step), abs=1e-7)
    assert [descent.learning_rate(step) for step in range(4)] == pytest.approx([0.025, 0.05, 0.075, 0.1])
    last = {"constant": 0.1, "cosine": 0.05 * (1 + np.cos(np.pi * 7 / 8)), "step": 0.05}[schedule]
    assert descent.learning_rate(STEPS - 1) == pytest.approx(last)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"drop_factor": 0.5}, "expected drop_factor with schedule: step alone"),
        ({"momentum": 0.5}, "expected momentum with name: momentum or nesterov alone"),
        ({"weight_decay": 0.1}, "expected weight_decay with name: adamw alone"),
    ],
)
def test_what_nothing_reads_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        OptimizerConfig(**fields)


def test_a_weight_without_gradient_is_named():
    descent = GradientDescent([tf.Variable(1.0, name="lost")], OptimizerConfig(), 1)
    with pytest.raises(TrainingError, match=re.escape("model.lost:0: expected a weight that the loss depends on")):
        descent.apply([None])

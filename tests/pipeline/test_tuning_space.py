"""What trials may be: grids, Hyperband's brackets, and the sections a trial trains under."""

from __future__ import annotations

from typing import Any

import pytest

from models.config import BlockConfig, CnnConfig, MlpConfig, OptimizerConfig, RegularizationConfig, TrainConfig
from models.tuning_config import DropoutRange, LearningRateRange, SpaceConfig, TuneConfig, UnitsRange
from pipeline.tuning_space import (
    Dimension,
    brackets,
    described,
    dimensions,
    grid_size,
    network_section,
    num_trainings,
    own_values,
    space_size,
    training_section,
    whole_brackets,
)

SPACE = SpaceConfig(
    learning_rate=LearningRateRange(min=0.001, max=1.0),
    batch_size=(16, "full"),
    units=(UnitsRange(min=4, max=32), UnitsRange(min=2, max=3)),
    dropout_fraction=DropoutRange(min=0.0, max=0.3),
)


def test_grids_by_hand() -> None:
    rate, size, first, second, dropout = dimensions(SPACE)
    assert [each.name for each in (rate, size, first, second, dropout)] == [
        "learning_rate", "batch_size", "units.0", "units.1", "dropout_fraction",
    ]  # fmt: skip
    assert rate.grid(4) == (0.001, 0.01, 0.1, 1.0)
    assert size.grid(4) == (16, "full")
    assert first.grid(4) == (4, 8, 16, 32)
    assert second.grid(4) == (2, 3)  # whole numbers, each once
    assert dropout.grid(4) == (0.0, 0.1, 0.2, 0.3)


def test_three_digits_within_the_ends() -> None:
    rate = Dimension("learning_rate", (), (0.0012345, 0.9999), is_log=True)
    assert [rate.rounded(value) for value in (0.0012345, 0.0123456, 0.9999)] == [0.0012345, 0.0123, 0.9999]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"penalties": ("l1",), "grid_points": 5}, 5),
        ({"penalties": ("l1", "l2", "elastic_net")}, 4 * (1 + 1 + 3)),
        ({"penalties": (), "space": SpaceConfig(units=((8,), (4, 4)), activation=("relu", "elu", "tanh"))}, 6),
        ({"penalties": ("l2",), "space": SPACE}, 4 * 4 * 2 * 4 * 2 * 4),
    ],
)
def test_combinations_of_a_grid(fields: dict[str, Any], expected: int) -> None:
    assert grid_size(TuneConfig(oracle="grid", **fields)) == expected


def test_what_can_be_drawn_is_counted_where_it_has_an_end() -> None:
    lists = SpaceConfig(units=((8,), (4, 4)), batch_size=(8, 16, 32))
    assert space_size(TuneConfig(penalties=(), space=lists)) == 6
    assert space_size(TuneConfig(penalties=("l1",), space=lists)) is None
    assert space_size(TuneConfig(penalties=(), space=SPACE)) is None


def test_brackets_by_hand() -> None:
    """Twenty epochs, a third goes on: ceil(1 + log3 20) = 4 of the longest; 12, 4, 2 and 6, 2 and 4."""
    assert whole_brackets(20, 3) == (((3, 12), (7, 4), (20, 2)), ((7, 6), (20, 2)), ((20, 4),))
    assert whole_brackets(9, 3) == (((1, 9), (3, 3), (9, 1)), ((3, 5), (9, 2)), ((9, 3),))
    assert whole_brackets(2, 3) == (((2, 2),),)


def test_brackets_are_those_of_keras_tuner() -> None:
    import models.legacy_keras  # noqa: F401  # isort: skip -- TensorFlow comes in by its one door
    import keras_tuner

    for epochs, factor in ((20, 3), (27, 3), (10, 2), (50, 4), (8, 2), (3, 3)):
        oracle = keras_tuner.oracles.HyperbandOracle(
            objective=keras_tuner.Objective("score", "max"), max_epochs=epochs, factor=factor
        )
        theirs = tuple(
            tuple((oracle._get_epochs(s, i), oracle._get_size(s, i)) for i in range(oracle._get_num_rounds(s)))
            for s in reversed(range(oracle._get_num_brackets()))
        )
        assert whole_brackets(epochs, factor) == theirs


@pytest.mark.parametrize(
    ("trials", "sizes"), [(3, []), (4, [4]), (7, [4]), (8, [8]), (12, [8, 4]), (18, [18]), (34, [18, 8, 4, 4])]
)
def test_only_whole_brackets_are_run(trials: int, sizes: list[int]) -> None:
    assert [num_trainings(bracket) for bracket in brackets(trials, 20, 3)] == sizes


def test_sections_of_a_trial() -> None:
    train = TrainConfig(epochs=9, optimizer=OptimizerConfig(name="nesterov", momentum=0.8))
    values = {"learning_rate": 0.3, "batch_size": "full", "units": [4, 2]}
    section = training_section(train, values, RegularizationConfig(l1=0.1), 3)
    assert (section.epochs, section.batch_size, section.regularization.l1) == (3, "full", 0.1)
    assert section.optimizer == OptimizerConfig(name="nesterov", momentum=0.8, learning_rate=0.3)
    assert training_section(train, {}, None, None) == train

    mlp = network_section(MlpConfig(family="mlp", dropout_fraction=0.5), {**values, "activation": "tanh"})
    assert mlp == MlpConfig(family="mlp", units=(4, 2), activation="tanh", dropout_fraction=0.5)
    cnn = CnnConfig(family="cnn", blocks=(BlockConfig(filters=3, pool=2), BlockConfig(filters=5, kernel=1)))
    changed = network_section(cnn, {"filters": [8, 9], "dropout_fraction": 0.1})
    assert isinstance(changed, CnnConfig)
    assert changed.blocks == (BlockConfig(filters=8, pool=2), BlockConfig(filters=9, kernel=1))
    assert changed.dropout_fraction == 0.1


def test_trial_0_has_the_run_s_own_values() -> None:
    space = SpaceConfig(learning_rate=(0.1,), filters=((1, 2),), activation=("elu",))
    assert own_values(space, TrainConfig(), CnnConfig(family="cnn")) == {
        "learning_rate": 0.002, "filters": [16, 32], "activation": "relu",
    }  # fmt: skip
    assert own_values(None, TrainConfig(), MlpConfig(family="mlp")) == {}


def test_trials_in_a_few_words() -> None:
    trial = {"l1": 0.000123456, "l2": 0.0, "values": {"units": [64, 32], "learning_rate": 0.0031}, "epochs": 1}
    assert described(trial) == "l1 0.000123, units 64-32, learning_rate 0.0031"
    assert described(trial | {"short": True}) == "l1 0.000123, units 64-32, learning_rate 0.0031, 1 epoch"
    assert described({"l1": 0.0, "l2": 0.0, "values": {}}) == "no penalty"

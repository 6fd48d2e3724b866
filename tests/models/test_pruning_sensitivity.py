from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from data.batches import ArrayBatches
from models.compression_config import PruneConfig, SensitivityConfig
from models.legacy_keras import keras
from models.pruning.sensitivity import Sensitivity, node_sensitivity, scorer, weight_sensitivity
from models.tasks import Classification
from models.training import predict

layers = keras.layers
LEVELS = (0.25, 0.5, 0.75)


@pytest.mark.parametrize(
    ("scores", "drop", "sparsity"),
    [
        ((0.9, 0.8, 0.5), 0.02, 0.0 + 0.25 * 0.02 / 0.05),  # from 0.95 to 0.9 within the first quarter
        ((0.95, 0.95, 0.45), 0.05, 0.5 + 0.25 * 0.05 / 0.5),
        ((0.95, 0.94, 0.94), 0.02, 0.75),
        ((0.96, 0.93, 0.2), 0.02, 0.5),
    ],
)
def test_sparsity_is_where_the_score_has_fallen_so_far(scores: Any, drop: float, sparsity: float) -> None:
    assert Sensitivity("a", LEVELS, scores).sparsity(0.95, drop) == pytest.approx(sparsity)


class Silence:
    def __init__(self) -> None:
        self.steps: list[Any] = []

    def step(self, *told: Any) -> None:
        self.steps.append(told)

    def note(self, text: str) -> None:
        raise AssertionError(text)


def network() -> tuple[Any, Any, Any]:
    """Three classes in the first three inputs; of eight nodes only three matter."""
    inputs = keras.Input((5,))
    model = keras.Model(inputs, layers.Dense(3, "softmax", name="output")(layers.Dense(8, "relu", name="a")(inputs)))
    first, last = np.zeros((5, 8), np.float32), np.zeros((8, 3), np.float32)
    first[[0, 1, 2], [6, 2, 4]] = 1.0
    last[[6, 2, 4], [0, 1, 2]] = 5.0
    model.set_weights([first, np.zeros(8), last, np.zeros(3)])
    y = np.arange(60) % 3
    x = (np.eye(3, 5)[y] + np.random.default_rng(0).normal(size=(60, 5)) * 0.1).astype(np.float32)
    return model, x, y


def test_each_layer_is_pruned_alone_and_the_model_stays_as_it_was() -> None:
    model, x, y = network()
    config = PruneConfig(
        unit="node", sparsity="auto", criterion="l1", sensitivity=SensitivityConfig(levels=(0.5, 0.625, 0.75))
    )
    before, progress = [array.copy() for array in model.get_weights()], Silence()
    score = scorer((x, y), Classification())
    batches = ArrayBatches(x, y, 20, seed=1)
    [found] = node_sensitivity(model, batches, Classification(), score, config, progress)
    assert (found.name, found.levels) == ("a", (0.5, 0.625, 0.75))
    # Five nodes do nothing; with the sixth one class is not told from the others any more.
    assert found.scores[:2] == (1.0, 1.0)
    assert found.scores[2] < 0.9
    assert len(progress.steps) == 1
    for array, kept in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(array, kept)


def test_weights_are_zeroed_in_one_layer_at_a_time() -> None:
    model, x, y = network()
    config = PruneConfig(sparsity="auto", sensitivity=SensitivityConfig(levels=(0.5, 0.99)))
    found = weight_sensitivity(model, scorer((x, y), Classification()), config, Silence())
    assert [each.name for each in found] == ["a", "output"]
    for each in found:
        assert each.scores[0] == 1.0
        assert each.scores[1] < 0.8
    assert float(np.mean(predict(model, x).argmax(axis=1) == y)) == 1.0

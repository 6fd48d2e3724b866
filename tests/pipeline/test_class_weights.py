"""Class weights by name: one number a class, and names that are no class."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from data.contract import ConfigError, Schema
from pipeline.stages.train import class_weights

SCHEMA = Schema(
    kind="vector",
    input_shape=(2,),
    input_range=None,
    storage_divisor=1.0,
    class_names=("cat", "dog"),
    target_name="class",
)
DATASET: Any = SimpleNamespace(schema=SCHEMA, split=lambda name: SimpleNamespace(y=np.array([0, 0, 0, 1])))


def test_one_number_a_class() -> None:
    assert class_weights(None, DATASET) is None
    assert class_weights({"dog": 3.0}, DATASET) == (1.0, 3.0)
    assert class_weights("balanced", DATASET) == (4 / 6, 4 / 2)


def test_name_that_is_no_class() -> None:
    with pytest.raises(ConfigError) as caught:
        class_weights({"cat": 1.0, "dgo": 2.0}, DATASET)
    assert str(caught.value) == (
        "train.class_weights: expected names among 'cat', 'dog', got 'dgo'. "
        "Correct the names; classes left out weigh 1."
    )

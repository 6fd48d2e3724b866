"""What a task trains on and what it is scored on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data.contract import Part
from data.dataset import Dataset
from data.ingest import ingest
from models.tasks import task_for
from pipeline.lessons import reference, training_batches, validation
from tests.data.conftest import Silence, make_config


@pytest.fixture(scope="module")
def iris(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder: Path = tmp_path_factory.mktemp("iris")
    ingest(make_config(source="builtin", name="iris"), "classification", folder, 1, Silence())
    return Dataset.open(folder)


def test_labels_are_learned_and_judged_by(iris: Dataset) -> None:
    task = task_for("classification")
    x, y = training_batches(iris, task, 16, 3).batch(0, 1)
    plain_x, plain_y = iris.batches("train", 16, 3).batch(0, 1)
    np.testing.assert_array_equal(x, plain_x)
    np.testing.assert_array_equal(y, plain_y)
    np.testing.assert_array_equal(validation(iris, task)[1], iris.split("validation").y)
    np.testing.assert_array_equal(reference(iris, "test", task), iris.split("test").y)


def test_a_worker_without_a_row_of_a_batch_is_given_none_of_a_reconstruction(iris: Dataset) -> None:
    batches = training_batches(iris, task_for("reconstruction"), 1, 3, part=Part(0, 2))
    for x, y in (batches.batch(0, 0), batches.stored(0, 0, 1), batches.stored(0, 0, 4)):
        assert (x.shape, y.shape) == ((0, *iris.schema.input_shape), (0, 4))


def test_a_reconstruction_learns_its_inputs_which_are_not_copied(iris: Dataset) -> None:
    task = task_for("reconstruction")
    batches, plain = training_batches(iris, task, 16, 3), iris.batches("train", 16, 3)
    assert (batches.num_rows, batches.num_batches, batches.batch_size) == (plain.num_rows, plain.num_batches, 16)
    x, y = batches.batch(2, 0)
    np.testing.assert_array_equal(x, plain.batch(2, 0)[0])
    assert np.shares_memory(x, y)
    assert y.shape == (16, 4)
    x, y = validation(iris, task)
    assert np.shares_memory(x, y)
    np.testing.assert_array_equal(reference(iris, "test", task), iris.inputs("test").reshape(-1, 4))


def test_targets_of_ones_own_take_the_place_of_both(iris: Dataset) -> None:
    own = np.arange(len(iris.split("train")) * 2, dtype=np.float32).reshape(-1, 2)
    for name in ("classification", "reconstruction"):
        _, y = training_batches(iris, task_for(name), 16, 3, own).batch(0, 0)
        np.testing.assert_array_equal(y, iris.batches("train", 16, 3, own).batch(0, 0)[1])

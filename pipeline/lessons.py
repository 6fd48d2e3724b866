"""What a task trains on and what it is scored on: labels, or the inputs themselves."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from data.batches import as_eaten
from data.contract import Batches, Part
from data.dataset import Dataset
from models.tasks import Task


class InputsAsTargets:
    """Batches whose targets are their own inputs, flattened: views, not copies.

    Args:
        batches: of inputs; their targets are not looked at.
    """

    def __init__(self, batches: Batches) -> None:
        self._batches = batches

    @property
    def num_rows(self) -> int:
        """Rows an epoch passes over."""
        return self._batches.num_rows

    @property
    def num_batches(self) -> int:
        """Batches an epoch."""
        return self._batches.num_batches

    @property
    def batch_size(self) -> int:
        """Rows of every batch but the last."""
        return self._batches.batch_size

    def batch(self, epoch: int, index: int) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """Returns (x, y): x float32 (rows, *input_shape), y the same numbers as (rows, entries)."""
        x, _ = self._batches.batch(epoch, index)
        return x, _flat(x)

    @property
    def divisor(self) -> float:
        """What stored inputs are divided by; targets are divided already."""
        return self._batches.divisor

    def stored(self, epoch: int, index: int, count: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Returns (x, y) of some batches: x as stored, y float32 (rows, entries) as the model eats them."""
        x, _ = self._batches.stored(epoch, index, count)
        return x, as_eaten(_flat(x), self.divisor)


def _flat(x: NDArray[Any]) -> NDArray[Any]:
    """Returns (rows, entries) of (rows, ...), also where a worker has no row of a batch."""
    return x.reshape(len(x), math.prod(x.shape[1:]))


def training_batches(
    dataset: Dataset,
    task: Task,
    batch_size: int | Literal["full"],
    seed: int,
    targets: NDArray[Any] | None = None,
    part: Part = Part(),  # noqa: B008 -- frozen
) -> Batches:
    """Returns the training rows of a task in shuffled batches.

    Args:
        dataset: the rows as the model eats them.
        task: what is learned: labels, or the inputs.
        batch_size: rows of a batch; `full`: all of them.
        seed: of the shuffle.
        targets: (rows, ...) in place of what the task learns.
        part: rows of each batch that are given.
    """
    batches = dataset.batches("train", batch_size, seed, targets, part)
    return InputsAsTargets(batches) if task.name == "reconstruction" and targets is None else batches


def reference(dataset: Dataset, split: str, task: Task) -> NDArray[Any]:
    """Returns what a task's score holds the answers to a split against.

    Args:
        dataset: the rows as the model eats them.
        split: `train`, `validation` or `test`.
        task: what is judged.

    Returns:
        (rows,) labels, or (rows, entries) float32 inputs.
    """
    if task.judged_by == "labels":
        return dataset.split(split).y
    x = dataset.inputs(split)
    return x.reshape(len(x), -1)


def validation(dataset: Dataset, task: Task) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Returns the validation rows as a training takes them: inputs, and what the score holds the answers against."""
    x = dataset.inputs("validation")
    return x, x.reshape(len(x), -1) if task.judged_by == "inputs" else dataset.split("validation").y

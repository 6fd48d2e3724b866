"""Small data, fixed batches and checkpoints in memory for tests that train."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from data.contract import Schema
from models.legacy_keras import use_determinism


class MemoryBatches:
    """Shuffled batches of arrays; the order depends on (seed, epoch) alone."""

    def __init__(self, x: Any, y: Any, batch_size: int, seed: int = 7) -> None:
        self.x, self.y, self.batch_size, self.seed = x, y, batch_size, seed
        self.num_rows = len(y)
        self.num_batches = -(-len(y) // batch_size)

    def batch(self, epoch: int, index: int) -> tuple[Any, Any]:
        order = np.random.default_rng([self.seed, epoch]).permutation(self.num_rows)
        chosen = order[index * self.batch_size : (index + 1) * self.batch_size]
        return self.x[chosen], self.y[chosen]

    divisor = 1.0

    def stored(self, epoch: int, index: int, count: int) -> tuple[Any, Any]:
        x, y = zip(*(self.batch(epoch, each) for each in range(index, index + count)), strict=True)
        return np.concatenate(x), np.concatenate(y)


class Killed(Exception):  # noqa: N818 - what happens to a process, not an error
    """Stands for a process that ends right after a save."""


class MemoryCheckpoints:
    """Keeps the state through JSON and bytes, as files would; may end the training after some saves."""

    def __init__(self) -> None:
        self.kept: tuple[dict[str, Any], str] | None = None
        self.saves = 0
        self.kill_after: int | None = None

    def save(self, arrays: Any, state: Any) -> None:
        self.kept = ({name: np.array(array) for name, array in arrays.items()}, json.dumps(state))
        self.saves += 1
        if self.saves == self.kill_after:
            raise Killed

    def load(self) -> tuple[dict[str, Any], dict[str, Any]] | None:
        return None if self.kept is None else (dict(self.kept[0]), json.loads(self.kept[1]))


class RecordedProgress:
    """Remembers what was said."""

    def __init__(self) -> None:
        self.steps: list[tuple[Any, ...]] = []
        self.notes: list[str] = []

    def step(self, *arguments: Any) -> None:
        self.steps.append(arguments)

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(autouse=True)
def _deterministic() -> None:
    use_determinism(1)


@pytest.fixture
def memory_batches() -> type[MemoryBatches]:
    return MemoryBatches


@pytest.fixture
def killed() -> type[Killed]:
    return Killed


@pytest.fixture
def checkpoints() -> MemoryCheckpoints:
    return MemoryCheckpoints()


@pytest.fixture
def progress() -> RecordedProgress:
    return RecordedProgress()


@pytest.fixture
def image_schema() -> Schema:
    return Schema(
        kind="image",
        input_shape=(8, 8, 1),
        input_range=(0.0, 1.0),
        storage_divisor=255.0,
        class_names=("a", "b", "c"),
        target_name="class",
    )


@pytest.fixture
def vector_schema() -> Schema:
    return Schema(
        kind="vector",
        input_shape=(6,),
        input_range=None,
        storage_divisor=1.0,
        class_names=("a", "b", "c"),
        target_name="class",
    )


@pytest.fixture
def blobs() -> tuple[Any, Any]:
    """150 rows of three overlapping classes: x (150, 6) float32, y (150,) int32."""
    generator = np.random.default_rng(3)
    y = generator.integers(0, 3, 150).astype(np.int32)
    centres = generator.normal(size=(3, 6))
    return (centres[y] + generator.normal(size=(150, 6))).astype(np.float32), y

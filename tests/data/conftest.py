from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from data.config import DataConfig
from data.dataset import Dataset
from data.ingest import ingest


class Silence:
    """A progress that is told everything and says nothing."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, int, int]] = []

    def step(self, label: str, done: int, total: int, figures: Mapping[str, float | str]) -> None:
        self.steps.append((label, done, total))

    def note(self, text: str) -> None:
        raise AssertionError(text)


def make_config(**fields: Any) -> DataConfig:
    config: DataConfig = TypeAdapter(DataConfig).validate_python(fields)
    return config


@pytest.fixture
def ingested(tmp_path: Path) -> Callable[..., Dataset]:
    """Ingests a source into a new folder and opens it."""
    count = 0

    def run(task: str = "classification", seed: int = 1, **fields: Any) -> Dataset:
        nonlocal count
        count += 1
        folder = tmp_path / f"dataset-{count}"
        ingest(make_config(**fields), task, folder, seed, Silence())
        return Dataset.open(folder)

    return run


@pytest.fixture
def table(ingested: Callable[..., Dataset], tmp_path: Path) -> Callable[..., Dataset]:
    """Writes a CSV and ingests it."""

    def run(text: str | bytes, task: str = "classification", name: str = "table.csv", **fields: Any) -> Dataset:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return ingested(task, source="table", path=str(path), **({"target": "y"} | fields))

    return run

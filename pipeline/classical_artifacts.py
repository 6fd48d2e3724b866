"""Fitted classical models on disk: plain arrays and JSON, never a pickle."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data.array_files import read_members
from data.contract import ConversionError, FrozenConfig, Schema
from models.classical.forms import Form, pack, unpack
from models.config import MetricName, TaskName
from pipeline.bundle_layout import CLASSICAL_ARRAYS, CLASSICAL_FORM
from pipeline.ledger import ClassicalRow

if TYPE_CHECKING:
    from models.tasks import Task

_RECORD = "record.json"


class ClassicalRecord(FrozenConfig):
    """What has to be known of a fitted model besides its numbers."""

    name: str
    """What it is called: its family, or the baseline that it is."""

    task: TaskName
    """What it predicts."""

    metric: MetricName | None = None
    """What its score is; the task's own where a config names none."""

    data_schema: Schema
    """What it eats and answers."""

    class_weights: tuple[float, ...] | None = None
    """Weight of each class code it was fitted with; None: all 1."""

    num_rows: int
    """Training rows it was fitted on."""

    def as_task(self) -> Task:
        """Returns the task with the score of this model."""
        from models.tasks import task_for

        return task_for(self.task, None, self.metric)


@dataclass(frozen=True)
class SavedClassical:
    """A fitted classical model on disk.

    Attributes:
        folder: where it lies.
        record: task, schema, and what it was fitted on.
    """

    folder: Path
    record: ClassicalRecord

    @staticmethod
    def open(folder: Path) -> SavedClassical:
        """Opens the folder of a model; its numbers are read by `load`."""
        text = (folder / _RECORD).read_text(encoding="utf-8")
        return SavedClassical(folder, ClassicalRecord.model_validate_json(text))

    def load(self) -> Form:
        """Returns the model."""
        return read_form((self.folder / CLASSICAL_FORM).read_text(encoding="utf-8"), self.folder / CLASSICAL_ARRAYS)


def save_classical(folder: Path, form: Form, record: ClassicalRecord) -> None:
    """Writes a fitted model into an existing folder."""
    write_form(folder, form)
    (folder / _RECORD).write_text(record.model_dump_json(), encoding="utf-8")


def write_form(folder: Path, form: Form) -> None:
    """Writes a model's numbers and their description into an existing folder."""
    described, arrays = pack(form)
    (folder / CLASSICAL_FORM).write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    np.savez(folder / CLASSICAL_ARRAYS, **arrays)  # type: ignore[arg-type]  # numpy types **kwds as its own flags


def read_form(description: str, arrays: Any) -> Form:
    """Reads a model back.

    Args:
        description: text of model.json.
        arrays: path of model.npz, or an open file of its bytes.

    Raises:
        ConversionError: the parts are not those of a model.
        DataError: a file is malformed.
    """
    try:
        described = json.loads(description)
    except (ValueError, RecursionError) as error:
        raise ConversionError(
            f"model: expected JSON in {CLASSICAL_FORM}, got none ({str(error)[:100]}). Run the pipeline again."
        ) from error
    with arrays.open("rb") if isinstance(arrays, Path) else arrays as stream:
        return unpack(described, read_members(stream, CLASSICAL_ARRAYS))


@dataclass(frozen=True)
class Baselines:
    """The fitted baselines of a run.

    Attributes:
        folder: where they lie, a folder each.
        rows: what was measured of each.
    """

    folder: Path
    rows: tuple[ClassicalRow, ...]

    def load(self, name: str) -> Form:
        """Returns the baseline of that name."""
        return SavedClassical.open(self.folder / name).load()

"""What ingest leaves on disk, opened: memory-mapped splits, schema, profile, preprocessing."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from data.batches import ArrayBatches, JoinedRows
from data.contract import SPLIT_NAMES, Batches, DataError, Part, Schema, Split
from data.kept_inputs import keep_inputs
from data.preprocessing import Preprocessing

TEST_NAMES = "test_names.json"
"""Names that the source has for the rows of the test split."""

UNLABELED_NAME = "unlabeled"
"""What the arrays of rows without labels are called: `unlabeled_x.npy`, `unlabeled_rows.npy`."""


@dataclass(frozen=True)
class Dataset:
    """A folder of arrays that a model can eat.

    Attributes:
        folder: where the arrays lie.
        schema: what a model eats and what it answers.
        kept_inputs: positions, in the flattened input, of the entries that a model eats; None: all, unflattened.
    """

    folder: Path
    schema: Schema
    kept_inputs: tuple[int, ...] | None = None

    @classmethod
    def open(cls, folder: str | Path) -> Dataset:
        """Opens a folder that `data.ingest.ingest` wrote.

        Raises:
            DataError: the folder holds no dataset.
        """
        folder = Path(folder)
        return cls(folder, _read_schema(folder))

    def keeping(self, inputs: tuple[int, ...] | None) -> Dataset:
        """Returns the same rows for a model that eats only some entries of the flattened input; None: all of them."""
        whole = self if self.kept_inputs is None else Dataset.open(self.folder)
        if inputs is None:
            return whole
        names = whole.schema.feature_names
        changes = {"input_shape": (len(inputs),), "feature_names": tuple(names[each] for each in inputs if names)}
        return replace(whole, schema=whole.schema.model_copy(update=changes), kept_inputs=inputs)

    def split(self, name: str) -> Split:
        """Returns the split `train`, `validation` or `test` as it is stored, memory-mapped, every input of it.

        Raises:
            DataError: an array is missing or damaged.
        """
        if name not in SPLIT_NAMES:
            raise ValueError(f"split: expected one of {', '.join(SPLIT_NAMES)}, got {name!r}. Name one of them.")
        return Split(*(self._array(f"{name}_{part}.npy") for part in ("x", "y", "rows")))

    def raw(self, name: str) -> NDArray[Any]:
        """Returns the rows of `validation` or `test` as a device would meet them.

        Returns:
            Images: uint8 (rows, height, width, channels) pixels. Tables: float32 (rows, columns): numbers, 0/1 or
            positions of categories (-1: unseen), NaN where missing. Series: float32 (rows, steps, channels).
        """
        if name not in SPLIT_NAMES[1:]:
            raise ValueError(f"split: expected validation or test, got {name!r}. Training rows are not kept raw.")
        return self._array(f"{name}_x.npy" if self.schema.kind == "image" else f"{name}_raw.npy")

    @property
    def num_unlabeled(self) -> int:
        """Rows without labels that lie beside the training rows."""
        return int(self.profile["rows"].get("unlabeled", 0))

    def test_names(self) -> list[str] | None:
        """Returns what the source calls each row of the test split, as an image's path; None where it has no names."""
        path = self.folder / TEST_NAMES
        if not path.exists():
            return None
        names: list[str] = json.loads(_read_text(path))
        return names

    @property
    def profile(self) -> dict[str, Any]:
        """What is in the data, and what is wrong with it (`profile.json`)."""
        profile: dict[str, Any] = json.loads(_read_text(self.folder / "profile.json"))
        return profile

    @property
    def preprocessing(self) -> Preprocessing:
        """From raw rows to model input (`preprocessing.json`)."""
        stored = Preprocessing.from_json(_read_text(self.folder / "preprocessing.json"))
        return stored.model_copy(update={"kept_inputs": self.kept_inputs})

    def batches(
        self,
        name: str,
        batch_size: int | Literal["full"],
        seed: int,
        targets: NDArray[Any] | None = None,
        part: Part = Part(),  # noqa: B008 -- frozen
    ) -> Batches:
        """Returns the rows of a split in shuffled batches of float32 model input.

        Args:
            name: `train`, `validation` or `test`; `pretrain`: the training rows and those without labels, whose
                targets are -1 (NaN for regression), shuffled together.
            batch_size: rows of a batch; `full`: all of them.
            seed: of the shuffle.
            targets: (rows, ...) in place of the split's own, in its order.
            part: rows of each batch that are given; not looked at by `pretrain`.
        """
        if name == "pretrain" and self.num_unlabeled:
            return self._pretraining_batches(batch_size, seed, targets)
        split = self.split("train" if name == "pretrain" else name)
        y = split.y if targets is None else targets
        size = len(split) if batch_size == "full" else batch_size
        return ArrayBatches(split.x, y, size, seed, self.schema.storage_divisor, self.kept_inputs, part)

    def inputs(self, name: str, rows: slice | NDArray[Any] | None = None) -> NDArray[np.float32]:
        """Returns model input of some rows of a split.

        Args:
            name: `train`, `validation` or `test`.
            rows: which rows; all of them when left out.

        Returns:
            (rows, *input_shape) float32.
        """
        stored = keep_inputs(self.split(name).x[slice(None) if rows is None else rows], self.kept_inputs)
        return stored.astype(np.float32) / np.float32(self.schema.storage_divisor)

    def _pretraining_batches(
        self, batch_size: int | Literal["full"], seed: int, targets: NDArray[Any] | None
    ) -> Batches:
        train = self.split("train")
        x = JoinedRows([train.x, self._array(f"{UNLABELED_NAME}_x.npy")])
        if targets is None:
            unknown = -1 if train.y.dtype.kind == "i" else np.nan
            targets = np.concatenate([train.y, np.full(self.num_unlabeled, unknown, train.y.dtype)])
        size = len(x) if batch_size == "full" else batch_size
        return ArrayBatches(x, targets, size, seed, self.schema.storage_divisor, self.kept_inputs)

    def _array(self, file_name: str) -> NDArray[Any]:
        path = self.folder / file_name
        try:
            array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(f"dataset: expected an array in {path}, got: {error}. Run ingest again.") from error
        return array


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"dataset: expected the file {path}, got: {error.strerror}. Run ingest again.") from error


def _read_schema(folder: Path) -> Schema:
    try:
        return Schema.model_validate_json(_read_text(folder / "schema.json"))
    except ValidationError as error:
        raise DataError(
            f"dataset: expected a schema in {folder / 'schema.json'}, got: {error.errors()[0]['msg']}. "
            "Run ingest again."
        ) from error

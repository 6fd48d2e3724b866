"""What the rooms of Penjing agree on: schemas, splits, batches, configs and errors.

Everything here is a plain declaration. It imports pydantic alone, so that reading, planning and
validating a config never pay for NumPy, pandas or TensorFlow.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# ---------------------------------------------------------------------------------------- errors


class PenjingError(Exception):
    """The root of every error Penjing raises on purpose.

    A message reads `<section>.<field>: expected <rule>, got <value>. <what to do>`; `exit_code`
    is what the command line ends with.
    """

    exit_code: ClassVar[int] = 1


class ConfigError(PenjingError):
    """The config or the command line is wrong, as far as can be known without opening the data."""

    exit_code: ClassVar[int] = 2


class DataError(PenjingError):
    """The data cannot be used as the config asks: missing, malformed, or saying too little."""

    exit_code: ClassVar[int] = 3


class StoreError(PenjingError):
    """The work directory cannot be read or written: permission, space, a lock held too long."""


class TrainingError(PenjingError):
    """Training cannot go on: the loss is not finite, or a checkpoint does not fit the model."""


class ConversionError(PenjingError):
    """A model cannot be converted to, or run by, the runtime that was asked for."""


class GateError(PenjingError):
    """The exported model failed a check of the export gate; the message names the check and stage."""


class TargetMissedError(PenjingError):
    """The best attempt misses a limit of `target`; its bundle is written all the same."""

    exit_code: ClassVar[int] = 4


# ---------------------------------------------------------------------------------------- config


class FrozenConfig(BaseModel):
    """A section of a run's config: immutable, unknown keys refused, no coercion, no infinities."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        validate_default=True,
        use_attribute_docstrings=True,
        protected_namespaces=(),
    )


# ---------------------------------------------------------------------------------------- schema


class Schema(FrozenConfig):
    """What a model eats and what it answers; written by ingest, read by every later stage."""

    kind: Literal["image", "vector", "series"]
    """`image`: (height, width, channels) in [0, 1]; `vector`: (features,) standardized floats; `series`: (steps,
    channels) standardized floats, the oldest step first."""

    input_shape: tuple[int, ...]
    """Shape of one example, without the batch dimension."""

    input_range: tuple[float, float] | None
    """Ends of the model's float input where the data has fixed ends ((0, 1) for images); else None."""

    storage_divisor: float
    """Stored arrays become model input as `float32(x) / storage_divisor`: 255 for pixels, else 1."""

    class_names: tuple[str, ...]
    """Names of the classes in the order of their codes; empty for regression and where there are no labels."""

    target_name: str | None
    """Name of the predicted column, or `class`; null where there are no labels."""

    target_mean: float = 0.0
    """Regression: mean of the training targets; stored targets are `(y - mean) / scale`."""

    target_scale: float = 1.0
    """Regression: standard deviation of the training targets (1 where it is 0); else 1."""

    feature_names: tuple[str, ...] = ()
    """Names of the entries of a vector input, in order; empty for images and series."""

    channel_names: tuple[str, ...] = ()
    """Names of the channels of a series, in order; empty for images and vectors."""

    @property
    def num_classes(self) -> int:
        """Number of classes; 0 for regression and where there are no labels."""
        return len(self.class_names)


SPLIT_NAMES = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """One split of a dataset, memory-mapped.

    Attributes:
        x: (rows, *input_shape), as stored (uint8 pixels, float32 features).
        y: (rows,), int32 class codes or float32 standardized targets; int32 zeros where there are no labels.
        rows: (rows,), int64 position of each row in the source, for reports.
    """

    x: NDArray[Any]
    y: NDArray[Any]
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Part:
    """Which rows of each batch one of several processes takes that train together.

    Attributes:
        index: its number, from 0.
        count: how many there are.

    Example:
        >>> [Part(index, 3).rows(64) for index in range(3)]
        [(0, 21), (21, 42), (42, 64)]
    """

    index: int = 0
    count: int = 1

    def rows(self, total: int) -> tuple[int, int]:
        """Returns the first and the end of its rows in a batch of `total` rows; equal where it has none."""
        return self.index * total // self.count, (self.index + 1) * total // self.count


class Batches(Protocol):
    """Training rows in a fixed number of batches an epoch; any batch can be asked for at any time.

    Batch `index` of epoch `epoch` depends on nothing but the two numbers and the seed the object
    was made with, which is what makes exact resume possible.
    """

    @property
    def num_rows(self) -> int:
        """Rows an epoch passes over."""

    @property
    def num_batches(self) -> int:
        """Batches an epoch; the last may be smaller."""

    @property
    def batch_size(self) -> int:
        """Rows of every batch but the last."""

    def batch(self, epoch: int, index: int) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """Returns (x, y): x float32 (rows, *input_shape) as the model eats it; y (rows,).

        Of batches that are made for one of several processes, only its rows; their numbers are those of all.
        """

    @property
    def divisor(self) -> float:
        """What stored inputs are divided by, in float32, before the model eats them."""

    def stored(self, epoch: int, index: int, count: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Returns the rows of batches `index` to `index + count - 1`, of one size, one after the other, as stored.

        Their x is (rows, *input_shape) of the type that is stored: that of `batch` is float32(x) / divisor.
        """


# --------------------------------------------------------------------- what a stage is lent to work


class Checkpoints(Protocol):
    """Where a training keeps its state between epochs. The models' side knows no files."""

    def save(self, arrays: Mapping[str, NDArray[Any]], state: Mapping[str, Any]) -> None:
        """Replaces the kept state atomically.

        Args:
            arrays: name -> array.
            state: JSON-able; its `resumes_at` tells a user where the work goes on, e.g. `epoch 5`.
        """

    def load(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]] | None:
        """Returns what was last saved, or None where there is nothing usable."""


class Progress(Protocol):
    """Tells a user how far a stage is; drawn as a bar on a terminal and as lines elsewhere."""

    def step(self, label: str, done: int, total: int, figures: Mapping[str, float | str]) -> None:
        """Says that `done` of `total` units of `label` are finished, with figures worth seeing."""

    def note(self, text: str) -> None:
        """Says one line that stays."""


def derive_seed(seed: int, *names: str) -> int:
    """Derives the seed of one use from the run's seed by name: SHA-256, 31 bits, never 0.

    Args:
        seed: the run's seed.
        names: what the seed is for, e.g. `("train", "shuffle")`.

    Returns:
        An integer in [1, 2**31 - 1]; never 0, which keras-tuner takes for "random".
    """
    text = "\x1f".join((str(seed), *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % (2**31 - 1) + 1

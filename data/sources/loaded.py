"""What a source hands to ingest: rows of named columns, pixels that are read when they are stored, or windows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from data.recording import Roles
from data.scratch import Scratch
from data.windows import NO_WINDOWS, Windows

ColumnKind = Literal[
    "numeric", "boolean", "categorical", "date", "text", "identifier", "row_number", "empty", "dropped", "unsupported"
]


@dataclass(frozen=True)
class Column:
    """One column of a table, recognised.

    Attributes:
        name: as the source names it.
        kind: what it holds; the first three kinds can be learned from, `dropped` is what the config leaves out.
        values: (rows,) numbers, 0/1, or positions in `vocabulary`; NaN where missing. None where it cannot be learned.
        vocabulary: the distinct values of a categorical column, sorted.
        missing: rows without a value.
        distinct: number of distinct values, missing ones aside.
        why_left_out: reason for which it is no input; None for an input.
    """

    name: str
    kind: ColumnKind
    values: NDArray[Any] | None
    vocabulary: tuple[str, ...] = ()
    missing: int = 0
    distinct: int = 0
    why_left_out: str | None = None

    def without_rows(self, keep: NDArray[np.bool_], scratch: Scratch | None = None) -> Column:
        """Returns the column with only the rows that `keep` (rows,) marks; counts stay those of the source.

        The rows are moved into a file of `scratch`, if there is one.
        """
        return replace(self, values=None if self.values is None else self.values[keep]).kept(scratch)

    def kept(self, scratch: Scratch | None) -> Column:
        """Returns the column with its values in a file of `scratch`, if there is one."""
        if self.values is None or scratch is None:
            return self
        return replace(self, values=scratch.keep(self.values))


@dataclass(frozen=True)
class Targets:
    """What is to be predicted.

    Attributes:
        values: (rows,) int32 class codes, or float64 numbers for regression; int32 zeros where there are no labels.
        class_names: names in the order of their codes; empty for regression and where there are no labels.
        name: name of the predicted column, or `class`; None where there are no labels.
    """

    values: NDArray[Any]
    class_names: tuple[str, ...]
    name: str | None = "class"

    @property
    def are_numbers(self) -> bool:
        """Whether numbers are to be predicted."""
        return not self.class_names and self.name is not None


def no_targets(num_rows: int) -> Targets:
    """Returns the targets of rows without labels."""
    return Targets(np.zeros(num_rows, np.int32), (), None)


@dataclass(frozen=True)
class Loaded:
    """What every source says about its rows.

    Attributes:
        targets: what is to be predicted.
        description: JSON-able account of the source for the profile; names no absolute path.
        warnings: what the user should know, one sentence each.
        given: (rows,) split of each row where the source ships splits, 0 train, 1 validation, 2 test; else None.
        groups: (rows,) group of each row where groups are kept together; else None.
        positions: (rows,) int64 position of each row in the source.
        names: (rows,) name of each row in the source, as an image's path in its folder; None where rows have none.
        strata: (rows,) int64 what every split gets its share of; None: classes, or ranges of the numbers to predict.
        test_only: (rows,) whether a row may lie in the test split alone; None: no row is held back.
    """

    targets: Targets
    description: Mapping[str, Any]
    positions: NDArray[np.int64]
    warnings: tuple[str, ...] = ()
    given: NDArray[np.int8] | None = None
    groups: NDArray[Any] | None = None
    names: Sequence[str] | None = None
    strata: NDArray[np.int64] | None = None
    test_only: NDArray[np.bool_] | None = None

    def without_rows(self, keep: NDArray[np.bool_], warning: str) -> Self:
        """Returns the source with only the rows that `keep` (rows,) marks, and a warning that says so."""
        changes: dict[str, Any] = {"positions": self.positions[keep], "warnings": (*self.warnings, warning)}
        changes["targets"] = replace(self.targets, values=self.targets.values[keep])
        for name in ("given", "groups", "strata", "test_only"):
            values = getattr(self, name)
            changes[name] = None if values is None else values[keep]
        if self.names is not None:
            changes["names"] = tuple(self.names[row] for row in np.flatnonzero(keep).tolist())
        return replace(self, **changes)


@dataclass(frozen=True)
class LoadedTable(Loaded):
    """Rows of named columns.

    Attributes:
        columns: every column of the source but target and group, inputs and left-out ones.
        max_categories: most categories a column keeps.
        binned: whether columns of numbers may get bins: not the samples of one signal, which bins would multiply.
        scratch: in whose files the columns lie; None: in memory.
    """

    columns: tuple[Column, ...] = ()
    max_categories: int = 32
    binned: bool = True
    scratch: Scratch | None = None

    def without_rows(self, keep: NDArray[np.bool_], warning: str) -> Self:
        """Returns the table with only the rows that `keep` (rows,) marks, and a warning that says so."""
        columns = tuple(column.without_rows(keep, self.scratch) for column in self.columns)
        return replace(super().without_rows(keep, warning), columns=columns)


@dataclass(frozen=True)
class LoadedImages(Loaded):
    """Images of one shape.

    Attributes:
        shape: (height, width, channels).
        read: takes row numbers (n,) and returns their pixels, uint8 (n, height, width, channels).
        pixel_maximum: largest pixel value in the source's own units; stored pixels are scaled to 0 to 255.
    """

    shape: tuple[int, int, int] = (0, 0, 0)
    read: Callable[[NDArray[np.int64]], NDArray[np.uint8]] = field(default=lambda _rows: np.empty(0, np.uint8))
    pixel_maximum: float = 255.0

    def without_rows(self, keep: NDArray[np.bool_], warning: str) -> Self:
        """Returns the images with only those that `keep` (rows,) marks, and a warning that says so."""
        kept, read = np.flatnonzero(keep), self.read
        return replace(super().without_rows(keep, warning), read=lambda rows: read(kept[rows]))


@dataclass(frozen=True)
class LoadedSeries(Loaded):
    """Windows over recordings; a row is a window, cut when it is stored.

    Attributes:
        windows: the rows.
        stride: steps between the starts of windows of one recording.
        roles: what the columns of the files are, channels by name.
        left_out: other columns, and why they are no channels.
        scratch: in whose files long columns of numbers may be laid out; None: in memory.
    """

    windows: Windows = NO_WINDOWS
    stride: int = 1
    roles: Roles = field(default_factory=Roles)
    left_out: Mapping[str, str] = field(default_factory=dict)
    scratch: Scratch | None = None

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels, in order."""
        return self.roles.channels or ()

    def without_rows(self, keep: NDArray[np.bool_], warning: str) -> Self:
        """Returns the series with only the windows that `keep` (rows,) marks, and a warning that says so."""
        kept = super().without_rows(keep, warning)
        return replace(kept, windows=self.windows.only(keep), names=self.windows.only(keep))

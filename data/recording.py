"""What a recording is: the channels of a file over time; and what the columns of its file are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Roles:
    """What the columns of a file of series are.

    Attributes:
        channels: columns to learn from, in order; None: all columns of numbers but the others.
        time: column that rises, or None.
        group: column that tells recordings apart, or None.
        target: column to predict, or None.
        missing: what to do about missing cells of channels.
    """

    channels: tuple[str, ...] | None = None
    time: str | None = None
    group: str | None = None
    target: str | None = None
    missing: Literal["error", "interpolate"] = "error"

    @property
    def aside(self) -> tuple[str, ...]:
        """Columns that are no channels."""
        return tuple(name for name in (self.time, self.group, self.target) if name is not None)


@dataclass(frozen=True)
class Recording:
    """One series: the rows of a file, or those that one group has in it, in their order.

    Attributes:
        file: name of the file.
        group: value of the group column; None without one.
        rows: (steps,) row of each step in the file, from 0.
        values: (steps, channels) float32, finite.
        labels: (steps,) target of each step: float64, NaN where missing; or positions in `vocabulary`, -1 where
            missing; None without a target column.
        vocabulary: distinct labels of the file, where they are text.
        filled: number of cells that were interpolated.
        uneven: largest step in time over the median one, where that is worth a warning; else None.
    """

    file: str
    group: str | None
    rows: range | NDArray[np.int64]
    values: NDArray[np.float32]
    labels: NDArray[Any] | None = None
    vocabulary: tuple[str, ...] = ()
    filled: int = 0
    uneven: float | None = None

    @property
    def name(self) -> str:
        """What errors and reports call it."""
        return self.file if self.group is None else f"{self.file} {self.group}"

"""From files of series to model input: how windows are cut, and how their channels are standardized."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from data.contract import FrozenConfig

SERIES_CLIP = 8.0
"""Standardized channels are clipped to ±8 standard deviations, later than columns of a table: the peaks that a series
is about (a heartbeat's) may lie 5 deviations out."""


class SeriesChannel(FrozenConfig):
    """A channel of a series: standardized and clipped at every step alike."""

    name: str
    """Column of the source."""

    mean: float
    """Mean over the steps of the training windows, each step once."""

    scale: float = Field(gt=0.0)
    """Standard deviation over the same steps; 1 where it is 0."""


class SeriesSteps(FrozenConfig):
    """How the files of a series become windows, before these are standardized."""

    stride: int = Field(ge=1)
    """Steps from the start of one window to that of the next."""

    channels: tuple[SeriesChannel, ...]
    """Columns that are read, in order."""

    time: str | None = None
    """Column that must rise where a file has it."""

    group: str | None = None
    """Column that tells recordings apart where a file has it."""

    missing: Literal["error", "interpolate"] = "error"
    """Missing cells: refused, or filled in on a straight line between the values around them."""

    def standardize(self, raw: NDArray[Any], clip: float) -> NDArray[np.float32]:
        """Returns `(raw - mean) / scale` of each channel, clipped.

        Args:
            raw: (rows, steps, channels) float32.
            clip: largest magnitude that is left.

        Returns:
            The same shape, float32; all arithmetic is float32, in the order written.
        """
        means = np.array([channel.mean for channel in self.channels], np.float32)
        scales = np.array([channel.scale for channel in self.channels], np.float32)
        values: NDArray[np.float32] = np.clip((raw - means) / scales, np.float32(-clip), np.float32(clip))
        return values

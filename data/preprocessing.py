"""From raw rows to model input: transforms fitted on the training split, kept as JSON beside the model.

`preprocessing.json` is a public contract of the bundle. All figures in it are representable in
float32 and all arithmetic here is float32, in the order written: a microcontroller that follows it
gets the same numbers, bit for bit. The one exception are columns with a logarithm, and their bins:
the last bits of `log1p` differ between mathematical libraries, features by some 1e-6 at most.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator

from data.column_transforms import TableColumn
from data.contract import DataError, FrozenConfig
from data.kept_inputs import keep_inputs
from data.pictures import PictureSteps
from data.series_steps import SeriesSteps

CLIP = 4.0
"""Standardized numbers are clipped to ±4 standard deviations: an int8 input shares one scale among all
features, and at ±4 a step is 0.03, whatever a single outlier may be. Heavy tails get a logarithm first."""

PREPROCESSING_VERSION = 1


class Preprocessing(FrozenConfig):
    """Everything between a raw row and the model's input, and back from its output to real units."""

    version: Literal[1] = 1
    """Version of this contract."""

    kind: Literal["image", "vector", "series"]
    """`image`: pixels / divisor; `vector`: columns, one after the other; `series`: channels, step by step."""

    source: Literal["builtin", "table", "images", "arrays", "idx", "series"]
    """Kind of source the data came from; says in which formats input for predictions is read."""

    input_shape: tuple[int, ...]
    """Shape of one model input, before entries are left out of it."""

    kept_inputs: tuple[int, ...] | None = None
    """Last step: positions, in the flattened input, of the entries that the model takes as a vector, rising; the
    others never changed in the training rows. Null: the model takes all of them in their shape."""

    divisor: float = Field(gt=0.0)
    """Image: model input is pixel / divisor. Vector: 1."""

    pixel_maximum: float = Field(gt=0.0)
    """Image: white in the source's own units, in which arrays are read unless they are uint8 of 0 to 255."""

    pictures: PictureSteps | None = None
    """Image files: how they became pixels, in this order; null where the source held pixels."""

    array_name: str = "x"
    """Name of the inputs in an .npz file."""

    columns: tuple[TableColumn, ...]
    """Vector: how each raw column becomes features, in order; empty for images and series."""

    source_columns: tuple[str, ...] = ()
    """Vector: every input column of the source in order, those left out too, for rows without names."""

    series: SeriesSteps | None = None
    """Series: how windows are cut and their channels standardized; null for others."""

    clip: float = CLIP
    """Vector and series: standardized numbers are clipped to plus and minus this."""

    class_names: tuple[str, ...]
    """Classification: names of the classes in the order of the model's outputs. Reconstruction and clustering: names
    of the labels that the data has, if any. Empty for regression."""

    target_name: str | None
    """Name of what is predicted; null where the data has no labels."""

    target_mean: float
    """Regression: prediction = target_mean + target_scale * output; 0 for other tasks."""

    target_scale: float
    """Regression: prediction = target_mean + target_scale * output; 1 for other tasks."""

    @model_validator(mode="after")
    def _columns_make_the_input(self) -> Self:
        if self.kind != "vector" and self.columns:
            raise ValueError(f"kind is {self.kind}, but there are columns")
        channels = None if self.series is None else len(self.series.channels)
        if (self.kind == "series") != (channels is not None) or (channels or self.input_shape[-1]) != self.input_shape[
            -1
        ]:
            raise ValueError(f"kind is {self.kind} of {self.input_shape}, with {channels} channels of a series")
        if self.kind == "vector" and (not self.columns or self.input_shape != (len(self.feature_names),)):
            raise ValueError(
                f"input_shape is {self.input_shape}, but the columns make {len(self.feature_names)} features"
            )
        kept = () if self.kept_inputs is None else (-1, *self.kept_inputs, math.prod(self.input_shape))
        if len(kept) == 2 or any(lower >= upper for lower, upper in pairwise(kept)):
            raise ValueError(f"kept_inputs are not rising positions in an input of {self.input_shape}")
        absent = [column.name for column in self.columns if column.name not in self.source_columns]
        if absent and self.source_columns:
            raise ValueError(f"source_columns lack {', '.join(map(repr, absent))}")
        return self

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the entries of a vector input, in order; empty for images and series."""
        return tuple(name for column in self.columns for name in column.features)

    @property
    def predicts_a_number(self) -> bool:
        """Whether the output is a number in the target's unit, once it is scaled back."""
        return not self.class_names and self.target_name is not None

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the channels of a series, in order; empty for images and vectors."""
        return () if self.series is None else tuple(channel.name for channel in self.series.channels)

    @property
    def model_shape(self) -> tuple[int, ...]:
        """Shape of what the model takes."""
        return self.input_shape if self.kept_inputs is None else (len(self.kept_inputs),)

    def to_json(self) -> str:
        """Returns the contract as JSON text; `from_json` is its inverse."""
        return self.model_dump_json(indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Preprocessing:
        """Returns the preprocessing that `text` describes.

        Raises:
            DataError: the text is not a preprocessing of this version.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(("preprocessing", *map(str, first["loc"])))
            raise DataError(
                f"{where}: expected preprocessing.json of version {PREPROCESSING_VERSION}, "
                f"got: {first['msg'].removeprefix('Value error, ')}. Run the pipeline again to write it anew."
            ) from error

    def transform(self, raw: NDArray[Any]) -> NDArray[np.float32]:
        """Turns raw rows into model input.

        Args:
            raw: image: uint8 (rows, height, width, channels); vector: float32 (rows, columns), numbers,
                0/1 or category positions (-1: unseen), NaN where missing; series: float32 (rows, steps, channels).

        Returns:
            (rows, *model_shape) float32.
        """
        return keep_inputs(self._whole(raw), self.kept_inputs)

    def _whole(self, raw: NDArray[Any]) -> NDArray[np.float32]:
        if self.kind == "image":
            return raw.astype(np.float32) / np.float32(self.divisor)
        if self.series is not None:
            return self.series.standardize(raw, self.clip)
        # Column by column: written row by row, each number would go to another page of memory.
        inputs = np.empty((len(raw), *self.input_shape), np.float32, order="F")
        start = 0
        for position, column in enumerate(self.columns):
            stop = start + len(column.features)
            inputs[:, start:stop] = column.encode(np.asarray(raw[:, position], np.float32), self.clip)
            start = stop
        return np.ascontiguousarray(inputs)

    def inverse_target(self, outputs: NDArray[Any]) -> NDArray[np.float64]:
        """Returns regression outputs in the target's own unit, float64: mean + scale * output."""
        return self.target_mean + self.target_scale * np.asarray(outputs, np.float64)

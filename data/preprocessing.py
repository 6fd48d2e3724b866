"""From raw rows to model input: transforms fitted on the training split, kept as JSON beside the model.

`preprocessing.json` is a public contract of the bundle. All figures in it are representable in
float32 and all arithmetic here is float32, in the order written: a microcontroller that follows it
gets the same numbers, bit for bit. The one exception are columns with a logarithm, and their bins:
the last bits of `log1p` differ between mathematical libraries, features by some 1e-6 at most.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator

from data.contract import DataError, FrozenConfig
from data.kept_inputs import keep_inputs
from data.pictures import PictureSteps
from data.series_steps import SeriesSteps

CLIP = 4.0
"""Standardized numbers are clipped to ±4 standard deviations: an int8 input shares one scale among all
features, and at ±4 a step is 0.03, whatever a single outlier may be. Heavy tails get a logarithm first."""

PREPROCESSING_VERSION = 1


class SignedLog(FrozenConfig):
    """`sign(v - center) * log(1 + |v - center| / unit)`: tames a heavy tail and keeps the order of values."""

    center: float
    """Value that becomes 0."""

    unit: float = Field(gt=0.0)
    """Distance from the center below which the transform is nearly linear, in the column's unit."""

    def apply(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns the transformed values, float32, same shape."""
        distance = values - np.float32(self.center)
        logarithm: NDArray[np.float32] = np.copysign(np.log1p(np.abs(distance) / np.float32(self.unit)), distance)
        return logarithm


class NumericColumn(FrozenConfig):
    """Number: imputed, perhaps logarithm, standardized, clipped; then an indicator of missing values; then bins.

    A bin rises from 0 at its lower edge to 1 at its upper one and stays there, so that the first layer of a
    network can cut at thresholds as a tree does.

    Reference:
        Gorishniy, Rubachev & Babenko 2022, On Embeddings for Numerical Features in Tabular Deep Learning, eq. (1).
    """

    kind: Literal["numeric"] = "numeric"
    """What the column holds."""

    name: str
    """Name in the source."""

    impute: float
    """Stands in for a missing value: the training median."""

    indicator: bool
    """Whether a second feature says 1 where the value is missing (where training has missing values)."""

    log: SignedLog | None
    """Applied before standardization where the training values have a heavy tail."""

    mean: float
    """Mean over the training split, after the logarithm."""

    scale: float = Field(gt=0.0)
    """Standard deviation over the training split, after the logarithm."""

    edges: tuple[float, ...] = ()
    """Edges of the bins, rising, in standardized units: quantiles of the training split; empty: no bins."""

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if any(lower >= upper for lower, upper in pairwise(self.edges)):
            raise ValueError(f"edges of column {self.name!r} do not rise")
        return self

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features it becomes."""
        indicator = (f"{self.name}=<missing>",) if self.indicator else ()
        bins = tuple(f"{self.name}=<bin {number}>" for number in range(1, len(self.edges)))
        return (self.name, *indicator, *bins)

    def encode(self, raw: NDArray[np.float32], clip: float) -> NDArray[np.float32]:
        """Returns (rows, features) float32 from (rows,) float32 numbers, NaN where missing."""
        missing = np.isnan(raw)
        values = np.where(missing, np.float32(self.impute), raw)
        if self.log is not None:
            values = self.log.apply(values)
        standardized = (values - np.float32(self.mean)) / np.float32(self.scale)
        standardized = np.clip(standardized, np.float32(-clip), np.float32(clip))
        features = [standardized, missing.astype(np.float32)] if self.indicator else [standardized]
        edges = np.asarray(self.edges, np.float32)
        for lower, upper in pairwise(edges):
            features.append(np.clip((standardized - lower) / (upper - lower), np.float32(0), np.float32(1)))
        return np.stack(features, axis=1)


class BooleanColumn(FrozenConfig):
    """Yes or no: 1 or 0; then an indicator of missing values."""

    kind: Literal["boolean"] = "boolean"
    """What the column holds."""

    name: str
    """Name in the source."""

    impute: float
    """Stands in for a missing value: the more frequent one of training."""

    indicator: bool
    """Whether a second feature says 1 where the value is missing (where training has missing values)."""

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features it becomes."""
        return (self.name, f"{self.name}=<missing>") if self.indicator else (self.name,)

    def encode(self, raw: NDArray[np.float32], clip: float) -> NDArray[np.float32]:  # noqa: ARG002 - one signature
        """Returns (rows, features) float32 from (rows,) float32 of 0, 1 or NaN."""
        missing = np.isnan(raw)
        values = np.where(missing, np.float32(self.impute), (raw != 0).astype(np.float32))
        return np.stack([values, missing.astype(np.float32)][: len(self.features)], axis=1)


class CategoricalColumn(FrozenConfig):
    """Category: one feature a slot.

    A raw value is the position of the category in `categories`, -1 for any other category, NaN for none.
    """

    kind: Literal["categorical"] = "categorical"
    """What the column holds."""

    name: str
    """Name in the source."""

    categories: tuple[str, ...]
    """Categories with a slot of their own, sorted."""

    slots: tuple[str, ...]
    """Names of the slots: the categories, then `<missing>` and `<unseen>` where training has rows for them."""

    missing: tuple[float, ...]
    """Slots of a missing value; those of an unseen one where training has no missing values."""

    unseen: tuple[float, ...]
    """Slots of a category that is not listed: the `<unseen>` slot where rare categories of training fill it,
    else the training frequencies of the slots, which a network reads as the average category."""

    @model_validator(mode="after")
    def _fills_its_slots(self) -> Self:
        listed = self.slots[: len(self.categories)] == self.categories
        if not listed or not len(self.slots) == len(self.missing) == len(self.unseen):
            raise ValueError(f"categories, slots, missing and unseen of column {self.name!r} do not fit together")
        return self

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features it becomes."""
        return tuple(f"{self.name}={slot}" for slot in self.slots)

    def encode(self, raw: NDArray[np.float32], clip: float) -> NDArray[np.float32]:  # noqa: ARG002 - one signature
        """Returns (rows, slots) float32 from (rows,) float32 positions, -1 for unseen, NaN for missing."""
        count = len(self.categories)
        encodings = np.zeros((count + 2, len(self.slots)), np.float32)
        encodings[np.arange(count), np.arange(count)] = 1.0
        encodings[count], encodings[count + 1] = self.unseen, self.missing
        known = (raw >= 0) & (raw < count)
        codes = np.where(known, raw, np.float32(count))
        codes = np.where(np.isnan(raw), np.float32(count + 1), codes)
        return encodings[codes.astype(np.int64)]


TableColumn = Annotated[NumericColumn | BooleanColumn | CategoricalColumn, Field(discriminator="kind")]


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
        inputs = np.empty((len(raw), *self.input_shape), np.float32)
        start = 0
        for position, column in enumerate(self.columns):
            stop = start + len(column.features)
            inputs[:, start:stop] = column.encode(np.asarray(raw[:, position], np.float32), self.clip)
            start = stop
        return inputs

    def inverse_target(self, outputs: NDArray[Any]) -> NDArray[np.float64]:
        """Returns regression outputs in the target's own unit, float64: mean + scale * output."""
        return self.target_mean + self.target_scale * np.asarray(outputs, np.float64)

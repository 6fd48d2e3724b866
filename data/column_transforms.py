"""From a raw column of a table to features: what `preprocessing.json` holds of each column, in float32 arithmetic."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from data.contract import FrozenConfig


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
        values = np.where(missing, np.float32(self.impute), raw) if missing.any() else raw
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

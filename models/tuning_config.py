"""The section of a config that says what other trainings are tried."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from data.contract import FrozenConfig
from models.config import BatchSize, Filters, LearningRate, Strength
from models.field_types import Activation, DropoutFraction, Units

PenaltyKind = Literal["l1", "l2", "elastic_net"]

ELASTIC_SHARES = (0.25, 0.5, 0.75)
"""Shares of L1 in an elastic net that a grid tries; other oracles draw them between 0.1 and 0.9."""


class LearningRateRange(FrozenConfig):
    """Learning rates between two ends, drawn on a log scale."""

    min: LearningRate
    """Lowest rate tried."""

    max: LearningRate
    """Highest rate tried."""


class UnitsRange(FrozenConfig):
    """Neurons of one hidden layer between two ends, drawn on a log scale."""

    min: Units
    """Fewest neurons tried."""

    max: Units
    """Most neurons tried."""


class FiltersRange(FrozenConfig):
    """Filters of one block between two ends, drawn on a log scale."""

    min: Filters
    """Fewest filters tried."""

    max: Filters
    """Most filters tried."""


class DropoutRange(FrozenConfig):
    """Dropout fractions between two ends, drawn evenly."""

    min: DropoutFraction
    """Lowest fraction tried."""

    max: DropoutFraction
    """Highest fraction tried."""


class SpaceConfig(FrozenConfig):
    """What trials may change besides the penalty; what is left out stays as `train` and `model` have it."""

    learning_rate: Annotated[tuple[LearningRate, ...], Field(min_length=1)] | LearningRateRange | None = None
    """`train.optimizer.learning_rate`: a list of rates, or `{min, max}`."""

    batch_size: Annotated[tuple[BatchSize, ...], Field(min_length=1)] | None = None
    """`train.batch_size`: a list of sizes."""

    units: Annotated[tuple[tuple[Units, ...] | UnitsRange, ...], Field(min_length=1, max_length=64)] | None = None
    """`model.units`: a list of whole networks (`[[64, 32], [128]]`), or of one range a hidden layer
    (`[{min: 16, max: 128}, {min: 8, max: 64}]`)."""

    filters: Annotated[tuple[tuple[Filters, ...] | FiltersRange, ...], Field(min_length=1, max_length=64)] | None = None
    """Filters of `model.blocks`, as `units`: each network with as many numbers as there are blocks, or one range a
    block."""

    activation: Annotated[tuple[Activation, ...], Field(min_length=1)] | None = None
    """`model.activation`: a list of them."""

    dropout_fraction: Annotated[tuple[DropoutFraction, ...], Field(min_length=1)] | DropoutRange | None = None
    """`model.dropout_fraction`: a list of fractions, or `{min, max}`."""

    @property
    def given(self) -> dict[str, object]:
        """The keys that are given, in the order they are declared, with what they may be."""
        return {name: value for name in type(self).model_fields if (value := getattr(self, name)) is not None}

    @property
    def changes_model(self) -> bool:
        """Whether trials have networks of their own."""
        return bool(self.given.keys() & {"units", "filters", "activation", "dropout_fraction"})


class TuneConfig(FrozenConfig):
    """A search for the training that scores best on validation: other penalties, and what else `space` names."""

    trials: int = Field(default=8, ge=1, le=10_000)
    """Most trainings, besides `train`'s own model (trial 0)."""

    epochs: int | None = Field(default=None, ge=1)
    """Epochs of each trial; those of `train` when left out. Hyperband: of the longest."""

    oracle: Literal["random", "bayesian", "hyperband", "grid"] = "bayesian"
    """What proposes the next trial. `hyperband`: many short trainings, longer ones of the best (Li 2018), each from the
    start: a schedule over more epochs is another training. `grid`: every combination in turn, up to `trials`."""

    objective: Literal["score", "pruned_score"] = "score"
    """What trials are judged by: the validation score, or the score after pruning at once, without training, as section
    `prune` says: then the model is chosen that loses least when it ships."""

    penalties: tuple[PenaltyKind, ...] = ("l1", "l2", "elastic_net")
    """Kinds of penalty that are tried; [] with a `space`: trials keep `train.regularization`."""

    min_strength: Strength = Field(default=1e-6, gt=0.0)
    """Weakest penalty tried; strengths are drawn on a log scale."""

    max_strength: Strength = Field(default=1e-2, gt=0.0)
    """Strongest penalty tried."""

    space: SpaceConfig | None = None
    """What trials may change besides the penalty; where it holds keys of `model`, each trial builds its own network."""

    grid_points: int = Field(default=4, ge=2, le=100)
    """Grid: values of each range and of the strength, ends included, evenly apart on its scale; elastic nets have L1
    shares of 0.25, 0.5 and 0.75."""

    factor: int = Field(default=3, ge=2, le=10)
    """Hyperband: of so many trainings one goes on, for so many times the epochs."""

    batch_trials: int = Field(default=1, ge=1, le=10_000)
    """Trials that are out at once: the oracle proposes so many before it is told of the first. `engine` runs as many at
    a time as it has workers. `bayesian` knows the less when it proposes, the more are out; others try the same."""

    @model_validator(mode="after")
    def _adds_up(self) -> TuneConfig:
        if self.min_strength >= self.max_strength:
            raise ValueError(
                f"expected min_strength below max_strength, got {self.min_strength} and {self.max_strength}."
            )
        if not self.penalties and self.space is None:
            raise ValueError("expected penalties or a space to search, got neither. Name one, or take the section out.")
        return self


def log_spaced(low: float, high: float, count: int) -> tuple[float, ...]:
    """Returns numbers from one end to the other, both included, each the same multiple of the one before."""
    return tuple(low * math.exp(math.log(high / low) * i / (count - 1)) for i in range(count))

"""What trials of `tune` may be: dimensions, grids, Hyperband's brackets, and the sections a trial trains under.

Nothing heavy is imported: the reader of configs asks here too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.config import ModelConfig, RegularizationConfig, TrainConfig
from models.tuning_config import ELASTIC_SHARES, SpaceConfig, TuneConfig, log_spaced

Bracket = tuple[tuple[int, int], ...]
"""Rounds of successive halving, in order: (epochs of each training, trainings)."""


@dataclass(frozen=True)
class Dimension:
    """One thing that differs from trial to trial.

    Attributes:
        name: key of the space; `units.0` of a layer's range.
        choices: what it may be, where it is a list.
        ends: lowest and highest, where it is a range.
        is_log: whether a range is drawn on a log scale.
        is_whole: whether a range holds whole numbers alone.
    """

    name: str
    choices: tuple[Any, ...] = ()
    ends: tuple[float, float] = (0.0, 0.0)
    is_log: bool = False
    is_whole: bool = False

    def grid(self, points: int) -> tuple[Any, ...]:
        """Returns the values a grid tries: the list itself, or so many of a range, ends included, each once."""
        if self.choices:
            return self.choices
        low, high = self.ends
        even = tuple(low + (high - low) * i / (points - 1) for i in range(points))
        return tuple(dict.fromkeys(map(self.rounded, log_spaced(low, high, points) if self.is_log else even)))

    def rounded(self, value: float) -> float | int:
        """Returns a value as it is tried and told: three significant digits within the ends, or a whole number."""
        low, high = self.ends
        return round(value) if self.is_whole else min(max(float(f"{value:.3g}"), low), high)


def dimensions(space: SpaceConfig | None) -> tuple[Dimension, ...]:
    """Lists the dimensions of a space, in the order its keys are declared; none without one."""
    found: list[Dimension] = []
    for name, value in ({} if space is None else space.given).items():
        if name in ("units", "filters") and not isinstance(value[0], tuple):  # type: ignore[index]  # a list of ranges
            ranges: Any = value
            found += [
                Dimension(f"{name}.{layer}", (), (each.min, each.max), is_log=True, is_whole=True)
                for layer, each in enumerate(ranges)
            ]
        elif isinstance(value, tuple):
            found.append(Dimension(name, value))
        else:
            one: Any = value
            found.append(Dimension(name, (), (one.min, one.max), is_log=name == "learning_rate"))
    return tuple(found)


def strengths(config: TuneConfig) -> Dimension:
    """The strength of a penalty, as a dimension."""
    return Dimension("strength", (), (config.min_strength, config.max_strength), is_log=True)


def grid_size(config: TuneConfig) -> int:
    """Counts the combinations of a grid: those of the penalties times those of the space."""
    shares = sum(len(ELASTIC_SHARES) if kind == "elastic_net" else 1 for kind in config.penalties)
    penalties = shares * len(strengths(config).grid(config.grid_points)) if config.penalties else 1
    return penalties * math.prod(len(each.grid(config.grid_points)) for each in dimensions(config.space))


def space_size(config: TuneConfig) -> int | None:
    """Counts what can be drawn at all; None where there is a range or a strength, and so no end of it."""
    found = dimensions(config.space)
    if config.penalties or not all(each.choices for each in found):
        return None
    return math.prod(len(each.choices) for each in found)


# ------------------------------------------------------------------------------------- Hyperband


def whole_brackets(epochs: int, factor: int) -> tuple[Bracket, ...]:
    """Lists the brackets of one iteration of Hyperband, the one that halves most first.

    With R epochs, factor η and s_max = floor(log_η R), bracket s has rounds i = 0 … s of
    `ceil(ceil(1 + log_η R) / (s + 1) η^(s - i))` trainings of `ceil(R η^(i - s))` epochs, as keras-tuner counts them;
    bracket 0 is plain random search.

    Args:
        epochs: R, of the longest training.
        factor: η, in [2, 10].

    Reference:
        Li et al. 2018, Hyperband: A novel bandit-based approach to hyperparameter optimization, algorithm 1.
    """
    deepest = 0
    while factor ** (deepest + 1) <= epochs:
        deepest += 1
    last = math.ceil(round(1 + math.log(epochs, factor), 9))
    return tuple(
        tuple(
            (math.ceil(epochs / factor ** (s - i)), math.ceil(last / (s + 1) * factor ** (s - i))) for i in range(s + 1)
        )
        for s in range(deepest, -1, -1)
    )


def num_trainings(bracket: Bracket) -> int:
    """Counts the trainings of a bracket."""
    return sum(size for _, size in bracket)


def brackets(trials: int, epochs: int, factor: int) -> tuple[Bracket, ...]:
    """Chooses whole brackets that so many trials allow: each of an iteration that still fits, again and again.

    A bracket that is cut short would have spent its trials on short trainings that nothing followed.

    Args:
        trials: most trainings.
        epochs: of the longest training.
        factor: as for `whole_brackets`.

    Returns:
        The brackets in order; none where not even the smallest fits.
    """
    found: list[Bracket] = []
    left, offered = trials, whole_brackets(epochs, factor)
    while any(num_trainings(bracket) <= left for bracket in offered):
        for bracket in offered:
            if num_trainings(bracket) <= left:
                found.append(bracket)
                left -= num_trainings(bracket)
    return tuple(found)


# -------------------------------------------------------------------------------- what is trained


def own_values(space: SpaceConfig | None, train: TrainConfig, model: ModelConfig) -> dict[str, Any]:
    """Returns what the run itself has at each key of a space: the values of trial 0."""
    found: dict[str, Any] = {}
    for name in () if space is None else space.given:
        if name == "learning_rate":
            found[name] = train.optimizer.learning_rate
        elif name == "batch_size":
            found[name] = train.batch_size
        elif name == "filters":
            found[name] = [block.filters for block in getattr(model, "blocks", ())]
        else:
            value = getattr(model, name)
            found[name] = list(value) if isinstance(value, tuple) else value
    return found


def training_section(
    train: TrainConfig, values: Mapping[str, Any], penalty: RegularizationConfig | None, epochs: int | None
) -> TrainConfig:
    """Returns the section `train` of a trial.

    Args:
        train: the run's own.
        values: key of the space -> what the trial has there.
        penalty: None keeps the run's own.
        epochs: None keeps the run's own.
    """
    changes: dict[str, Any] = {}
    if penalty is not None:
        changes["regularization"] = penalty
    if epochs is not None:
        changes["epochs"] = epochs
    if "batch_size" in values:
        changes["batch_size"] = values["batch_size"]
    if "learning_rate" in values:
        changes["optimizer"] = train.optimizer.model_copy(update={"learning_rate": values["learning_rate"]})
    return train.model_copy(update=changes)


def network_section(model: ModelConfig, values: Mapping[str, Any]) -> ModelConfig:
    """Returns the section `model` of a trial; arguments as for `training_section`.

    Raises:
        pydantic.ValidationError: the family's own rules refuse it.
    """
    return type(model).model_validate(network_values(model, values))


def network_values(model: ModelConfig, values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the keys of the section `model` of a trial, by no rule yet; arguments as for `training_section`."""
    changes = model.model_dump()
    for name in ("units", "activation", "dropout_fraction"):
        if name in values:
            changes[name] = tuple(values[name]) if isinstance(values[name], list) else values[name]
    if "filters" in values:
        changes["blocks"] = tuple(
            block | {"filters": filters} for block, filters in zip(changes["blocks"], values["filters"], strict=True)
        )
    return changes


def described(trial: Mapping[str, Any]) -> str:
    """Says in a few words what a trial has of its own: `l2 0.00012, learning_rate 0.003, units 64-32`."""
    told = [f"{name} {trial[name]:.3g}" for name in ("l1", "l2") if trial.get(name)]
    told += [f"{name} {shown(value)}" for name, value in (trial.get("values") or {}).items()]
    if trial.get("short"):
        told.append("1 epoch" if trial["epochs"] == 1 else f"{trial['epochs']} epochs")
    return ", ".join(told) or "no penalty"


def shown(value: Any) -> str:
    """Writes a value of the space: `64-32`, `0.003`, `relu`."""
    if isinstance(value, list | tuple):
        return "-".join(map(str, value))
    return f"{value:.3g}" if isinstance(value, float) else str(value)

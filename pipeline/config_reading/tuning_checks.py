"""What the section `tune` must agree on with itself and with the others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError

from data.config import known_input_shape
from data.contract import ConfigError
from models.classical_config import CLASSICAL
from models.config import ModelConfig
from models.shapes import check_shapes
from models.tuning_config import SpaceConfig, TuneConfig
from pipeline.config_reading.disagreement import Disagreement, Location, is_chosen
from pipeline.tuning_space import (
    brackets,
    dimensions,
    network_section,
    network_values,
    num_trainings,
    space_size,
    whole_brackets,
)

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from pipeline.config import RunConfig


def tuning_adds_up(config: RunConfig) -> Iterator[Disagreement]:
    """Objective, oracle and space of the section `tune`; nothing where there is none."""
    tune = config.tune
    if tune is None or isinstance(config.model, CLASSICAL):  # which has no such section
        return
    yield from _objective_has_its_pruning(config, tune)
    yield from _unread(tune)
    if tune.oracle == "hyperband":
        yield from _halving_fits(tune, config.train.epochs if tune.epochs is None else tune.epochs)
    if tune.space is not None:
        found = list(_space_adds_up(tune.space))
        yield from found or _space_fits_model(config, tune.space)


def _objective_has_its_pruning(config: RunConfig, tune: TuneConfig) -> Iterator[Disagreement]:
    if tune.objective == "score":
        return
    place: Location = ("tune", "objective")
    if config.search is not None:
        message = (
            "expected score with a section search, got pruned_score. How much is pruned is what the search finds out."
        )
        yield Disagreement(place, message, (("search",),))
    elif config.prune is None:
        message = (
            "expected score without a section prune, got pruned_score. Add the section prune, which says how much goes."
        )
        yield Disagreement(place, message, (("prune",),))


def _unread(tune: TuneConfig) -> Iterator[Disagreement]:
    """Fields that nothing would read."""
    rules = (
        (tune.oracle == "grid", "tune.oracle: grid", ("grid_points",)),
        (tune.oracle == "hyperband", "tune.oracle: hyperband", ("factor",)),
        (bool(tune.penalties), "tune.penalties that are not []", ("min_strength", "max_strength")),
    )
    for held, where, names in rules:
        for name in names:
            if not held and is_chosen(tune, name):
                message = f"expected it with {where} alone, got it without. Nothing would read it: take it out."
                yield Disagreement(("tune", name), message, (("tune", "oracle"), ("tune", "penalties")))


def _halving_fits(tune: TuneConfig, epochs: int) -> Iterator[Disagreement]:
    """Hyperband has epochs to begin with few of, trials for a bracket, and enough to draw from."""
    oracle: Location = ("tune", "oracle")
    if epochs < tune.factor:
        message = (
            f"expected at least tune.factor ({tune.factor}) with oracle hyperband, got {epochs}: no training could be "
            "shorter than another. Train for more epochs, or choose random."
        )
        yield Disagreement(("tune", "epochs"), message, (("train", "epochs"), oracle))
        return
    planned = brackets(tune.trials, epochs, tune.factor)
    if not planned:
        least = min(num_trainings(each) for each in whole_brackets(epochs, tune.factor))
        message = (
            f"expected at least {least} with oracle hyperband over {epochs} epochs, its smallest bracket, got "
            f"{tune.trials}. Raise it, or lower tune.epochs."
        )
        yield Disagreement(("tune", "trials"), message, (oracle, ("tune", "epochs"), ("train", "epochs")))
        return
    size, drawn = space_size(tune), sum(bracket[0][1] for bracket in planned)
    if size is not None and size < 2 * drawn:
        message = (
            f"expected random, bayesian or grid where all there is to try are {size} combinations, got hyperband, "
            f"which draws {drawn} different ones. Give a range in place of a list, or name penalties."
        )
        yield Disagreement(oracle, message, (("tune", "space"), ("tune", "penalties")))


def _space_adds_up(space: SpaceConfig) -> Iterator[Disagreement]:
    """Something to vary, ends in order, and networks or ranges, not both."""
    here: Location = ("tune", "space")
    if not space.given:
        names = ", ".join(type(space).model_fields)
        yield Disagreement(here, f"expected one key or more, got none. Its keys are {names}.", (here,))
    for name in ("units", "filters"):
        given: tuple[Any, ...] = getattr(space, name) or ()
        if len({isinstance(each, tuple) for each in given}) > 1:
            message = "expected lists of numbers or ranges, got both. Give whole networks, or one range for each layer."
            yield Disagreement((*here, name), message)
        for position, each in enumerate(given):
            if each == ():
                yield Disagreement((*here, name, position), "expected one layer or more, got []. Take it out.")
    for place, each in _ranges(space):
        if each.min >= each.max:
            yield Disagreement(
                (*here, *place),
                f"expected min below max, got {each.min:g} and {each.max:g}. Swap them, or give a list.",
            )


def _ranges(space: SpaceConfig) -> Iterator[tuple[Location, Any]]:
    for name, value in space.given.items():
        found: list[tuple[Location, Any]] = [((name,), value)]
        if isinstance(value, tuple):
            found = [((name, position), each) for position, each in enumerate(value)]
        yield from ((place, each) for place, each in found if hasattr(each, "min"))


def _space_fits_model(config: RunConfig, space: SpaceConfig) -> Iterator[Disagreement]:
    """Each key of the space is the family's, and the networks it leads to can be built."""
    model = config.model
    family: Location = ("model", "family")
    for name in sorted(space.given.keys() & {"units", "filters", "activation", "dropout_fraction"}):
        owner = "blocks" if name == "filters" else name
        if owner not in type(model).model_fields:
            message = (
                f"expected no such key with model.family: {model.family}, which has no {name}, got one. Take it out."
            )
            yield Disagreement(("tune", "space", name), message, (family,))
            return
    found = [*_units_are_as_many(model, space), *_filters_are_as_many(model, space)]
    yield from found or _networks_can_be_built(config, space)


def _units_are_as_many(model: Any, space: SpaceConfig) -> Iterator[Disagreement]:
    """One range a hidden layer: trials of ranges have the depth of the model. Whole networks may have another."""
    given = space.units
    if given is None or isinstance(given[0], tuple):
        return
    if len(given) != len(model.units):
        ranges = "1 range" if len(model.units) == 1 else f"{len(model.units)} ranges"
        message = (
            f"expected {ranges}, one for each hidden layer of model.units, got {len(given)}. Give as many, or whole "
            "networks, such as [[64, 32], [128]], which may have other depths."
        )
        yield Disagreement(("tune", "space", "units"), message, (("model", "units"), ("model",)))


def _filters_are_as_many(model: Any, space: SpaceConfig) -> Iterator[Disagreement]:
    num_blocks = len(getattr(model, "blocks", ()))
    for place, count in [] if space.filters is None else _counts(space.filters):
        if count != num_blocks:
            message = (
                f"expected a number for each of the {num_blocks} blocks, got {count}. A trial changes the filters "
                "of model.blocks, and nothing else of them."
            )
            yield Disagreement(("tune", "space", "filters", *place), message, (("model", "blocks"),))
            return


def _counts(filters: tuple[Any, ...]) -> list[tuple[tuple[int, ...], int]]:
    """Where a number of blocks is given, and which."""
    if isinstance(filters[0], tuple):
        return [((position,), len(each)) for position, each in enumerate(filters)]
    return [((), len(filters))]


def _networks_can_be_built(config: RunConfig, space: SpaceConfig) -> Iterator[Disagreement]:
    """Shapes depend on widths alone, and the widest is the hardest: the upper ends of ranges are tried."""
    shape = known_input_shape(config.data)
    for name in ("units", "filters", "activation", "dropout_fraction"):
        for place, value in _hardest(getattr(space, name)):
            here, involves = ("tune", "space", name, *place), (("model",), ("data",))
            try:
                changed: ModelConfig = network_section(config.model, {name: value})
                if shape is not None and not isinstance(changed, CLASSICAL):
                    check_shapes(changed, shape)
            except ConfigError as error:  # its place is left out: the place is in the space
                yield Disagreement(here, str(error).partition(": ")[2], involves)
            except ValidationError as error:
                yield Disagreement(here, _reason(error, network_values(config.model, {name: value})), involves)


def _hardest(given: Any) -> Iterator[tuple[Location, Any]]:
    """Each value of a list, or the upper ends of ranges, with their places below the key."""
    if given is None:
        return
    if not isinstance(given, tuple):
        yield (), given.max
    elif hasattr(given[0], "max"):
        yield (), [each.max for each in given]
    else:
        yield from (((position,), list(v) if isinstance(v, tuple) else v) for position, v in enumerate(given))


def _reason(error: ValidationError, network: dict[str, Any]) -> str:
    """Words what pydantic says of a trial's network as a fault of the section `model` is worded."""
    from pipeline.config_reading.messages import faults_of  # which knows RunConfig, and that knows these checks

    document = {"model": json.loads(json.dumps(network))}
    errors = [each | {"loc": ("model", network["family"], *each["loc"])} for each in error.errors()]
    return faults_of(cast("list[ErrorDetails]", errors), document)[0].message


def tuned_lists(config: RunConfig) -> list[tuple[Location, tuple[Any, ...]]]:
    """Lists of the section `tune` that hold each entry once, with their places."""
    if config.tune is None:
        return []
    lists: list[tuple[Location, tuple[Any, ...]]] = [(("tune", "penalties"), config.tune.penalties)]
    for each in dimensions(config.tune.space):
        if each.choices:
            lists.append((("tune", "space", each.name), each.choices))
    return lists

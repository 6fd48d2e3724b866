"""What a config must agree on about classical models: those that run alone, and baselines beside a network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from models.classical_config import BASELINES, CLASSICAL, LogisticRegressionConfig, RidgeRegressionConfig, SvmConfig
from pipeline.config_reading.disagreement import Disagreement, Location, is_chosen

if TYPE_CHECKING:
    from pipeline.config import RunConfig

_FAMILY: Location = ("model", "family")
_OPTIONAL = ("pretrain", "tune", "prune", "cluster", "search", "quantize")


def classical_adds_up(config: RunConfig) -> Iterator[Disagreement]:
    """A classical family: the task it serves, and the sections that are for networks alone."""
    model = config.model
    if not isinstance(model, CLASSICAL):
        return
    family, task = model.family, config.task
    serves = {"logistic_regression": "classification", "ridge_regression": "regression"}.get(family)
    if task not in BASELINES:
        message = f"expected a network with task: {task}, got '{family}'. Classical models learn from labels."
        yield Disagreement(_FAMILY, message, (("task",),))
    elif serves is not None and task != serves:
        other = "ridge_regression" if isinstance(model, LogisticRegressionConfig) else "logistic_regression"
        message = f"expected '{other}' or another family with task: {task}, got '{family}'. It is for {serves}."
        yield Disagreement(_FAMILY, message, (("task",),))
    if isinstance(model, SvmConfig) and task == "classification" and is_chosen(model, "epsilon"):
        message = "expected it with task: regression alone, got it with classification. Take the key out."
        yield Disagreement(("model", "epsilon"), message, (("task",),))
    if not isinstance(model, RidgeRegressionConfig) and model.class_weights is not None:
        yield from _class_weights(model.class_weights, task)
    yield from _no_network_sections(config, family)


def _class_weights(weights: object, task: str) -> Iterator[Disagreement]:
    location: Location = ("model", "class_weights")
    if task == "regression":
        message = "expected no class weights with task: regression, got some. Take the key out."
        yield Disagreement(location, message, (("task",),))
    elif weights == {}:
        message = "expected a weight for each class, got {}. Leave the key out for equal weights."
        yield Disagreement(location, message)


def _no_network_sections(config: RunConfig, family: str) -> Iterator[Disagreement]:
    given = [name for name in _OPTIONAL if name in config.model_fields_set and getattr(config, name) is not None]
    given += [name for name in ("train", "convert") if is_chosen(config, name)]
    for name in given:
        message = (
            f"expected no such section with model.family: {family}, got one. It is for networks; {family} is fitted by "
            "scikit-learn and written as plain C. Take the section out."
        )
        yield Disagreement((name,), message, (_FAMILY,))
    if config.target.max_arena_bytes is not None:
        message = (
            f"expected no such limit with model.family: {family}, got {config.target.max_arena_bytes:,}. Plain C needs "
            "no arena: take it out."
        )
        yield Disagreement(("target", "max_arena_bytes"), message, (_FAMILY,))


def baselines_add_up(config: RunConfig) -> Iterator[Disagreement]:
    """Baselines: the task they serve, each once, and nothing that would not be read."""
    asked = config.baselines
    if asked is None:
        return
    if config.task not in BASELINES:
        message = (
            f"expected no such section with task: {config.task}, got one. Baselines learn from labels: take it out."
        )
        yield Disagreement(("baselines",), message, (("task",),))
        return
    fitting = BASELINES[config.task]
    names = fitting if asked.models is None else asked.models
    for position, name in enumerate(names):
        location: Location = ("baselines", "models", position)
        if name not in fitting:
            message = f"expected one of {', '.join(fitting)} with task: {config.task}, got '{name}'."
            yield Disagreement(location, message, (("task",),))
        elif name in names[:position]:
            yield Disagreement(location, f"expected each once, got '{name}' again. Take it out.")
    if "rbf_svm" not in names and is_chosen(asked, "max_rbf_rows"):
        message = (
            f"expected it with rbf_svm among baselines.models alone, got {asked.max_rbf_rows:,} without it. Take the "
            "key out, or rbf_svm in."
        )
        yield Disagreement(("baselines", "max_rbf_rows"), message, (("baselines", "models"),))

"""What the section `model` must agree on with others where a user brings the model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from models.config import TrainConfig
from models.own_model_config import OWN_MODELS, FileModelConfig
from pipeline.config_reading.disagreement import Disagreement, Location

if TYPE_CHECKING:
    from pipeline.config import RunConfig


def own_model_fits_task(config: RunConfig) -> Iterator[Disagreement]:
    """A model that is brought along answers classes or numbers."""
    if isinstance(config.model, OWN_MODELS) and config.task not in ("classification", "regression"):
        message = (
            f"expected 'classification' or 'regression' with a model of your own, got '{config.task}'. "
            "Choose a family of networks."
        )
        yield Disagreement(("task",), message, (("model",),))


def file_stands_for_training(config: RunConfig) -> Iterator[Disagreement]:
    """A model from a file is as trained as it is: what would train it is asked for, or is not there."""
    model = config.model
    if not isinstance(model, FileModelConfig):
        return
    involves: tuple[Location, ...] = (("model",),)
    if model.output in ("logits", "sigmoid") and config.task == "regression":
        message = (
            f"expected standard or original_units with task: regression, got {model.output}. Numbers have no classes."
        )
        yield Disagreement(("model", "output"), message, (("task",),))
    if model.output == "original_units" and config.task != "regression":
        message = (
            f"expected standard, logits or sigmoid with task: {config.task}, got original_units. Classes have no unit."
        )
        yield Disagreement(("model", "output"), message, (("task",),))
    for position, name in enumerate(model.allow):
        if name in model.allow[:position]:
            yield Disagreement(("model", "allow", position), f"expected each once, got '{name}' again. Take it out.")
    if model.fine_tune:
        return
    if config.train != TrainConfig():
        message = (
            "expected no such section with model.file, which is taken as trained, got one. "
            "Say `model: {fine_tune: true}` to train it on, or take the section out."
        )
        yield Disagreement(("train",), message, involves)
    if config.tune is not None:
        message = (
            "expected no such section with model.file, which is taken as trained, got one. Its trials would train the "
            "model: say `model: {fine_tune: true}`, or take the section out."
        )
        yield Disagreement(("tune",), message, involves)

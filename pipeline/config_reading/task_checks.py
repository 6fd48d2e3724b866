"""What a task and the other sections must agree on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from data.contract import ConfigError
from models.autoencoder_config import AutoencoderConfig
from models.task_config import check_refinement
from pipeline.config_reading.disagreement import Disagreement, Location, is_chosen, split_location

if TYPE_CHECKING:
    from pipeline.config import RunConfig

_OF_AUTOENCODERS = ("reconstruction", "clustering")
_PREDICTING = ("linear", "mlp", "cnn", "rnn")


def family_fits_task(config: RunConfig) -> Iterator[Disagreement]:
    """Autoencoders give rows back or cluster them, and no other network does; of other models, other checks tell."""
    location: Location = ("model", "family")
    family = config.model.family
    if config.task in _OF_AUTOENCODERS and family in _PREDICTING:
        message = f"expected autoencoder with task: {config.task}, got {family}. Set model.family to autoencoder."
        yield Disagreement(location, message, (("task",),))
    elif config.task not in _OF_AUTOENCODERS and family == "autoencoder":
        message = (
            f"expected a family that predicts with task: {config.task}, got autoencoder. "
            "Choose mlp or cnn, or set task to reconstruction or clustering."
        )
        yield Disagreement(location, message, (("task",),))


def autoencoder_adds_up(config: RunConfig) -> Iterator[Disagreement]:
    """A dense autoencoder has no blocks, a convolutional one no units."""
    model = config.model
    if not isinstance(model, AutoencoderConfig):
        return
    unread = "blocks" if model.kind == "dense" else "units"
    if is_chosen(model, unread):
        other = "convolutional" if model.kind == "dense" else "dense"
        message = (
            f"expected it with model.kind: {other} alone, got it with {model.kind}. Nothing would read it: take it out."
        )
        yield Disagreement(("model", unread), message, (("model", "kind"),))
    varied = "filters" if model.kind == "dense" else "units"
    if config.tune is not None and config.tune.space is not None and varied in config.tune.space.given:
        message = f"expected no such key with model.kind: {model.kind}, got one. Nothing would read it: take it out."
        yield Disagreement(("tune", "space", varied), message, (("model", "kind"),))


def refinement_is_read(config: RunConfig) -> Iterator[Disagreement]:
    """Without a refinement nothing of it is set."""
    section = config.clustering
    if section is None or section.refine_epochs > 0:
        return
    for name in ("update_steps", "tolerance_fraction", "batch_size", "optimizer"):
        if is_chosen(section, name):
            message = "expected it with clustering.refine_epochs above 0 alone, got it with 0. Take it out."
            yield Disagreement(("clustering", name), message, (("clustering", "refine_epochs"),))


def refinement_has_its_steps(config: RunConfig) -> Iterator[Disagreement]:
    """With all rows a step, the config alone tells how many steps there are; else the stage `train` looks first."""
    section = config.clustering
    if section is None or section.batch_size != "full":
        return
    try:
        check_refinement(section, section.refine_epochs)
    except ConfigError as error:
        location, message = split_location(str(error))
        yield Disagreement(location, message, (("clustering",),))


def sections_fit_task(config: RunConfig) -> Iterator[Disagreement]:
    """The section of a task, labels' weights, and teachers."""
    if config.reconstruction is not None and config.task != "reconstruction":
        message = f"expected no such section with task: {config.task}, got one. Take it out."
        yield Disagreement(("reconstruction",), message, (("task",),))
    if config.reconstruction is None and config.task == "reconstruction":
        message = "expected a section with task: reconstruction, got null. Leave it out to take the defaults."
        yield Disagreement(("reconstruction",), message, (("task",),))
    if config.clustering is not None and config.task != "clustering":
        message = f"expected no such section with task: {config.task}, got one. Take it out."
        yield Disagreement(("clustering",), message, (("task",),))
    if config.clustering is None and config.task == "clustering":
        message = "expected this section with task: clustering, got none. Say clustering: {num_clusters: 10}, or so."
        yield Disagreement(("clustering",), message, (("task",),))
    if config.train.class_weights is not None and config.task in _OF_AUTOENCODERS:
        message = f"expected no class weights with task: {config.task}, got some. It has no labels: take it out."
        yield Disagreement(("train", "class_weights"), message, (("task",),))
    aware = None if config.quantize is None else config.quantize.aware
    sections: tuple[tuple[Location, object], ...] = (
        (("prune",), config.prune),
        (("cluster",), config.cluster),
        (("quantize", "aware"), aware),
    )
    for location, section in sections:
        if config.task == "reconstruction" and getattr(section, "distillation", None) is not None:
            message = "expected none with task: reconstruction, got one. It learns from the input itself: take it out."
            yield Disagreement((*location, "distillation"), message, (("task",),))

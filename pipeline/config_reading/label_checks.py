"""What labels, normal classes and rows without labels need of the rest of a config."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from data.config import ArraysData, BuiltinData, IdxData, TableData, label_use
from pipeline.config_reading.disagreement import Disagreement, Location, is_chosen

if TYPE_CHECKING:
    from pipeline.config import RunConfig

PICTURES = ("images", "arrays", "idx")

UNLABELED_SOURCES: dict[str, tuple[str, ...]] = {
    "table": ("table",),
    "images": PICTURES,
    "idx": PICTURES,
    "arrays": PICTURES,
}
"""Source of the labeled rows -> sources whose rows can be of the same shape and kind."""


def labels_are_there(config: RunConfig) -> Iterator[Disagreement]:
    """A target where one is needed; and no field that says how labels are read where none is."""
    data, use = config.data, label_use(config.data, config.task)
    involves: tuple[Location, ...] = (("task",), ("data", "source"), ("data", "normal"))
    if isinstance(data, TableData) and use == "needed" and data.target is None:
        why = "data.normal" if config.task == "reconstruction" else f"task: {config.task}"
        message = f"expected a column with {why}, got nothing. Name the column that holds the labels or numbers."
        yield Disagreement(("data", "target"), message, involves)
    if use != "unread":
        return
    fields = (
        (TableData, "missing_target", "a target that is read"),
        (IdxData, "class_names", "labels that are read"),
        (ArraysData, "y", "targets that are read"),
    )
    for kind, name, needed in fields:
        if isinstance(data, kind) and is_chosen(data, name):
            given = getattr(data, name)
            shown = f"'{given}'" if isinstance(given, str) else "names"
            message = (
                f"expected it with {needed} alone, got {shown} with task: {config.task}, which reads none here. "
                "Nothing would read it: take it out."
            )
            yield Disagreement(("data", name), message, involves)


def normal_fits_task(config: RunConfig) -> Iterator[Disagreement]:
    """Normal classes are for reconstruction, and for data that has classes."""
    data, place = config.data, ("data", "normal")
    if data.normal is None:
        return
    if config.task != "reconstruction":
        message = (
            f"expected it with task: reconstruction alone, got it with task: {config.task}. "
            "Nothing would read it: take it out."
        )
        yield Disagreement(place, message, (("task",),))
    elif isinstance(data, BuiltinData) and data.predicts_numbers:
        message = f"expected it with a data set of classes, got '{data.name}'. Its labels are numbers: take it out."
        yield Disagreement(place, message, (("data", "name"),))
    for position, name in enumerate(data.normal):
        if name in data.normal[:position]:
            yield Disagreement((*place, position), f"expected each once, got '{name}' again. Take it out.")


def unlabeled_rows_are_used(config: RunConfig) -> Iterator[Disagreement]:
    """Rows without labels need a training that can learn from them, and labeled rows beside them."""
    data, pretrain = config.data, config.pretrain
    involves: tuple[Location, ...] = (("task",), ("train", "mode"), ("pretrain", "kind"))
    labels_needed = config.task in ("classification", "regression")
    if data.num_labels is not None and not labels_needed:
        message = (
            f"expected it with task: classification or regression alone, got it with task: {config.task}, which learns "
            "from no label. Take it out."
        )
        yield Disagreement(("data", "num_labels"), message, (("task",),))
    if data.unlabeled is None:
        return
    place: Location = ("data", "unlabeled")
    if not labels_needed:
        message = (
            f"expected no such section with task: {config.task}, got one. All of its rows are learned from without "
            "labels: name them in data."
        )
        yield Disagreement(place, message, (("task",),))
    elif config.train.mode != "layer_wise" or (pretrain is not None and pretrain.kind == "supervised"):
        yield Disagreement(place, _labels_needed(config.train.mode), involves)
    allowed = _unlabeled_sources(config)
    if data.unlabeled.source not in allowed:
        names = ", ".join(f"'{name}'" for name in allowed)
        message = (
            f"expected {'one of ' if len(allowed) > 1 else ''}{names} beside the source '{data.source}', got "
            f"'{data.unlabeled.source}'. Rows without labels are inputs of the same kind as those with labels."
            if allowed
            else f"expected no such section beside the source '{data.source}', got one. Take it out."
        )
        yield Disagreement((*place, "source"), message, (("data", "source"), ("data", "name")))


def _labels_needed(mode: str) -> str:
    """Says that unlabeled rows are given where labels are needed."""
    needs = "pretrain.kind: supervised" if mode == "layer_wise" else f"train.mode: {mode}"
    kinds = "pretrain.kind: autoencoder or denoising_autoencoder"
    return (
        f"expected no rows without labels with {needs}, which needs labels, got some. Say train.mode: layer_wise with "
        f"{kinds}, or take the section out."
    )


def _unlabeled_sources(config: RunConfig) -> tuple[str, ...]:
    data = config.data
    if isinstance(data, BuiltinData):
        return {"digits": PICTURES, "gapminder": ()}.get(data.name, ("table", "arrays"))
    return UNLABELED_SOURCES.get(data.source, ())

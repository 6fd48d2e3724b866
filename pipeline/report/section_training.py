"""The section on learning: the network, training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.report import wording
from pipeline.report.figures import Plots
from pipeline.report.findings import section_of
from pipeline.report.markup import (
    NOTHING,
    Content,
    Markup,
    TableColumn,
    disclosure,
    paragraph,
    section,
    subsection,
    table,
)
from pipeline.report.plots_training import history_figures
from pipeline.report.record import RunRecord

MOST_EPOCHS_TOLD = 200
"""Rows of a table of epochs; a full batch makes thousands of them."""

_ORIGINS = {"file": "from a file", "builder": "by a function"}
"""Where a network comes from that is of no family."""


def training_section(record: RunRecord, plots: Plots) -> Markup:
    """Returns the network's layers, and the learning curves of the stage train."""
    build, train = (record.details(name) for name in ("build", "train"))
    parts = []
    if build.get("layers"):
        parts.append(subsection("The network", layers_table(build)))
    if train:
        title = "Learning curves of the refinement" if "clustering" in train else "Learning curves"
        workers = int(section_of(record, "train").get("workers", 1))
        parts.append(learning_curves("train", title, train, record.metric, plots, workers))
    return section("training", "Training", *parts) if parts else NOTHING


def layers_table(build: Mapping[str, Any]) -> Markup:
    """Returns the layers of a network, folded away where they are many; `build`: its `family` and `layers`."""
    columns = [TableColumn("Layer"), TableColumn("Type"), TableColumn("Output", True), TableColumn("Parameters", True)]
    rows = [
        (str(layer["name"]), str(layer["type"]), _shape(layer["output_shape"]), wording.count(layer["parameters"]))
        for layer in build["layers"]
    ]
    total = sum(layer["parameters"] for layer in build["layers"])
    origin = _ORIGINS.get(build["family"], build["family"])
    title = f"{wording.plural(len(rows), 'layer')}, {wording.plural(total, 'parameter')} ({origin})"
    whole = table(title, columns, rows)
    return disclosure(title, whole) if len(rows) > 6 else whole


def _shape(shape: Any) -> str:
    if not isinstance(shape, list | tuple):
        return str(shape)
    return " × ".join(str(size) for size in shape if size is not None)


def learning_curves(
    identifier: str, title: str, details: Mapping[str, Any], metric: str, plots: Plots, workers: int = 1
) -> Markup:
    """Returns a training's curves, how it ended, and its figures folded away.

    Args:
        identifier: beginning of the plots' ids.
        title: heading.
        details: of the stage: `history`, and `stopped_by` and `best_epoch` where it tells them.
        metric: name of the score.
        plots: where the plots are placed.
        workers: processes that trained it together.

    Returns:
        The part; nothing where there is no history.
    """
    history: Sequence[Mapping[str, Any]] = details.get("history") or []
    if not history:
        return NOTHING
    figures = history_figures(identifier, title.lower(), history, wording.metric(metric), details.get("best_epoch"))
    ended = wording.plural(len(history), "epoch")
    rule = str(details.get("stopped_by") or "epochs")
    if rule != "epochs":
        ended += f", stopped early by the rule {rule if '.' in rule else f'train.stop.{rule}'}"
    spent = sum(record.get("seconds") or 0.0 for record in history)
    return subsection(
        title,
        paragraph(
            f"{ended}; {wording.seconds(spent)} of training{f' by {workers} workers' if workers > 1 else ''}.",
            class_="quiet",
        ),
        plots.place(*figures),
        disclosure("The epochs as a table", _epochs(title, history, metric)),
    )


def _epochs(title: str, history: Sequence[Mapping[str, Any]], metric: str) -> Markup:
    heads = (
        "Training loss",
        f"Validation {wording.metric(metric)}",
        "Gradient norm",
        "Learning rate",
        "Rows a second",
        "Seconds",
    )
    columns = [TableColumn("Epoch", True), *(TableColumn(head, True) for head in heads)]
    rows: list[list[Content]] = [
        [
            str(record["epoch"]),
            wording.score(record.get("loss")),
            wording.score(record.get("score")),
            wording.figure(record.get("gradient_norm"), 3),
            wording.figure(record.get("learning_rate"), 3),
            wording.count(record.get("samples_per_second")),
            wording.ABSENT if record.get("seconds") is None else f"{record['seconds']:.2f}",
        ]
        for record in _thinned(history)
    ]
    told = "epoch by epoch" if len(rows) == len(history) else f"{len(rows)} of {len(history):,d} epochs"
    return table(f"{title}, {told}", columns, rows)


def _thinned(history: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """At most so many records, evenly apart, the first and the last among them."""
    if len(history) <= MOST_EPOCHS_TOLD:
        return list(history)
    return [history[round(i * (len(history) - 1) / (MOST_EPOCHS_TOLD - 1))] for i in range(MOST_EPOCHS_TOLD)]

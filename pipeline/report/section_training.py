"""The sections on learning: pretraining, training, the search for regularization."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.report import wording
from pipeline.report.figures import Plots
from pipeline.report.markup import (
    NOTHING,
    Content,
    Markup,
    TableColumn,
    disclosure,
    join,
    paragraph,
    section,
    subsection,
    table,
)
from pipeline.report.plots_training import PENALTY_NAMES, history_figures, layerwise_figure, tuning_figure
from pipeline.report.record import RunRecord

MOST_EPOCHS_TOLD = 200
"""Rows of a table of epochs; a full batch makes thousands of them."""


def training_section(record: RunRecord, plots: Plots) -> Markup:
    """Returns the network's layers, each layer's pretraining, and the learning curves of the stage train."""
    build, pretrain, train = (record.details(name) for name in ("build", "pretrain", "train"))
    parts = []
    if build.get("layers"):
        parts.append(subsection("The network", _layers(build)))
    if pretrain.get("layers"):
        kind = wording.words(str(pretrain["kind"]))
        text = f"Layer by layer, each layer learning as {_learner(kind)} before the whole network is fine-tuned."
        parts.append(subsection("Pretraining", paragraph(text), plots.place(layerwise_figure(pretrain["layers"]))))
    if train:
        title = "Learning curves of the refinement" if "clustering" in train else "Learning curves"
        parts.append(learning_curves("train", title, train, record.metric, plots))
    return section("training", "Training", *parts) if parts else NOTHING


def _learner(kind: str) -> str:
    return "a shallow network of its own" if kind == "supervised" else wording.with_article(kind)


def _layers(build: Mapping[str, Any]) -> Markup:
    columns = [TableColumn("Layer"), TableColumn("Type"), TableColumn("Output", True), TableColumn("Parameters", True)]
    rows = [
        (str(layer["name"]), str(layer["type"]), _shape(layer["output_shape"]), wording.count(layer["parameters"]))
        for layer in build["layers"]
    ]
    total = sum(layer["parameters"] for layer in build["layers"])
    title = f"{wording.plural(len(rows), 'layer')}, {wording.plural(total, 'parameter')} ({build['family']})"
    whole = table(title, columns, rows)
    return disclosure(title, whole) if len(rows) > 6 else whole


def _shape(shape: Any) -> str:
    if not isinstance(shape, list | tuple):
        return str(shape)
    return " × ".join(str(size) for size in shape if size is not None)


def learning_curves(identifier: str, title: str, details: Mapping[str, Any], metric: str, plots: Plots) -> Markup:
    """Returns a training's curves, how it ended, and its figures folded away.

    Args:
        identifier: beginning of the plots' ids.
        title: heading.
        details: of the stage: `history`, and `stopped_by` and `best_epoch` where it tells them.
        metric: name of the score.
        plots: where the plots are placed.

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
        paragraph(f"{ended}; {wording.seconds(spent)} of training.", class_="quiet"),
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


def tuning_section(record: RunRecord, plots: Plots) -> Markup:
    """Returns the picture of the search for regularization; nothing where none was asked for."""
    tune = record.details("tune")
    if not tune.get("trials"):
        return NOTHING
    trials, best = tune["trials"], tune["best"]
    return section(
        "tuning",
        "Tuning regularization",
        paragraph(_outcome(trials, best)),
        plots.place(tuning_figure(trials, best, wording.metric(record.metric))),
        disclosure("Every trial as a table", _trials(trials, best, record.metric)),
        learning_curves("tune", "Learning curves of the kept trial", tune, record.metric, plots),
    )


def _outcome(trials: Sequence[Mapping[str, Any]], best: int) -> Content:
    by_number = {trial["trial"]: trial for trial in trials}
    base, winner = by_number.get(0), by_number.get(best)
    if winner is None:
        return f"Kept: trial {best}."
    if best == 0:
        return f"No penalty did better: train’s own model, trial 0, was kept ({wording.score(winner['score'])})."
    gain = ""
    if base is not None and base["score"] is not None and winner["score"] is not None:
        gain = f", {wording.signed(winner['score'] - base['score'])} against trial 0, train’s own model"
    strengths = " and ".join(f"{key} {wording.figure(winner[key], 2)}" for key in ("l1", "l2") if winner.get(key))
    kind = PENALTY_NAMES.get(winner["kind"], winner["kind"])
    return join([f"Kept: trial {best}, {kind} ({strengths}), validation score {wording.score(winner['score'])}{gain}."])


def _trials(trials: Sequence[Mapping[str, Any]], best: int, metric: str) -> Markup:
    columns = [TableColumn("Trial", True), TableColumn("Penalty"), TableColumn("l1", True), TableColumn("l2", True)]
    columns += [
        TableColumn(f"Validation {wording.metric(metric)}", True),
        TableColumn("State"),
        TableColumn("Seconds", True),
    ]
    rows = [
        (
            str(trial["trial"]),
            PENALTY_NAMES.get(trial["kind"], str(trial["kind"])),
            wording.figure(trial.get("l1") or 0, 3),
            wording.figure(trial.get("l2") or 0, 3),
            wording.score(trial["score"]),
            f"{trial['state']}, kept" if trial["trial"] == best else str(trial["state"]),
            wording.ABSENT if trial.get("seconds") is None else f"{trial['seconds']:.1f}",
        )
        for trial in trials
    ]
    marked = next((i for i, trial in enumerate(trials) if trial["trial"] == best), -1)
    return table("Trials", columns, rows, marked=marked)

"""The section on layer-wise pretraining: how each layer learned, what it gives, and the same budget end to end."""

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
from pipeline.report.plots_layers import control_figure, layerwise_figure, probe_figure
from pipeline.report.record import RunRecord


def layers_section(record: RunRecord, plots: Plots) -> Markup:
    """Returns pretraining, probes and control; nothing where no layer was trained by itself."""
    pretrain = record.details("pretrain")
    if not pretrain.get("layers"):
        return NOTHING
    parts = [_pretraining(pretrain, plots), _probes(record, plots), _control(record, plots)]
    return section("layers", "Layer by layer", *parts)


def _pretraining(pretrain: Mapping[str, Any], plots: Plots) -> Markup:
    layers: Sequence[Mapping[str, Any]] = pretrain["layers"]
    kind = str(pretrain["kind"])
    learner = "a shallow network of its own" if kind == "supervised" else wording.with_article(wording.words(kind))
    text = f"Each layer or block learned as {learner}, those below it frozen, before the whole network is fine-tuned."
    if pretrain.get("rows") is not None:
        text += f" {_rows_met(kind, pretrain['rows'])}"
    score = "Validation score, best" if kind == "supervised" else "Reconstruction R², best"
    columns = [TableColumn("Layer")]
    columns += [TableColumn(head, True) for head in ("Epochs", "Loss, first", "Loss, last", score)]
    rows = [
        (
            str(layer["layer"]),
            wording.count(len(layer["loss"])),
            wording.score(layer["loss"][0]),
            wording.score(layer["loss"][-1]),
            wording.score(max(layer["score"], default=None)),
        )
        for layer in layers
    ]
    figures = disclosure("The layers as a table", table("Pretraining, layer by layer", columns, rows))
    return subsection("Pretraining", paragraph(text), plots.place(layerwise_figure(layers)), figures)


def _rows_met(kind: str, rows: int) -> str:
    labels = "with their labels" if kind == "supervised" else "and looked at no label"
    return f"It met {wording.plural(rows, 'row')}, {labels}."


def _probes(record: RunRecord, plots: Plots) -> Markup:
    probes: list[Mapping[str, Any]] = list(record.details("probe").get("probes") or [])
    if not probes:
        return NOTHING
    control = record.details("control").get("probe")
    if control is not None:
        probes.append({"network": "end to end", **control})
    by_network = {str(probed["network"]): probed["layers"] for probed in probes}
    first = probes[0]
    text = (
        "A linear model fitted on what each layer answers, the network itself left as it is "
        f"({wording.plural(first['training_rows'], 'labeled training row')}, scored on "
        f"{wording.plural(first['validation_rows'], 'validation row')}): what rises from layer to layer was made "
        "easier to tell apart. Nothing is decided by these scores."
    )
    if any(str(layer["layer"]).startswith("block") for layer in first["layers"]):
        text += " Large feature maps are averaged over squares first."
    columns = [TableColumn("Layer"), TableColumn("Numbers", True)]
    columns += [TableColumn(wording.capital(name), True) for name in by_network]
    rows: list[list[Content]] = [
        [
            str(layer["layer"]),
            wording.count(layer["features"]),
            *(wording.score(layers[place]["score"]) for layers in by_network.values()),
        ]
        for place, layer in enumerate(first["layers"])
    ]
    return subsection(
        "What each layer gives",
        paragraph(text),
        plots.place(probe_figure(by_network, wording.metric(record.metric))),
        disclosure("The probes as a table", table("Score of a linear probe", columns, rows)),
    )


def _control(record: RunRecord, plots: Plots) -> Markup:
    control, train = record.details("control"), record.details("train")
    if not control.get("history") or not train.get("history"):
        return NOTHING
    budget, metric = control["budget"], wording.metric(record.metric)
    pretraining = (
        f"{wording.plural(budget['pretraining'], 'epoch')} end to end, by multiply-accumulates, rounded up"
        if budget["pretraining"]
        else "nothing"
    )
    text = (
        f"The control started from the same untrained weights and took {wording.plural(budget['epochs'], 'epoch')} on "
        f"the labeled rows: {budget['fine_tuning']:,d} that fine-tuning may take, and what pretraining cost "
        f"({pretraining}). Its best epoch was kept, as fine-tuning’s was."
    )
    columns = [TableColumn("Training"), *(TableColumn(head, True) for head in ("Epochs", "Best epoch"))]
    columns.append(TableColumn(f"Validation {metric}", True))
    rows = [
        _side("Layer-wise, then fine-tuned", train, control["layer_wise_score"]),
        _side("End to end", control, control["score"]),
    ]
    figure = control_figure(train["history"], control["history"], budget["pretraining"], metric)
    return subsection(
        "Against training end to end",
        paragraph(join([_verdict(control, metric)])),
        paragraph(text, class_="quiet"),
        plots.place(figure),
        table("Both trainings, same seed, same budget", columns, rows),
    )


def _side(name: str, details: Mapping[str, Any], score: float) -> tuple[str, str, str, str]:
    return name, wording.count(len(details["history"])), str(details["best_epoch"]), wording.score(score)


def _verdict(control: Mapping[str, Any], metric: str) -> str:
    """Says which side is better on the validation split."""
    difference = control["layer_wise_score"] - control["score"]
    if difference == 0.0:
        return f"On validation both have the same {metric}, {wording.score(control['score'])}."
    better, other = ("Layer-wise training", "end to end") if difference > 0.0 else ("Training end to end", "layer-wise")
    high, low = sorted((control["layer_wise_score"], control["score"]), reverse=True)
    return (
        f"{better} is better on validation: {metric} {wording.score(high)} against {wording.score(low)} {other} "
        f"({wording.signed(high - low)}). One run is one draw: another seed may decide otherwise."
    )

"""The section on pruning: which nodes and weights went, how, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.report import wording
from pipeline.report.figures import Plots
from pipeline.report.markup import (
    NOTHING,
    Markup,
    TableColumn,
    disclosure,
    join,
    paragraph,
    section,
    subsection,
    table,
    tag,
)
from pipeline.report.plots_pruning import (
    nodes_figure,
    removals_figure,
    schedule_figure,
    sensitivity_figure,
    sparsity_figure,
)
from pipeline.report.pruning_words import inputs_report, nodes_report, pruned_part, zeros_report
from pipeline.report.record import RunRecord
from pipeline.report.section_training import learning_curves


def pruning_section(record: RunRecord, plots: Plots) -> Markup:
    """Returns what pruning removed, where and when; nothing where it was not asked for."""
    if not record.details("prune"):
        return NOTHING
    return section("pruning", "Pruning", _inputs(record), _nodes(record, plots), _weights(record, plots))


def _inputs(record: RunRecord) -> Markup:
    told = inputs_report(record)
    return NOTHING if told is None else paragraph(told)


def _nodes(record: RunRecord, plots: Plots) -> Markup:
    part = pruned_part(record, "node")
    if not part:
        return NOTHING
    metric = wording.metric(record.metric)
    told = nodes_report(record)
    callout = (
        NOTHING
        if told is None
        else tag("div", tag("strong", "Nodes are gone for good"), paragraph(told), class_="callout good")
    )
    text = f"Ranked by {wording.words(part['criterion'])}; removed in {wording.plural(len(part['removals']), 'step')}."
    columns = [TableColumn("Layer"), *(TableColumn(head, True) for head in ("Nodes", "Stayed", "Removed"))]
    rows = [
        (
            str(layer["name"]),
            wording.count(layer["before"]),
            wording.count(layer["after"]),
            wording.fraction(1 - layer["after"] / layer["before"]),
        )
        for layer in part["layers"]
    ]
    return join(
        [
            callout,
            subsection(
                "Nodes",
                paragraph(text, class_="quiet"),
                _sensitivity("node", part, metric, plots),
                plots.place(nodes_figure(part["layers"]), removals_figure(part["removals"], part["history"], metric)),
                disclosure("Nodes of every layer as a table", table("Nodes of the pruned layers", columns, rows)),
            ),
            left_out_table(part["left_out"], "pruned"),
            learning_curves("prune-nodes", "Learning curves of removing nodes", part, record.metric, plots),
        ]
    )


def _weights(record: RunRecord, plots: Plots) -> Markup:
    part = pruned_part(record, "weight")
    if not part:
        return NOTHING
    layers = part.get("layers") or []
    figures = [sparsity_figure(layers, part.get("sparsity"))] if layers else []
    if part.get("schedule"):
        figures.append(schedule_figure(part["schedule"]))
    return join(
        [
            zeros_callout(record),
            _sensitivity("weight", part, wording.metric(record.metric), plots),
            plots.place(*figures),
            _layers(layers),
            left_out_table(part.get("left_out") or [], "pruned"),
            learning_curves("prune", "Learning curves of pruning and recovery", part, record.metric, plots),
        ]
    )


def _sensitivity(unit: str, part: Mapping[str, Any], metric: str, plots: Plots) -> Markup:
    found = part.get("sensitivity") or []
    return plots.place(sensitivity_figure(unit, found, metric)) if found else NOTHING


def zeros_callout(record: RunRecord) -> Markup:
    """Returns, set off, whether the zeros made the file smaller."""
    zeros = zeros_report(record)
    if zeros is None:
        return NOTHING
    title = "The zeros made the file smaller" if zeros.saved else "The zeros did not make the file smaller"
    kind = "good" if zeros.saved else "warn"
    return tag("div", tag("strong", title), paragraph(zeros.finding), paragraph(zeros.reason), class_=f"callout {kind}")


def _layers(layers: Sequence[Mapping[str, Any]]) -> Markup:
    if not layers:
        return NOTHING
    columns = [TableColumn("Layer"), *(TableColumn(head, True) for head in ("Weights", "Not zero", "Zeros"))]
    rows = [
        (
            str(layer["name"]),
            wording.count(layer["weights"]),
            wording.count(layer["nonzero"]),
            wording.fraction(layer["sparsity"]),
        )
        for layer in layers
    ]
    return disclosure("Every layer as a table", table("Weights of the pruned layers", columns, rows))


def left_out_table(left_out: Sequence[Mapping[str, Any]], done: str) -> Markup:
    """Returns the layers that a stage left as they were, with reasons; `done`: what was not done to them."""
    if not left_out:
        return NOTHING
    rows = [(str(item["name"]), str(item["reason"])) for item in left_out]
    whole = table(f"Layers that were not {done}", [TableColumn("Layer"), TableColumn("Why not", prose=True)], rows)
    return subsection("Left out", whole)

"""The section on abnormal rows: errors, threshold, what it finds, and the rows it gets wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.report import wording
from pipeline.report.figures import Plots
from pipeline.report.markup import NOTHING, Content, Markup, TableColumn, paragraph, section, subsection, table, tag
from pipeline.report.pictures import picture
from pipeline.report.plots_errors import errors_figure, roc_figure
from pipeline.report.record import RunRecord

MAX_FEATURES = 12
"""Features shown beside a row."""


def errors_section(record: RunRecord, plots: Plots) -> Markup:
    """Returns how well abnormal rows are told by the error of their reconstruction; nothing for other tasks."""
    told, figures = record.details("export").get("errors"), record.summary.get("reconstruction")
    if not told or not figures:
        return NOTHING
    histogram = told["histogram"]
    drawn = [errors_figure(histogram["edges"], histogram["rows"], figures["threshold"])]
    if told["roc"] is not None:
        chosen = (figures["false_alarms"], figures["detected"])
        drawn.append(roc_figure(told["roc"]["false_alarms"], told["roc"]["detected"], figures["roc_auc"], chosen))
    text = (
        "A row's error is the mean squared difference between it and what model.tflite gives back, in the unit of the "
        f"model's input. Errors above {wording.figure(figures['threshold'], 5)} are abnormal: of the validation rows, "
        f"which count as normal, {wording.fraction(figures['validation_false_alarm_fraction'])} lie above (at most "
        f"{wording.fraction(figures['false_alarm_fraction'])} was asked). reconstruction.h has both for firmware."
    )
    parts = [paragraph(text), plots.place(*drawn), _figures(figures), _rows(told["rows"])]
    return section("errors", "Normal and abnormal rows", *parts)


def _figures(figures: Mapping[str, Any]) -> Markup:
    if figures["roc_auc"] is None:
        text = "The data does not say which test rows are abnormal (data.normal), so how many are found is not known."
        return paragraph(text, class_="quiet")
    rows = [
        ("ROC AUC of model.tflite", wording.score(figures["roc_auc"])),
        ("ROC AUC of the Keras model it was made from", wording.score(figures["float_roc_auc"])),
        ("ROC AUC of the dense float model", wording.score(figures["baseline_roc_auc"])),
        ("Abnormal rows found, at the threshold", wording.fraction(figures["detected"])),
        ("Normal rows called abnormal, at the threshold", wording.fraction(figures["false_alarms"])),
    ]
    return table("On the test split", [TableColumn("What"), TableColumn("Figure", True)], rows)


def _rows(rows: Sequence[Mapping[str, Any]]) -> Markup:
    if not rows:
        return subsection("Rows called wrongly", paragraph("None on the test split.", class_="quiet"))
    labelled = rows[0]["true"] is not None
    title = "Rows called wrongly" if labelled else "Largest errors"
    order = "the furthest from the threshold first" if labelled else "the largest first"
    numbering = "" if rows[0].get("name") else " Rows are counted in the source, from 1 on."
    note = f"Of the test split, {order}; at most {wording.plural(len(rows), 'row')} shown.{numbering}"
    pictures = rows[0].get("pixels") is not None
    return subsection(title, paragraph(note, class_="quiet"), _gallery(rows) if pictures else _table(rows, title))


def _gallery(rows: Sequence[Mapping[str, Any]]) -> Markup:
    cards = []
    for row in rows:
        name = row.get("name") or f"row {row['row'] + 1}"
        images = [picture(row["pixels"], f"{wording.capital(name)}: called {row['predicted']}")]
        if row["reconstruction"] is not None:
            images.append(picture(row["reconstruction"], f"What the model gives back for {name}"))
        true = [] if row["true"] is None else [tag("span", "true ", tag("b", row["true"]))]
        text = tag(
            "figcaption",
            tag("span", "called ", tag("b", row["predicted"])),
            *true,
            tag("span", f"error {wording.figure(row['error'], 4)}"),
            tag("span", name, class_="name"),
        )
        cards.append(tag("figure", *images, text))
    return tag("div", *cards, class_="gallery")


def _table(rows: Sequence[Mapping[str, Any]], title: str) -> Markup:
    features = list((rows[0].get("features") or {}).keys())
    shown = features[:MAX_FEATURES]
    named = bool(rows[0].get("name"))
    columns = [TableColumn("File") if named else TableColumn("Row", True), TableColumn("True"), TableColumn("Called")]
    columns += [TableColumn("Error", True), *(TableColumn(str(name), True) for name in shown)]
    cells: list[list[Content]] = [
        [
            str(row.get("name") or row["row"] + 1),
            row["true"] or wording.ABSENT,
            row["predicted"],
            wording.figure(row["error"], 4),
            *(wording.figure((row.get("features") or {}).get(name), 5) for name in shown),
        ]
        for row in rows
    ]
    more = f", with the first {len(shown)} of {len(features)} features" if len(features) > len(shown) else ""
    return table(f"{title}{more}", columns, cells)

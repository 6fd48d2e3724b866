"""The sections on the exported model: its decisions on the test split, and the checks of the gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.report import wording
from pipeline.report.figures import Plots
from pipeline.report.findings import yardstick
from pipeline.report.line_plots import line_plot
from pipeline.report.markup import (
    NOTHING,
    Content,
    Markup,
    TableColumn,
    badge,
    bullets,
    paragraph,
    section,
    subsection,
    table,
    tag,
)
from pipeline.report.pictures import picture
from pipeline.report.plots_result import heatmap_figure, scatter_figure
from pipeline.report.record import RunRecord
from pipeline.report.subject import classical_family, model_file

MAX_TABLE_CLASSES = 20
"""Confusion matrices of more classes are drawn as a heat map; a table of them could not be read."""

MAX_CONFUSIONS = 5
"""Most frequent confusions that are listed."""

MAX_FEATURES = 12
"""Features shown beside a wrong prediction."""


def result_section(record: RunRecord, plots: Plots) -> Markup:
    """Returns the exported model's decisions on the test split; nothing before `export`."""
    export = record.details("export")
    parts = [_confusion(export, plots), _scatter(record, export, plots), _wrong(record, export)]
    if all(part is NOTHING for part in parts):
        return NOTHING
    if record.task == "regression":
        parts = [tag("div", *parts, class_="pair")]
    ran = "run by LiteRT" if classical_family(record) is None else "compiled and run on this host"
    text = f"Decisions of {model_file(record)}, {ran}, on rows that no stage before the export has seen."
    beside = yardstick(record)
    told = paragraph(text if beside is None else f"{text} {beside.sentence}")
    return section("result", "The exported model on the test split", told, *parts)


def _confusion(export: Mapping[str, Any], plots: Plots) -> Markup:
    matrix: Sequence[Sequence[int]] | None = export.get("confusion")
    if not matrix:
        return NOTHING
    classes = [str(name) for name in export["classes"]]
    large = len(classes) > MAX_TABLE_CLASSES
    shown = plots.place(heatmap_figure(classes, matrix)) if large else _matrix_table(classes, matrix)
    return subsection("Confusion matrix", tag("div", shown, _frequent_confusions(classes, matrix), class_="beside"))


def _matrix_table(classes: Sequence[str], matrix: Sequence[Sequence[int]]) -> Markup:
    columns = [
        TableColumn("True\u00a0↓ predicted\u00a0→"),
        *(TableColumn(name, True) for name in classes),
        TableColumn("Found", True),
    ]
    rows: list[list[Content]] = []
    for i, (name, counts) in enumerate(zip(classes, matrix, strict=True)):
        total = sum(counts)
        cells = [_matrix_cell(rows_here, total, right=i == j) for j, rows_here in enumerate(counts)]
        rows.append([name, *cells, wording.fraction(counts[i] / total) if total else wording.ABSENT])
    caption = "Test rows by true and predicted class; found: fraction of the class that was recognised"
    return tag("div", table(caption, columns, rows), class_="confusion")


def _matrix_cell(rows: int, total: int, *, right: bool) -> Markup:
    if rows == 0:
        return tag("span", "0", class_="cell none")
    share = rows / total
    kind = "right" if right else "wrong"
    # A single mistake among many rows must still be seen.
    tint = share if right else max(0.25, share)
    strong = " strong" if tint > 0.9 else ""
    return tag("span", wording.count(rows), class_=f"cell {kind}{strong}", style=f"--share:{tint:.3f}")


def _frequent_confusions(classes: Sequence[str], matrix: Sequence[Sequence[int]]) -> Markup:
    pairs = [
        (-count, i, j) for i, counts in enumerate(matrix) for j, count in enumerate(counts) if i != j and count > 0
    ]
    if not pairs:
        return paragraph("No row was confused.", class_="quiet")
    items = [
        f"{classes[i]} taken for {classes[j]}: {wording.plural(-count, 'row')}"
        for count, i, j in sorted(pairs)[:MAX_CONFUSIONS]
    ]
    return tag("div", paragraph("Most frequent confusions", class_="quiet"), bullets(items))


def _scatter(record: RunRecord, export: Mapping[str, Any], plots: Plots) -> Markup:
    scatter = export.get("scatter")
    if not scatter or not scatter["true"]:
        return NOTHING
    target = str(record.profile.get("target", {}).get("name", "target"))
    rows = record.profile.get("rows", {}).get("test", len(scatter["true"]))
    return plots.place(scatter_figure(scatter["true"], scatter["predicted"], target, rows))


def _wrong(record: RunRecord, export: Mapping[str, Any]) -> Markup:
    wrong: Sequence[Mapping[str, Any]] = export.get("wrong") or []
    if not wrong:
        return NOTHING
    classified = record.task == "classification"
    title = "Wrong predictions" if classified else "Largest errors"
    drawn = [item for item in wrong if item.get("pixels") is not None or item.get("series") is not None]
    shown = _gallery(drawn) if drawn else _wrong_table(wrong, title, classified=classified)
    named = any(item.get("name") for item in wrong)
    numbering = "" if named else "Rows are counted in the source, from 1 on."
    return subsection(title, paragraph(f"{_how_many_wrong(export, len(wrong))} {numbering}", class_="quiet"), shown)


def _how_many_wrong(export: Mapping[str, Any], shown: int) -> str:
    matrix: Sequence[Sequence[int]] = export.get("confusion") or []
    if not matrix:
        return f"The {wording.plural(shown, 'row')} of the test split with the largest errors."
    total = sum(sum(row) - row[i] for i, row in enumerate(matrix))
    if total <= shown:
        return f"{wording.plural(total, 'row')} of the test split."
    return f"The {shown:,d} most confident of {total:,d} wrong predictions on the test split."


def _gallery(wrong: Sequence[Mapping[str, Any]]) -> Markup:
    cards = []
    for item in wrong:
        true, predicted = wording.figure(item["true"]), wording.figure(item["predicted"])
        name = item.get("name") or f"row {item['row'] + 1}"
        told = f"{wording.capital(name)}: true {true}, predicted {predicted}"
        series = item.get("series")
        image = picture(item["pixels"], told) if series is None else line_plot(series, told)
        sure = (
            [tag("span", f"sure to {wording.fraction(item['probability'])}")]
            if item.get("probability") is not None
            else []
        )
        text = tag(
            "figcaption",
            tag("span", "predicted ", tag("b", predicted)),
            tag("span", "true ", tag("b", true)),
            *sure,
            tag("span", name, class_="name"),
        )
        cards.append(tag("figure", image, text))
    wide = any(item.get("series") is not None for item in wrong)
    return tag("div", *cards, class_="gallery series" if wide else "gallery")


def _wrong_table(wrong: Sequence[Mapping[str, Any]], title: str, *, classified: bool) -> Markup:
    features = list((wrong[0].get("features") or {}).keys())
    shown = features[:MAX_FEATURES]
    named = any(item.get("name") for item in wrong)
    columns = [
        TableColumn("File") if named else TableColumn("Row", True),
        TableColumn("True", not classified),
        TableColumn("Predicted", not classified),
    ]
    columns += [TableColumn("Sure to", True)] if classified else [TableColumn("Error", True)]
    columns += [TableColumn(str(name), True) for name in shown]
    rows = []
    for item in wrong:
        cells: list[Content] = [
            str(item.get("name") or item["row"] + 1),
            wording.figure(item["true"], 5),
            wording.figure(item["predicted"], 5),
        ]
        judged = (
            wording.fraction(item.get("probability"))
            if classified
            else wording.figure(item["predicted"] - item["true"], 5)
        )
        values = item.get("features") or {}
        rows.append([*cells, judged, *(wording.figure(values.get(name), 5) for name in shown)])
    more = f"; the first {len(shown)} of {len(features)} features" if len(features) > len(shown) else ""
    return table(f"{title}, with their features{more}" if shown else title, columns, rows)


def gate_section(record: RunRecord) -> Markup:
    """Returns every check of the export gate with its figure and its limit; nothing before `export`."""
    gates: Sequence[Mapping[str, Any]] = record.details("export").get("gates") or []
    if not gates:
        return NOTHING
    passed = sum(1 for gate in gates if gate["passed"])
    columns = [TableColumn("Check"), TableColumn("Verdict"), TableColumn("Figure"), TableColumn("Limit")]
    columns += [TableColumn("Cause, if it fails"), TableColumn("What was found", prose=True)]
    rows = [
        (
            wording.capital(wording.words(str(gate["name"]))),
            badge("✓ passed", "good") if gate["passed"] else badge("✗ failed", "bad"),
            wording.figure(gate["figure"], 5),
            wording.figure(gate["limit"], 5),
            str(gate["stage"]),
            str(gate.get("message") or ""),
        )
        for gate in gates
    ]
    text = f"A bundle is handed over only if every check passes: {passed} of {len(gates)} did."
    return section("gate", "The export gate", paragraph(text), table("Checks of the export gate", columns, rows))

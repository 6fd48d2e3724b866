"""The data section: what is in the rows, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from data.row_blocks import COUNTED_ROWS, MOST_COUNTED, may_be_estimate
from pipeline.report import wording
from pipeline.report.figures import Plots
from pipeline.report.line_plots import line_plot
from pipeline.report.markup import (
    NOTHING,
    Content,
    Markup,
    TableColumn,
    bullets,
    disclosure,
    facts,
    join,
    paragraph,
    section,
    subsection,
    table,
    tag,
)
from pipeline.report.plots_training import class_balance_figure
from pipeline.report.record import RunRecord

MAX_OPEN_COLUMNS = 15
"""Tables of more columns, or recordings, than this are folded away."""


def data_section(record: RunRecord, plots: Plots) -> Markup:
    """Returns the data profile; nothing before `ingest`."""
    profile = record.profile
    if not profile:
        return NOTHING
    warnings = [str(warning) for warning in profile.get("warnings", [])]
    parts = [
        tag("div", subsection("Rows and inputs", facts(_facts(profile))), _balance(profile, plots), class_="pair"),
        subsection("Warnings", bullets(warnings, "cautions") if warnings else paragraph("None.", class_="quiet")),
        _left_out(profile.get("left_out", [])),
        _windows(profile.get("series")),
        _columns(profile.get("columns", []), profile.get("source", {})),
    ]
    return section("data", "Data", *parts)


def _facts(profile: Mapping[str, Any]) -> list[tuple[str, Content]]:
    rows = profile["rows"]
    names = {"train": "train", "validation": "validation", "test": "test", "unlabeled": "without labels"}
    splits = ", ".join(f"{wording.count(rows[key])} {name}" for key, name in names.items() if key in rows)
    shape = " × ".join(str(size) for size in profile["input_shape"])
    pairs: list[tuple[str, Content]] = [
        ("Source", wording.source(profile.get("source", {}))),
        ("Rows", f"{wording.count(rows['total'])}: {splits}"),
        ("Input", wording.model_input(profile["input_kind"], shape)),
    ]
    stored = profile.get("stored_range")
    if stored:
        pairs.append(("Stored values", f"from {wording.figure(stored[0])} to {wording.figure(stored[1])}"))
    target = profile["target"]
    numbers = [f"{key} {wording.figure(target[key])}" for key in ("min", "max", "mean", "std") if key in target]
    pairs.append(("Target", "; ".join([str(target["name"]), *numbers]) if target else "none: no labels are read"))
    pairs += _without_labels(profile.get("unlabeled"))
    pairs += _duplicates(profile.get("duplicates", {}))
    for key, title in (("constant_columns", "Constant columns"), ("duplicate_columns", "Columns of equal values")):
        if profile.get(key):
            pairs.append((title, _names(profile[key])))
    if profile.get("stored_bytes") is not None:
        pairs.append(("Stored arrays", wording.bytes_of(profile["stored_bytes"])))
    return pairs


def _without_labels(unlabeled: Mapping[str, Any] | None) -> list[tuple[str, Content]]:
    if unlabeled is None:
        return []
    parts = []
    if unlabeled["set_aside"]:
        parts.append(f"{wording.count(unlabeled['set_aside'])} whose labels are put aside")
    if unlabeled["source"] is not None:
        more = unlabeled["rows"] - unlabeled["set_aside"]
        parts.append(f"{wording.count(more)} from {wording.source(unlabeled['source'])}")
    return [("Rows without labels", "; ".join(parts))]


def _names(groups: Sequence[Any]) -> str:
    return "; ".join(" = ".join(group) if isinstance(group, list) else str(group) for group in groups)


def _duplicates(duplicates: Mapping[str, Any]) -> list[tuple[str, Content]]:
    if not duplicates:
        return []
    across = [
        f"{pair.replace('/', ' and ')} {wording.count(rows)}" for pair, rows in duplicates["across_splits"].items()
    ]
    pairs: list[tuple[str, Content]] = [
        ("Duplicate rows", f"{wording.count(duplicates['rows'])}; shared by splits: {', '.join(across)}")
    ]
    if "conflicting" in duplicates:
        pairs.append(("Same inputs, other target", wording.plural(duplicates["conflicting"], "row")))
    return pairs


def _balance(profile: Mapping[str, Any], plots: Plots) -> Markup:
    balance = profile.get("class_balance")
    if not balance:
        return NOTHING
    return plots.place(class_balance_figure(balance))


def _left_out(left_out: Sequence[Mapping[str, Any]]) -> Markup:
    if not left_out:
        return NOTHING
    columns = [TableColumn("Column"), TableColumn("Why it is no input", prose=True)]
    rows = [(str(item["name"]), str(item["reason"])) for item in left_out]
    caption = f"{wording.plural(len(left_out), 'column')} left out"
    return subsection("Left out", table(caption, columns, rows))


def _windows(series: Mapping[str, Any] | None) -> Markup:
    """Draws a few training windows, and lists what they were cut from."""
    if series is None:
        return NOTHING
    target = [wording.figure(example["target"], 5) for example in series["examples"]]
    cards = [
        tag(
            "figure",
            line_plot(example["values"], f"Window {example['name']}, target {value}"),
            tag("figcaption", tag("span", tag("b", value)), tag("span", str(example["name"]), class_="name")),
        )
        for example, value in zip(series["examples"], target, strict=True)
    ]
    heads = [TableColumn("Series"), *(TableColumn(title, True) for title in ("Steps", "Train", "Validation", "Test"))]
    rows: list[list[Content]] = [
        [str(each["name"]), *(wording.count(each[key]) for key in ("steps", "train", "validation", "test"))]
        for each in series["recordings"]
    ]
    listed, total = len(rows), series["num_recordings"]
    first = f", the first {listed} of {total:,d}" if listed < total else ""
    whole = table(f"Series and the windows cut from them{first}", heads, rows)
    if listed > MAX_OPEN_COLUMNS:
        whole = disclosure(f"All {total:,d} series" if listed == total else f"{listed} of {total:,d} series", whole)
    text = paragraph(
        f"Windows of {wording.plural(series['window'], 'step')}, one every {wording.plural(series['stride'], 'step')}. "
        "These are of the training split; each channel is drawn from its least to its largest value.",
        class_="quiet",
    )
    return subsection("Windows", text, tag("div", *cards, class_="gallery series"), whole)


def _aside(source: Mapping[str, Any]) -> list[str]:
    """Names the columns of a table that are no inputs because of their role; they have no profile."""
    roles = {role: source.get(role) for role in ("target", "group")} if source.get("source") == "table" else {}
    return [f"{name} ({role})" for role, name in roles.items() if name is not None]


def _columns(columns: Sequence[Mapping[str, Any]], source: Mapping[str, Any]) -> Markup:
    if not columns:
        return NOTHING
    aside, rows_read = _aside(source), source.get("rows")
    used = sum(1 for column in columns if column["used"])
    heads = [TableColumn("Column"), TableColumn("Kind"), TableColumn("Input")]
    heads += [TableColumn(title, True) for title in ("Missing", "Distinct", "Min", "Max", "Mean", "Std")]
    rows = [_row(column) for column in columns]
    if any(column.get("top") for column in columns):
        heads.append(TableColumn("Most frequent", prose=True))
        rows = [[*row, _most_frequent(column)] for row, column in zip(rows, columns, strict=True)]
    total = len(columns) + len(aside)
    beside = f"; not listed: {wording.listed(list(aside))}" if aside else ""
    beside += (
        f"; distinct values of long columns are estimated beyond {MOST_COUNTED:,d}"
        if _estimates(columns, rows_read)
        else ""
    )
    whole = table(f"Columns of the source, {used} of {total} are inputs{beside}", heads, rows)
    if len(columns) > MAX_OPEN_COLUMNS:
        whole = disclosure(
            f"All {len(columns)} columns that may be inputs" if aside else f"All {len(columns)} columns", whole
        )
    return subsection("Columns", join([whole]))


def _estimates(columns: Sequence[Mapping[str, Any]], rows: int | None) -> bool:
    """Says whether some number of distinct values is an estimate; `rows` are those of the source, where it tells."""
    guessed = [each for each in columns if each["kind"] == "numeric" and may_be_estimate(each["distinct"])]
    if rows is None:
        return bool(guessed)
    return rows > COUNTED_ROWS and any(each["distinct"] < rows - each["missing"] for each in guessed)


def _most_frequent(column: Mapping[str, Any]) -> Content:
    top = [f"{item['value']} ({wording.count(item['rows'])})" for item in column.get("top", [])[:3]]
    return ", ".join(top) or wording.ABSENT


def _was_read(column: Mapping[str, Any]) -> bool:
    """Whether a column's values were looked at: of one that the config leaves out they were not."""
    return bool(column["kind"] != "dropped")


def _row(column: Mapping[str, Any]) -> list[Content]:
    return [
        str(column["name"]),
        wording.words(column["kind"]),
        "yes" if column["used"] else "no",
        *(wording.count(column[key] if _was_read(column) else None) for key in ("missing", "distinct")),
        *(wording.figure(column.get(key), 5) for key in ("min", "max", "mean", "std")),
    ]

"""The data section of report and model card where rows have no labels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pipeline.model_card import render_model_card
from pipeline.report.html import render_report
from tests.pipeline.report_records import full_record
from tests.pipeline.test_report import Page


def page(**changes: Any) -> Page:
    record = full_record()
    return Page(render_report(replace(record, profile={**record.profile, **changes})))


def test_rows_without_labels_are_counted_and_told_apart() -> None:
    rows = {"total": 1897, "train": 57, "validation": 270, "test": 270, "unlabeled": 1300}
    unlabeled = {
        "rows": 1300,
        "set_aside": 1200,
        "source": {"source": "arrays", "file": "more.npz"},
        "also_in": {"validation": 0, "test": 0},
    }
    text = page(rows=rows, unlabeled=unlabeled).text
    assert "1,897: 57 train, 270 validation, 270 test, 1,300 without labels" in text
    assert "1,200 whose labels are put aside; 100 from arrays, file: more.npz" in text
    record = full_record()
    card = render_model_card(replace(record, profile={**record.profile, "rows": rows}))
    assert (
        "- Rows: 1,897: 57 to train on, 270 to decide on (validation), 270 to test on, 1,300 without labels"
        in card.splitlines()
    )
    assert "without labels" not in render_model_card(record)


def test_data_without_labels_has_no_target_and_no_balance() -> None:
    duplicates = {"rows": 0, "across_splits": {"train/validation": 0, "train/test": 0, "validation/test": 0}}
    found = page(target={}, class_balance=None, duplicates=duplicates)
    assert "none: no labels are read" in found.text
    assert "Same inputs, other target" not in found.text
    assert "classes" not in [figure["id"] for figure in found.figures]


def test_a_dropped_column_has_no_figures_and_the_target_is_counted() -> None:
    area = {"name": "area", "kind": "numeric", "missing": 2, "distinct": 180, "used": True, "min": 18.0, "max": 240.5}
    cost = {"name": "cost", "kind": "dropped", "missing": 0, "distinct": 0, "used": False}
    source = {"source": "table", "file": "flats.csv", "target": "rent", "group": None}
    rows = page(columns=[area, cost], source=source).table(
        "Columns of the source, 1 of 3 are inputs; not listed: rent (target)"
    )
    assert rows[1][:5] == ["area", "numeric", "yes", "2", "180"]
    assert rows[2] == ["cost", "dropped", "no", *["–"] * 6]
    grouped = page(columns=[area], source=source | {"group": "city"})
    assert grouped.table("Columns of the source, 1 of 3 are inputs; not listed: rent (target) and city (group)")
    others = page(columns=[area], source={"source": "series", "group": "city"})
    assert others.table("Columns of the source, 1 of 1 are inputs")


def test_estimates_of_distinct_values_are_said_to_be_some() -> None:
    column = {"name": "area", "kind": "numeric", "missing": 0, "used": True}
    estimated = page(columns=[column | {"distinct": 378_000}])
    assert estimated.table(
        "Columns of the source, 1 of 1 are inputs; distinct values of long columns are estimated beyond 65,536"
    )
    counted = page(columns=[column | {"distinct": 378_123}])
    assert counted.table("Columns of the source, 1 of 1 are inputs")
    few = page(columns=[column | {"distinct": 100_000}], source={"source": "table", "file": "t.csv", "rows": 100_001})
    assert few.table("Columns of the source, 1 of 1 are inputs")
    all_differ = {"source": "table", "file": "t.csv", "rows": 200_000}
    whole = page(
        columns=[column | {"distinct": 200_000}, column | {"distinct": 70_000, "kind": "categorical"}],
        source=all_differ,
    )
    assert whole.table("Columns of the source, 2 of 2 are inputs")

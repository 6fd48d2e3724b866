"""The section on baselines: classical models on the same splits, beside the model that is handed over."""

from __future__ import annotations

from pipeline.ledger import ClassicalRow
from pipeline.report import wording
from pipeline.report.beaten import beaten_sentence
from pipeline.report.markup import NOTHING, Content, Markup, TableColumn, bullets, paragraph, section, table
from pipeline.report.record import RunRecord
from pipeline.report.subject import model_file


def baselines_section(record: RunRecord) -> Markup:
    """Returns every baseline with its scores, sizes and times, and the delivered model below them; nothing without."""
    rows = [row for row in record.ledger if isinstance(row, ClassicalRow) and row.stage == "baselines"]
    if not rows:
        return NOTHING
    metric = wording.capital(wording.metric(record.metric))
    heads = (
        f"{metric}, validation",
        f"{metric}, test",
        "Joblib bytes",
        "Bytes in C",
        "Fit seconds",
        "Predict µs",
        "Rows fitted on",
    )
    cells = _cells(record, rows)
    delivered = _delivered(record)
    columns = [TableColumn("Model"), *(TableColumn(head, True) for head in heads)]
    marked = len(cells) if delivered else -1
    return section(
        "baselines",
        "Baselines: classical models on the same splits",
        paragraph(beaten_sentence(record.summary) or _unbeaten(record)),
        table("Baselines, and the delivered model", columns, [*cells, *delivered], marked=marked),
        _notes(record),
        paragraph(
            "scikit-learn’s usual settings, fitted on the training rows as the network eats them, on one thread. "
            "Which is better is judged on the validation split. Joblib bytes: scikit-learn’s model as a file, "
            "uncompressed; bytes in C: its constants in float32, which is what a device would hold. Predict: one row a "
            "call, Python’s own time included.",
            class_="quiet",
        ),
    )


def _cells(record: RunRecord, rows: list[ClassicalRow]) -> list[list[Content]]:
    on_test = {each["name"]: each["test_score"] for each in record.summary.get("baselines") or []}
    return [
        [
            wording.baseline(row.variant),
            wording.score(row.score),
            wording.score(on_test.get(row.variant)),
            wording.count(row.joblib_bytes),
            wording.count(row.constant_bytes),
            wording.figure(row.seconds, 3),
            wording.figure(row.predict_us, 3),
            wording.count(row.num_rows),
        ]
        for row in rows
    ]


def _unbeaten(record: RunRecord) -> str:
    if not record.summary.get("baselines"):
        return "They are held against the delivered model by the stage export, which this run did not reach."
    return f"No baseline has a higher validation score than {model_file(record)}."


def _delivered(record: RunRecord) -> list[list[Content]]:
    told = record.summary.get("baselines") or []
    if not told:
        return []
    s = record.summary
    return [
        [
            model_file(record),
            wording.score(told[0]["delivered_score"]),
            wording.score(s["model_score"]),
            wording.ABSENT,
            wording.count(told[0]["delivered_bytes"]),
            wording.ABSENT,
            wording.figure(s.get("latency_us"), 3),
            wording.ABSENT,
        ]
    ]


def _notes(record: RunRecord) -> Markup:
    details = record.details("baselines")
    total = details.get("training_rows", 0)
    notes = []
    for each in details.get("models", []):
        name = wording.baseline(each["name"])
        if each["num_rows"] < total:
            notes.append(
                f"{name} was fitted on {each['num_rows']:,d} of {total:,d} training rows, drawn by class: its time "
                "grows with their square (baselines.max_rbf_rows)."
            )
        notes += [f"{name}: scikit-learn says: {warning}" for warning in each["warnings"]]
    return bullets(notes) if notes else NOTHING

"""The section on size: the ledger of bytes against score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.ledger import AnyRow, ClassicalRow
from pipeline.report import wording
from pipeline.report.figures import Plots
from pipeline.report.findings import chosen_variant, section_of, untrained_stages
from pipeline.report.markup import (
    NOTHING,
    Content,
    Markup,
    TableColumn,
    bullets,
    disclosure,
    join,
    paragraph,
    section,
    subsection,
    table,
)
from pipeline.report.plots_result import ledger_figure
from pipeline.report.record import RunRecord
from pipeline.report.subject import model_file


def ledger_section(record: RunRecord, plots: Plots) -> Markup:
    """Returns the ledger: a plot, its table, and the TFLite variants beside each other."""
    rows = record.ledger
    if not rows:
        return NOTHING
    chosen = chosen_variant(record)
    with_classical = any(isinstance(row, ClassicalRow) for row in rows)
    figure = ledger_figure(rows, chosen, wording.metric(record.metric), untrained_stages(record))
    marked = next((i for i, row in enumerate(rows) if row.stage == "convert" and row.variant == chosen), -1)
    parts: list[Content] = [
        paragraph(f"What every model was worth, and what it weighed, on the way to {model_file(record)}."),
        NOTHING if figure is None else plots.place(figure),
        table(
            "The ledger; scores are those of the validation split",
            _heads(record.metric, with_classical=with_classical),
            [_row(row, with_classical=with_classical) for row in rows],
            marked=marked,
        ),
        _variants(record, chosen),
    ]
    return section("ledger", "The ledger: bytes against score", *parts)


def _heads(metric: str, *, with_classical: bool) -> list[TableColumn]:
    classical = ("Joblib bytes", "Bytes in C", "Predict µs") if with_classical else ()
    numbers = (
        f"Score ({wording.metric(metric)})",
        "Parameters",
        "Not zero",
        "MACs",
        ".tflite bytes",
        "Gzipped bytes",
        *classical,
        "Seconds",
    )
    return [TableColumn("Stage"), TableColumn("Model"), *(TableColumn(title, True) for title in numbers)]


def _row(row: AnyRow, *, with_classical: bool) -> list[Content]:
    if isinstance(row, ClassicalRow):
        return [
            row.stage,
            row.variant,
            wording.score(row.score),
            wording.count(row.parameters),
            wording.ABSENT,
            wording.count(row.macs),
            wording.ABSENT,
            wording.ABSENT,
            wording.count(row.joblib_bytes),
            wording.count(row.constant_bytes),
            wording.figure(row.predict_us, 3),
            wording.figure(row.seconds, 3),
        ]
    return [
        row.stage,
        row.variant,
        wording.score(row.score),
        wording.count(row.parameters),
        wording.count(row.nonzero_parameters),
        wording.count(row.macs),
        wording.count(row.tflite_bytes),
        wording.count(row.tflite_gzip_bytes),
        *([wording.ABSENT] * 3 if with_classical else []),
        f"{row.seconds:.1f}",
    ]


def _variants(record: RunRecord, chosen: str | None) -> Markup:
    convert = record.details("convert")
    variants: Sequence[Mapping[str, Any]] = convert.get("variants") or []
    if not variants:
        return NOTHING
    on_test: Mapping[str, Any] = record.details("export").get("test") or {}
    heads = ("Bytes", "Gzipped", "Zstandard", "Arena", "µs", "Score, validation", "Score, test")
    rows = [
        (
            str(variant["precision"]),
            wording.count(variant["bytes"]),
            wording.count(variant["gzip_bytes"]),
            wording.count(variant.get("zstd_bytes")),
            wording.count(variant.get("arena_bytes")),
            wording.figure(variant.get("latency_us"), 3),
            wording.score(variant["score"]),
            wording.score(on_test.get(variant["precision"])),
        )
        for variant in variants
    ]
    marked = next((i for i, variant in enumerate(variants) if variant["precision"] == chosen), -1)
    columns = [TableColumn("Variant"), *(TableColumn(head, True) for head in heads)]
    text = f"model.tflite is the {chosen} variant."
    if any(variant["precision"] == "int8" for variant in variants):
        rows_seen = wording.plural(convert["calibration_rows"], "training row")
        learned = "learned while it was trained, starting from" if record.details("quantize") else "measured on"
        text += f" int8 ranges were {learned} {rows_seen}."
    if any(variant.get("encoded") for variant in variants):
        text += " Encoded variants answer as int8 does, bit for bit: their scores are its scores in LiteRT."
    if not on_test:
        text += " The test split is read by export alone."
    asked = section_of(record, "quantize").get("precision")
    if asked is None:
        text += " The config has no section quantize, so float32 was taken."
    text += (
        " Arena: working memory in TFLite Micro, in bytes; µs: median inference in LiteRT, one thread, this machine."
    )
    whole = table("TFLite variants, run by LiteRT", columns, rows, marked=marked)
    parts = [paragraph(text, class_="quiet"), whole, _refusals(convert), *_encodings(variants)]
    return subsection("TFLite variants", join(parts))


def _refusals(convert: Mapping[str, Any]) -> Markup:
    """Which runtime does not run a variant, and what could not be made at all, each with its reason."""
    told = [f"{each['variant']} was not made: {each['reason']}" for each in convert.get("refused") or []]
    for variant in convert.get("variants") or []:
        reasons = [variant.get(f"{runtime}_reason") for runtime in ("arena", "litert", "xnnpack")]
        told += [f"{variant['precision']}: {reason}." for reason in dict.fromkeys(reasons) if reason]
    return disclosure("Why a runtime does not run some of them", bullets(told)) if told else NOTHING


def _encodings(variants: Sequence[Mapping[str, Any]]) -> list[Markup]:
    """Of variants with encoded weights: what each layer saves, and which are left as they were."""
    found = []
    for variant in variants:
        encoded = variant.get("encoded")
        if not encoded:
            continue
        rows = [
            (
                layer["name"],
                wording.count(layer["num_weights"]),
                "1 and those that stay" if layer["bits"] is None else str(layer["bits"]),
                wording.count(layer["saved_bytes"]),
            )
            for layer in encoded["layers"]
        ]
        heads = ("Weights", "Bits each", "Bytes saved")
        columns = [TableColumn("Layer"), *(TableColumn(head, True) for head in heads)]
        left = [f"{name}: {reason}." for name, reason in encoded["left_out"].items()]
        inside = [
            table(f"Encoded weights of {variant['precision']}", columns, rows),
            bullets(left) if left else NOTHING,
        ]
        found.append(disclosure(f"What {variant['precision']} encodes", join(inside)))
    return found

"""The head of the report: what was asked, what came out, and what to be careful about."""

from __future__ import annotations

from typing import Any

from pipeline.ledger import ClassicalRow
from pipeline.report import wording
from pipeline.report.asked import asked_pairs, asked_sentence
from pipeline.report.beaten import beaten_sentence
from pipeline.report.cautions import (
    compression_caution,
    control_caution,
    smaller_variants,
    threshold_caution,
    training_cautions,
)
from pipeline.report.findings import (
    chosen_variant,
    guess_caution,
    targets_asked,
    verdict,
)
from pipeline.report.held_limit import held_limit
from pipeline.report.markup import (
    NOTHING,
    Markup,
    TableColumn,
    badge,
    bullets,
    facts,
    join,
    paragraph,
    subsection,
    table,
    tag,
)
from pipeline.report.pruning_words import nodes_report, zeros_report
from pipeline.report.record import RunRecord
from pipeline.report.subject import classical_family, fit_cautions, model_file, reference

VERDICT_MARKS = {"good": "✓", "warn": "!", "bad": "✗", "plain": "–"}


def header(record: RunRecord) -> Markup:
    """Returns the page's title, the verdict and the figures that matter most."""
    judged = verdict(record)
    mark = tag("span", VERDICT_MARKS[judged.kind], class_="mark", aria_hidden="true")
    text = tag("div", tag("strong", judged.headline), tag("span", judged.sentence))
    beaten = beaten_sentence(record.summary)
    return tag(
        "header",
        paragraph("Penjing · run report", class_="brand"),
        tag("h1", record.name),
        NOTHING if beaten is None else paragraph(tag("strong", beaten), class_="lead"),
        paragraph(asked_sentence(record), class_="lead"),
        tag("div", mark, text, class_=f"verdict {judged.kind}", role="status"),
        tiles(record),
    )


def tiles(record: RunRecord) -> Markup:
    """Returns the figures of the exported model, or of the last model that was measured."""
    cells = _bundle_tiles(record) if record.summary else _ledger_tiles(record)
    items = [
        tag("div", tag("dt", title), tag("dd", tag("b", figure), tag("span", note))) for title, figure, note in cells
    ]
    return tag("dl", *items, class_="tiles six" if len(items) == 6 else "tiles") if items else NOTHING


def _bundle_tiles(record: RunRecord) -> list[tuple[str, str, str]]:
    s = record.summary
    drop = wording.signed(s["model_score"] - s["baseline_score"])
    precision = chosen_variant(record) or model_file(record)
    title = f"{wording.capital(wording.metric(record.metric))}, test split"
    cells = [
        (
            title,
            wording.score(s["model_score"]),
            f"{drop} against {_dense(record)} {wording.score(s['baseline_score'])}",
        ),
        (
            "Model file" if model_file(record) == "model.tflite" else "Constants in C",
            wording.bytes_of(s["model_bytes"]),
            f"{precision}; gzipped {wording.count(s['model_gzip_bytes'])}",
        ),
        ("Working memory (arena)", *_arena(s)),
    ]
    latency = s.get("latency_us")
    timed = f"{wording.figure(round(latency, 1))} µs, median, one thread, this machine" if latency is not None else ""
    cells.append(("Multiply-accumulates", wording.count(s["macs"]), timed))
    told = s.get("reconstruction") or {}
    if told.get("roc_auc") is not None:
        note = f"the Keras model’s is {wording.score(told['float_roc_auc'])}"
        cells.insert(0, ("ROC AUC, abnormal rows", wording.score(told["roc_auc"]), note))
    clusters = s.get("clustering") or {}
    if clusters.get("nmi") is not None:
        note = f"mutual information with the labels; the dense model’s is {wording.score(clusters['baseline_nmi'])}"
        cells.insert(1, ("NMI, test split", wording.score(clusters["nmi"]), note))
    agreement = s.get("agreement")
    error = f"largest difference of an output {wording.figure(s['max_abs_error'], 4)}"
    if agreement is None:
        cells.append(
            (
                f"Largest error against {reference(record)}",
                wording.figure(s["max_abs_error"], 4),
                "of any output, test split",
            )
        )
    else:
        cells.append((f"Same decision as {reference(record)}", wording.fraction(agreement), error))
    return cells


def _dense(record: RunRecord) -> str:
    return "the dense float model’s" if classical_family(record) is None else "scikit-learn’s"


def _arena(summary: dict[str, Any]) -> tuple[str, str]:
    if summary.get("classical_family") is not None:
        return "none", str(summary["arena_reason"])
    if summary.get("arena_bytes") is not None:
        return wording.bytes_of(summary["arena_bytes"]), "measured by TFLite Micro on this host"
    return "not measured", str(summary.get("arena_reason") or "TFLite Micro does not run this model")


def _ledger_tiles(record: RunRecord) -> list[tuple[str, str, str]]:
    rows = [row for row in record.ledger if row.stage != "control"]
    if not rows:
        return []
    row = rows[-1]
    title = f"{wording.capital(wording.metric(record.metric))}, validation split"
    if isinstance(row, ClassicalRow):
        return [
            (title, wording.score(row.score), f"of {wording.baseline(row.variant)}, by the stage {row.stage}"),
            ("As joblib", wording.bytes_of(row.joblib_bytes), f"{wording.count(row.constant_bytes)} as constants in C"),
        ]
    return [
        (title, wording.score(row.score), f"after the stage {row.stage}, {row.variant}"),
        ("As .tflite", wording.bytes_of(row.tflite_bytes), f"gzipped {wording.count(row.tflite_gzip_bytes)}"),
        ("Parameters", wording.count(row.parameters), f"{wording.count(row.nonzero_parameters)} of them not zero"),
        ("Multiply-accumulates", wording.count(row.macs), "for one inference"),
    ]


def overview(record: RunRecord) -> Markup:
    """Returns what was asked and what came out in detail, with every warning."""
    return join(
        [
            tag(
                "div",
                subsection("Asked", facts(asked_pairs(record))),
                subsection("Targets", _targets(record)),
                class_="pair",
            ),
            _cautions(record),
        ]
    )


def _targets(record: RunRecord) -> Markup:
    targets = record.details("export").get("targets", [])
    if targets:
        columns = [TableColumn("Limit"), TableColumn("Asked", True), TableColumn("Got", True), TableColumn("Met")]
        rows = [
            (
                wording.capital(wording.words(target["name"])),
                wording.named_figure(target["name"], target["asked"]),
                wording.named_figure(target["name"], target["got"]),
                badge("✓ met", "good") if target["met"] else badge("✗ missed", "bad"),
            )
            for target in targets
        ]
        return table("Limits of the config’s target, judged on the validation split", columns, rows)
    asked = targets_asked(record)
    if not asked:
        held = held_limit(record.details("search"))
        return paragraph("The config sets no limits." if held is None else held, class_="quiet")
    named = [
        f"{wording.capital(wording.words(name))}: {wording.named_figure(name, limit)}" for name, limit in asked.items()
    ]
    return join([paragraph("Not judged: the run did not reach the stage export.", class_="quiet"), bullets(named)])


def _cautions(record: RunRecord) -> Markup:
    """Returns everything a reader should be careful about, gathered from all stages."""
    items: list[str] = []
    if record.has_earlier_bundle:
        items.append(
            "The bundle in the folder export is of an earlier config, data or code, not of the run told of here."
        )
    for gate in record.details("export").get("gates", []):
        if not gate["passed"]:
            items.append(f"Gate check failed: {gate['name']} (caused by {gate['stage']}): {gate['message']}")
    for target in record.details("export").get("targets", []):
        if not target["met"]:
            asked, got = (wording.named_figure(target["name"], target[key]) for key in ("asked", "got"))
            items.append(f"Target missed: {wording.words(target['name'])}: asked {asked}, got {got}.")
    learned = (guess_caution(record), threshold_caution(record), compression_caution(record), control_caution(record))
    items += [each for each in learned if each is not None]
    items += [*training_cautions(record), *fit_cautions(record)]
    items += [each for each in (smaller_variants(record), nodes_report(record)) if each is not None]
    zeros = zeros_report(record)
    if zeros is not None and not zeros.saved:
        items.append(zeros.finding)
    items += [str(warning) for warning in record.profile.get("warnings", [])]
    failed = [trial for trial in record.details("tune").get("trials", []) if trial["state"] != "done"]
    if failed:
        items.append(f"{wording.plural(len(failed), 'trial')} of `tune` failed; the section on tuning says why.")
    if not items:
        return NOTHING
    return tag("div", tag("h3", "Worth knowing"), bullets(items, "cautions"), class_="part caution")

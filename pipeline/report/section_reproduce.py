"""The last section: how to make the same run again."""

from __future__ import annotations

from pipeline.report import wording
from pipeline.report.markup import (
    NOTHING,
    Content,
    Markup,
    TableColumn,
    disclosure,
    facts,
    paragraph,
    scrolling,
    section,
    subsection,
    table,
    tag,
)
from pipeline.report.record import RunRecord
from pipeline.report.subject import model_file

KEY_DIGITS = 12
"""Digits of an artifact's key that are shown; enough to tell artifacts apart by eye."""


def reproduce_section(record: RunRecord) -> Markup:
    """Returns the command, seed, data digest, stages with their keys, versions and the resolved config."""
    pairs: list[tuple[str, Content]] = [("Seed", str(record.seed))]
    digest = record.summary.get("dataset_sha256")
    if digest:
        pairs.append(("Data set, SHA-256", tag("code", str(digest), class_="digest")))
    if record.summary.get("operators"):
        pairs.append(("Operators", ", ".join(str(name) for name in record.summary["operators"])))
    return section(
        "reproduce",
        "How to reproduce",
        paragraph(f"The same config, data and kind of machine give the same {model_file(record)}, bit for bit."),
        _code("Command", record.command),
        facts(pairs),
        _stages(record),
        disclosure("Versions of the libraries", _versions(record)),
        disclosure("The resolved config", _code("Resolved config", record.config_text.strip("\n"))),
    )


def _code(label: str, text: str) -> Markup:
    return scrolling(label, tag("pre", tag("code", text)))


def _stages(record: RunRecord) -> Markup:
    if not record.stages:
        return NOTHING
    columns = [TableColumn("Stage"), TableColumn("Artifact"), TableColumn("Time", True)]
    rows = [
        (
            stage.name,
            tag("code", stage.key[:KEY_DIGITS]),
            wording.seconds(stage.seconds),
        )
        for stage in record.stages
    ]
    total = wording.seconds(sum(stage.seconds for stage in record.stages))
    return subsection("Stages", table(f"Stages; making all of them takes {total}", columns, rows))


def _versions(record: RunRecord) -> Markup:
    columns = [TableColumn("Library"), TableColumn("Version")]
    return table("Versions that shaped this run", columns, sorted(record.versions.items()))

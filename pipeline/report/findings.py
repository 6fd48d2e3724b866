"""What a run's record adds up to: the verdict, what a score is held against, and what to look at."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from ruamel.yaml import YAML

from pipeline.ledger import LedgerRow
from pipeline.report import task_words, wording
from pipeline.report.collapsed import collapsed_sentence
from pipeline.report.record import RunRecord
from pipeline.report.subject import classical_family

UNTRAINED_STAGES = ("build", "pretrain")
"""Stages whose models have not learned the task, unless one came trained: their score says nothing of their size."""


@dataclass(frozen=True)
class Verdict:
    """How a run ended.

    Attributes:
        kind: `good`: bundle handed over; `warn`: handed over, but a target is missed or the model knows nothing;
            `bad`: the gate refused it; `plain`: the run did not go as far as `export`.
        headline: the verdict in a few words.
        sentence: what stands behind it.
    """

    kind: Literal["good", "warn", "bad", "plain"]
    headline: str
    sentence: str


def config_of(record: RunRecord) -> dict[str, Any]:
    """Returns the resolved config as plain values."""
    loaded = YAML(typ="safe", pure=True).load(record.config_text)
    return dict(loaded) if isinstance(loaded, dict) else {}


def section_of(record: RunRecord, name: str) -> dict[str, Any]:
    """Returns one section of the resolved config; empty where it is left out."""
    value = config_of(record).get(name)
    return dict(value) if isinstance(value, dict) else {}


def targets_asked(record: RunRecord) -> dict[str, Any]:
    """Returns the limits that the config asks for, by name."""
    return {name: limit for name, limit in section_of(record, "target").items() if limit is not None}


def verdict(record: RunRecord) -> Verdict:
    """Judges a run by its gates and targets."""
    export = record.details("export")
    if record.stage("export") is None:
        last = record.stages[-1].name if record.stages else None
        reached = f"It ran up to the stage {last}." if last else "No stage has finished yet."
        return Verdict(
            "plain", "Nothing was exported", f"{reached} A bundle is written, and judged, by the stage export."
        )
    gates = export.get("gates", [])
    failed = [gate for gate in gates if not gate["passed"]]
    if failed:
        names = [f"{wording.words(gate['name'])} (caused by {gate['stage']})" for gate in failed]
        passed = len(gates) - len(failed)
        return Verdict(
            "bad",
            "Rejected by the gate",
            f"{passed} of {wording.plural(len(gates), 'check')} passed; failed: {wording.listed(names)}.",
        )
    held = f"{'The only check' if len(gates) == 1 else f'All {len(gates)} checks'} of the export gate passed"
    targets = export.get("targets", [])
    missed = [wording.words(target["name"]) for target in targets if not target["met"]]
    if missed:
        return Verdict("warn", "Verified, but a target was missed", f"{held}; missed: {wording.listed(missed)}.")
    collapsed = collapsed_sentence(record.summary)
    if collapsed is not None:
        return Verdict("warn", "Verified, but all rows are in one cluster", f"{held}. {collapsed}")
    beside = yardstick(record)
    if beside is not None and not beside.beaten:
        return Verdict("warn", "Verified, but no better than a guess", f"{held}; see what is worth knowing below.")
    if targets:
        return Verdict("good", "Verified, every target met", f"{held}; {wording.plural(len(targets), 'target')} met.")
    return Verdict("good", "Verified", f"{held}; no target was set.")


def keras_rows(record: RunRecord) -> list[LedgerRow]:
    """Returns the ledger's rows of Keras models, in the order of the flow; the control is not on the way."""
    networks = [row for row in record.ledger if isinstance(row, LedgerRow)]
    return [row for row in networks if row.variant.startswith("keras") and row.stage != "control"]


def untrained_stages(record: RunRecord) -> tuple[str, ...]:
    """Returns the stages whose models have not learned the task yet; none where the model came from a file."""
    return () if section_of(record, "model").get("family") == "file" else UNTRAINED_STAGES


def chosen_variant(record: RunRecord) -> str | None:
    """Returns the precision of the model that is handed over; None before `convert`."""
    if classical_family(record) is not None:
        return str(record.summary["precision"]) if record.summary else None
    chosen = record.details("convert").get("chosen")
    return None if chosen is None else str(chosen)


def dense_row(record: RunRecord) -> LedgerRow | None:
    """Returns the dense float model before any compression: the last Keras row up to `tune`; None before training."""
    learned = {"build", "train", "tune"} - set(untrained_stages(record))
    rows = [row for row in keras_rows(record) if row.stage in learned]
    return rows[-1] if rows else None


@dataclass(frozen=True)
class Yardstick:
    """What a score is to be held against.

    Attributes:
        sentence: the score of always naming the most frequent class; of a regression, errors in the target's unit.
        beaten: whether the model is better than that guess; of a regression, than answering the mean (R² above 0).
    """

    sentence: str
    beaten: bool = True


def yardstick(record: RunRecord) -> Yardstick | None:
    """Puts a score into proportion, on the test split.

    Args:
        record: the run.

    Returns:
        For classes: how often the most frequent class of the training rows alone is right. For numbers: mean absolute
        error `mean(|p - t|)` and `sqrt(mean((p - t)²))` over the points that were kept. None before `export`.
    """
    if record.task in ("reconstruction", "clustering"):
        told = task_words.guess(record)
        return None if told is None else Yardstick(*told)
    balance, score = record.profile.get("class_balance"), record.summary.get("model_score")
    if balance and score is not None and sum(balance["test"].values()):
        name = max(balance["train"], key=lambda each: balance["train"][each])
        guess = balance["test"].get(name, 0) / sum(balance["test"].values())
        classes = len(balance["test"])
        guess = {"balanced_accuracy": 1.0 / classes, "macro_f1": 2.0 * guess / (1.0 + guess) / classes}.get(
            record.metric, guess
        )
        return Yardstick(
            f"Always answering {name}, the most frequent class of the training rows, has "
            f"{wording.with_article(wording.metric(record.metric))} of {wording.score(guess)}.",
            bool(score > guess),
        )
    points = record.details("export").get("scatter") or {"true": []}
    if not points["true"]:
        return None
    errors = [p - t for t, p in zip(points["true"], points["predicted"], strict=True)]
    absolute = sum(abs(error) for error in errors) / len(errors)
    squared = math.sqrt(sum(error * error for error in errors) / len(errors))
    rows = record.profile.get("rows", {}).get("test", len(errors))
    over = wording.plural(rows, "row") if rows <= len(errors) else f"{len(errors):,d} of {wording.plural(rows, 'row')}"
    target = record.profile.get("target", {}).get("name", "the target")
    return Yardstick(
        f"In the unit of {target}, the mean absolute error is {wording.figure(absolute, 4)} and the root mean squared "
        f"error {wording.figure(squared, 4)} (over {over} of the test split).",
        score is None or bool(score > 0.0),
    )


def guess_caution(record: RunRecord) -> str | None:
    """Says that the exported model is no better than a guess; None where it is, and before `export`."""
    beside = yardstick(record)
    if beside is None or beside.beaten:
        return None
    return f"The model is no better than a guess that looks at nothing. {beside.sentence}"

"""What a run is about: a network, or a classical model in its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.bundle_layout import C_MODEL, MODEL
from pipeline.ledger import ClassicalRow
from pipeline.report.record import RunRecord


def classical_family(record: RunRecord) -> str | None:
    """Returns the family of a run whose model scikit-learn fits; None where it is a network."""
    row = next((row for row in record.ledger if isinstance(row, ClassicalRow) and row.stage == "fit"), None)
    return None if row is None else row.variant


def model_file(record: RunRecord) -> str:
    """Returns the name of the file that is handed over."""
    return MODEL if classical_family(record) is None else C_MODEL


def reference(record: RunRecord) -> str:
    """Returns the library whose model the delivered one is held against."""
    return "Keras" if classical_family(record) is None else "scikit-learn"


def weights_field(record: RunRecord) -> str:
    """Returns the field of the config that holds class weights."""
    return "train.class_weights" if classical_family(record) is None else "model.class_weights"


def learned_clusters(record: RunRecord) -> Mapping[str, Any]:
    """Returns what is told of how the model that is handed on came to its clusters; empty where it has none.

    That model is of the stage `train`, or of a trial of `tune` that was better.
    """
    stage = "tune" if record.details("tune").get("best") else "train"
    return dict(record.details(stage).get("clustering") or {})


def fit_cautions(record: RunRecord) -> list[str]:
    """Says what to be careful about in the fit of a classical model, one sentence each."""
    details = record.details("fit")
    if not details:
        return []
    found = [f"scikit-learn warned of the fit: {warning}" for warning in details["warnings"]]
    if details["num_rows"] < details["training_rows"]:
        found.append(
            f"The model was fitted on {details['num_rows']:,d} of {details['training_rows']:,d} training rows, drawn "
            "by class: its time grows with their square (model.max_rows)."
        )
    return found

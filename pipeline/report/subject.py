"""What a run is about: a network, or a classical model in its place."""

from __future__ import annotations

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

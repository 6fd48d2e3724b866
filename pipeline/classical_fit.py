"""Fits the classical model of a run: by the stage `fit`, and once more by `export`, to hold its C against."""

from __future__ import annotations

from data.contract import derive_seed
from data.dataset import Dataset
from models.classical.fitting import Fitted, fit
from models.classical_config import ClassicalConfig
from pipeline.class_weights import class_weights


def fit_model(config: ClassicalConfig, dataset: Dataset, seed: int) -> tuple[Fitted, tuple[float, ...] | None]:
    """Fits the section `model` on the training split.

    Args:
        config: the section.
        dataset: the rows.
        seed: the run's seed; one use of it is derived here, so that whoever asks gets the same numbers.

    Returns:
        The model, and the weight of each class it was fitted with.

    Raises:
        ConfigError: `class_weights` names a class that the data does not have.
    """
    weights = class_weights(getattr(config, "class_weights", None), dataset, "model.class_weights")
    x, y = dataset.inputs("train"), dataset.split("train").y
    return fit(config, x, y, dataset.schema.num_classes, weights, derive_seed(seed, "fit")), weights


def fit_notes(name: str, fitted: Fitted, num_training_rows: int, field: str) -> list[str]:
    """Says what a user should know of a fit: fewer rows than there are, and what scikit-learn warned of.

    Args:
        name: what the model is called.
        fitted: the model.
        num_training_rows: rows of the training split.
        field: of the config, that limits the rows.
    """
    notes = [f"warning: {name}: {warning}" for warning in fitted.warnings]
    if fitted.num_rows < num_training_rows:
        notes.append(f"{name}: fitted on {fitted.num_rows:,} of {num_training_rows:,} training rows ({field})")
    return notes

"""Sections of `summary.json` that only some runs have, and what all of them share. Imports pydantic only."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class Contract(BaseModel):
    """Immutable, complete, and free of NaN and infinities, which JSON cannot say."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True, protected_namespaces=()
    )


class ReconstructionFigures(Contract):
    """How rows are told abnormal. A row's error is the mean squared difference between its input and the output, in the
    square of the unit of the model's float input.
    """

    threshold: Annotated[float, Field(ge=0.0)]
    """Error above which `model.tflite` calls a row abnormal; `reconstruction.h` has it for firmware."""

    false_alarm_fraction: Fraction
    """Most validation rows, all normal, that the config lets lie above it."""

    validation_false_alarm_fraction: Fraction
    """Validation rows that do."""

    false_alarms: Fraction | None
    """Normal test rows that are called abnormal; null where the data does not say which rows are normal."""

    detected: Fraction | None
    """Abnormal test rows that are called so; else null."""

    roc_auc: Fraction | None
    """Chance that `model.tflite` has a larger error on an abnormal test row than on a normal one; else null."""

    float_roc_auc: Fraction | None
    """The same of the Keras model that was converted."""

    baseline_roc_auc: Fraction | None
    """The same of the dense float model before any compression."""


class ClusteringFigures(Contract):
    """What the clusters of the test rows are worth."""

    num_clusters: Count
    """Clusters, the number of the model's outputs; some may be empty."""

    sizes: list[Count]
    """Test rows that `model.tflite` puts into each."""

    embedding_silhouette: Annotated[float, Field(ge=-1.0, le=1.0)]
    """Silhouette of these clusters in the Keras model's embedding, which was trained to make it large; the scores are
    silhouettes in the space of the inputs."""

    nmi: float | None
    """Normalized mutual information of these clusters and the labels, 0 to 1; null where there are no labels."""

    ari: float | None
    """Adjusted Rand index of the same, 1 at best, 0 for clusters by chance; null where there are no labels."""

    baseline_nmi: float | None
    """Normalized mutual information of the dense float model's clusters and the labels."""

    baseline_ari: float | None
    """Adjusted Rand index of the same."""


class BaselineResult(Contract):
    """One classical model beside the delivered one."""

    name: str
    """Which one: `logistic_regression`, `ridge_regression`, `linear_svm`, `rbf_svm`, `decision_tree` or
    `random_forest`."""

    validation_score: float
    """Its score on the validation split."""

    test_score: float
    """Its score on the test split."""

    joblib_bytes: Count
    """Size of scikit-learn's model as joblib writes it."""

    constant_bytes: Count
    """What its constants would take as plain C in float32."""

    fit_seconds: float
    """Wall-clock seconds of its fit, one thread."""

    predict_us: float
    """Median time of scikit-learn's `predict` of one row in microseconds, one thread, this machine."""

    num_rows: Count
    """Training rows it was fitted on."""

    delivered_score: float
    """Validation score of the model that is handed over."""

    delivered_bytes: Count
    """Its size, as `model_bytes`."""

    beats: bool
    """Whether the baseline's validation score is above that."""

"""`summary.json`, the public contract of a bundle: every figure a script would want. Imports pydantic only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from models.config import MetricName, TaskName
from pipeline.ledger import AnyRow
from pipeline.summary_parts import BaselineResult, ClusteringFigures, Contract, Count, Fraction, ReconstructionFigures

SCHEMA_VERSION: Literal[2] = 2


class TargetResult(Contract):
    """One limit of the config's `target`, judged on the validation split."""

    asked: int | float
    """The limit."""

    got: int | float | None
    """What was measured; null where it could not be, and then the limit is not met."""

    met: bool
    """Whether the limit is kept."""


class Tensor(Contract):
    """The input or output of `model.tflite`. Of a quantized one, real = (q - zero_point) * scale."""

    dtype: Literal["float32", "int8", "uint8", "int16"]
    """Type of its elements."""

    shape: list[int]
    """Its shape, the batch dimension of 1 included."""

    scale: float | None
    """Real value of one step; null where it is not quantized."""

    zero_point: int | None
    """The integer that means 0; null where it is not quantized."""


class Summary(Contract):
    """The figures of a bundle.

    Fields are added, renamed or given another meaning only together with a new `schema_version`.
    """

    schema_version: Literal[2]
    """Version of this contract."""

    name: str
    """Name of the run."""

    task: TaskName
    """What was learned: to predict a class, or a number; to give rows back and tell abnormal ones; or clusters."""

    metric: MetricName
    """What every score is: `accuracy`, `balanced_accuracy`, `macro_f1` (fractions), `r2` or `d2` (1 is perfect, below 0
    is worse than the mean or the median), `silhouette` (-1 to 1)."""

    classical_family: str | None
    """Of a classical model, which scikit-learn fitted: `logistic_regression`, `ridge_regression`, `svm`,
    `decision_tree` or `random_forest`; null for a network."""

    model_file: Literal["model.tflite", "model.c"]
    """The model: a TFLite file; of a classical model, plain C with float32 constants. What is said below of
    `model.tflite` then holds of `model.c`, compiled and run on the host, what is said of Keras holds of
    scikit-learn, and bytes are those of the constants."""

    precision: str
    """Variant that `model.tflite` is: its precision, or `int8_sparse_micro` or `int8_tables_micro`, which are int8 with
    weights encoded for TFLite Micro alone; LiteRT then runs `variants/int8.tflite`, of the same numbers."""

    input: Tensor
    """What `model.tflite` eats."""

    output: Tensor
    """What `model.tflite` answers."""

    dataset_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    """SHA-256 of the prepared data set: all arrays of all splits, and their schema."""

    baseline_score: float
    """Score of the dense float model before any compression, in Keras, on the test split (of reconstructions, on its
    normal rows)."""

    float_score: float
    """Score of the Keras model that was converted (pruned, where that was asked for), on the same rows."""

    model_score: float
    """Score of `model.tflite` in LiteRT without default delegates, on the same rows."""

    better_than_guess: bool
    """Whether the model is better, on the test split, than a guess that looks at nothing: than always naming the most
    frequent class of the training rows; of regression and reconstruction, than the mean, a `model_score` of 0, and
    where abnormal rows are known, than a `roc_auc` of 0.5, too; of clusters, than a silhouette of 0."""

    agreement: Fraction | None
    """Fraction of the test rows that `model.tflite` and the Keras model it was made from decide alike, each by its own
    threshold where rows are told abnormal; null for regression."""

    max_abs_error: float | None
    """Largest difference between any output of `model.tflite` and of that Keras model on the test split: in
    probability, in standard deviations of the target, or in the unit of the float input; null where an output was not
    finite."""

    model_bytes: Count
    """Size of `model.tflite` in bytes."""

    model_gzip_bytes: Count
    """Size of `model.tflite` after gzip -9, in bytes."""

    model_zstd_bytes: Count
    """Size of `model.tflite` after Zstandard at level 19, in bytes."""

    arena_bytes: Count | None
    """Working memory in bytes, measured by TFLite Micro on the host that made the bundle (64-bit, reference
    kernels); null where it does not run the model."""

    arena_reason: str | None = None
    """Then: why; else null. Plain C takes none."""

    micro_max_steps: Count | None
    """Largest difference between TFLite Micro and LiteRT, in steps of the quantized output; null where TFLite Micro
    does not run the model, or its output is float."""

    parameters: Count
    """Numbers the Keras model holds, batch normalization's statistics included."""

    nonzero_parameters: Count
    """Those of them that are not zero."""

    macs: Count
    """Multiply-accumulate operations of one inference; zeroed weights are still multiplied."""

    latency_us: Annotated[float, Field(ge=0.0)] | None
    """Median time of one inference in microseconds: LiteRT, one thread, one row, the machine that made the bundle; null
    where weights are encoded for TFLite Micro, which LiteRT does not run."""

    operators: list[str]
    """Operators of `model.tflite`, each once, in the order they first run."""

    reconstruction: ReconstructionFigures | None = None
    """How rows are told abnormal; null for other tasks."""

    clustering: ClusteringFigures | None = None
    """What the clusters are worth; null for other tasks."""

    target: dict[str, TargetResult]
    """Each limit that the config's `target` sets, by name."""

    ledger: list[AnyRow]
    """Measurements of every model on the way, in the order of the stages; their scores are on the validation split."""

    baselines: list[BaselineResult] | None
    """Classical models on the same splits; null where the config asks for none."""

    seconds: float = Field(ge=0.0)
    """Wall-clock seconds that the run's stages took, each when it was last made."""

    versions: dict[str, str]
    """Libraries that made, converted and judged the model, and their versions."""


def summary_of(
    name: str,
    details: Mapping[str, Any],
    ledger: Sequence[AnyRow],
    seconds: float,
    versions: Mapping[str, str],
    *,
    better_than_guess: bool,
) -> Summary:
    """Completes what the stage `export` measured to the summary of a run.

    Args:
        name: the run's name.
        details: details of the stage `export`; their `summary` holds every field but those given here.
        ledger: rows of all stages, in order.
        seconds: wall-clock seconds of all stages.
        versions: library -> version.
        better_than_guess: as the field says.

    Raises:
        pydantic.ValidationError: the details are not those of `export`.
    """
    return Summary(
        schema_version=SCHEMA_VERSION,
        name=name,
        ledger=list(ledger),
        seconds=seconds,
        versions=dict(versions),
        better_than_guess=better_than_guess,
        **details["summary"],
    )


def scores_line(metric: str, summary: Mapping[str, Any]) -> str:
    """Writes what a bundle's model is worth in a few words, such as `r2 0.6688, ROC AUC 0.9559 on the test split`.

    Args:
        metric: name of the score.
        summary: `summary.json` as plain values.
    """
    beside = (("ROC AUC", "reconstruction", "roc_auc"), ("NMI", "clustering", "nmi"))
    told = [f"{metric} {summary['model_score']:.4f}"]
    for title, task, name in beside:
        figure = (summary.get(task) or {}).get(name)
        told += [] if figure is None else [f"{title} {figure:.4f}"]
    return f"{', '.join(told)} on the test split"

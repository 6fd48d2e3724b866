"""The ledger: the same measurements of every model that a stage yields."""

from __future__ import annotations

from data.contract import FrozenConfig


class LedgerRow(FrozenConfig):
    """One row: what a model was worth, and what it weighed, after one stage."""

    stage: str
    """Stage that yielded the model."""

    variant: str
    """`keras` (`keras, nodes`: after the first of two units of pruning), or the precision of a TFLite variant."""

    score: float
    """Validation score, higher is better: accuracy, or R²."""

    parameters: int
    """Numbers the model holds, batch normalization's statistics included."""

    nonzero_parameters: int
    """Those of them that are not zero."""

    macs: int
    """Multiply-accumulate operations of one inference; zeroed weights are still multiplied."""

    tflite_bytes: int
    """Size of the .tflite file: of the variant, or of the float32 conversion of a Keras model."""

    tflite_gzip_bytes: int
    """Size of that file after gzip -9."""

    seconds: float = 0.0
    """Wall-clock seconds the stage took, put in by the runner; 0 for the further variants of one stage."""


class ClassicalRow(FrozenConfig):
    """One row on a classical model: a baseline, or the model of a run without a network."""

    stage: str
    """Stage that fitted the model: `baselines` or `fit`."""

    variant: str
    """The baseline, or the family."""

    score: float
    """Validation score of scikit-learn's model, higher is better: accuracy, or R²."""

    parameters: int
    """Real numbers that fitting chose: weights, support vectors, thresholds and answers of leaves."""

    macs: int
    """Multiply-accumulate operations of one inference; 0 for trees, which compare."""

    joblib_bytes: int
    """Size of scikit-learn's model as joblib writes it, uncompressed. Measured only: the file is not kept."""

    constant_bytes: int
    """What the constants of the model take as plain C in float32, which is what it needs in flash besides code."""

    predict_us: float
    """Median time of scikit-learn's `predict` of one row in microseconds, one thread, this machine."""

    num_rows: int
    """Training rows it was fitted on."""

    seconds: float
    """Wall-clock seconds of the fit, one thread."""


AnyRow = LedgerRow | ClassicalRow
"""A row of the ledger."""

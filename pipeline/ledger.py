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

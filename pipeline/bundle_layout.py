"""Where things lie in a bundle, and what they are called in its C files. Imports nothing heavy."""

from __future__ import annotations

MODEL = "model.tflite"
"""The chosen variant."""

C_MODEL = "model.c"
"""A classical model as plain C; `model.h` declares it."""

CLASSICAL_ARRAYS = "model.npz"
"""The same numbers for NumPy, which `predict` reads."""

CLASSICAL_FORM = "model.json"
"""Which form they are of, and how its scores are told."""

VARIANTS = "variants"
"""Folder of every precision that was converted."""

GOLDEN = "golden"
"""Folder of the golden vectors."""

PREPROCESSING = "preprocessing.json"
"""From raw rows to model input."""

LABELS = "labels.txt"
"""Names of classes or clusters, one a line, in the order of the outputs; empty for regression."""

SUMMARY = "summary.json"
"""The figures of the run; `pipeline.summary.Summary`."""

RECONSTRUCTION = "reconstruction.h"
"""C function that measures the error of a reconstruction, and its threshold."""

SUMS = "SHA256SUMS"
"""Digest of each other file, as `sha256sum -c` reads them."""

C_NAME = "penjing"
"""What the model is called in every bundle's C files (`penjing_model`, `PENJING_ARENA_BYTES`): the same
in each, so that firmware takes in a new bundle without a change of its own."""


def cluster_name(cluster: int) -> str:
    """Returns what a cluster is called: `cluster 0` was the largest of the training rows."""
    return f"cluster {cluster}"

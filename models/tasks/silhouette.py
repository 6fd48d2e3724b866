"""The silhouette: how much nearer rows are to their own cluster than to the next one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

SCORED_ROWS = 1000
"""Most rows a silhouette is taken over: it costs the square of them."""

_SEED = 20160606
"""Of the choice of rows where there are more: the same at every call, so that two models are judged alike."""

# The last bits of a product depend on how many threads share it, and an epoch may be the best by one of them.
_BLAS = ThreadpoolController()


def scored_rows(num_rows: int) -> NDArray[np.int64]:
    """Returns (min(num_rows, 1000),) positions of the rows that a silhouette is taken over, rising."""
    order = np.random.Generator(np.random.PCG64(_SEED)).permutation(num_rows)
    return np.sort(order[:SCORED_ROWS])


def silhouette(x: NDArray[Any], clusters: NDArray[Any]) -> float:
    """Mean silhouette `mean_i (b_i - a_i) / max(a_i, b_i)` in Euclidean distance.

    a_i is the mean distance of row i to the others of its cluster, b_i the least mean distance to the rows of another
    one; a row that is alone in its cluster counts 0.

    Args:
        x: (rows, columns); of more than 1,000 rows a fixed choice is taken.
        clusters: (rows,) integers.

    Returns:
        In [-1, 1]; -1 where fewer than two clusters are left.

    Reference:
        Rousseeuw 1987, Silhouettes: a graphical aid to the interpretation and validation of cluster analysis, eq. (1).
    """
    chosen = scored_rows(len(x))
    rows = np.asarray(x[chosen], np.float64).reshape(len(chosen), -1)
    names, codes = np.unique(np.asarray(clusters)[chosen], return_inverse=True)
    if len(names) < 2:
        return -1.0
    members = np.eye(len(names))[codes]
    with _BLAS.limit(limits=1, user_api="blas"):
        sums = _distances(rows) @ members
    sizes = members.sum(axis=0)
    own = np.arange(len(rows)), codes
    a = sums[own] / np.maximum(sizes[codes] - 1, 1)
    means = sums / sizes
    means[own] = np.inf
    b = means.min(axis=1)
    largest = np.maximum(a, b)
    values = np.divide(b - a, largest, out=np.zeros(len(rows)), where=(largest > 0) & (sizes[codes] > 1))
    return float(values.mean())


def _distances(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """(rows, rows) Euclidean distances; those of a row to itself are 0 exactly."""
    centered = rows - rows.mean(axis=0)
    norms = np.sum(centered**2, axis=1)
    squares = norms[:, None] + norms[None, :] - 2.0 * centered @ centered.T
    distances = np.sqrt(np.maximum(squares, 0.0))
    np.fill_diagonal(distances, 0.0)
    return np.asarray(distances)

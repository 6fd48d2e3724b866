"""k-means of numbers on a line: sorted once, each step costs a search of the borders and sums of stretches."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Initialization = Literal["linear", "k_means++"]

# Lloyd's steps end when no number changes its cluster; real kernels need 20 to 150. The limit is for what never does.
MAX_STEPS = 1_000


def kmeans(
    values: NDArray[np.float32], count: int, initialization: Initialization = "linear", seed: int = 0
) -> NDArray[np.float64]:
    """Finds centroids: a local minimum of `sum_i min_k (v_i - c_k)^2`, by Lloyd's steps.

    A cluster that runs empty gets the number that lies farthest from its centroid. Given the same
    arguments the same centroids come out.

    Args:
        values: (n,) numbers.
        count: clusters wanted, at most the number of distinct values.
        initialization: `linear`: centroids evenly spaced from the least number to the greatest, which keeps the few
            large ones represented (Han 2016, section 3.2); `k_means++`: numbers drawn with probability proportional
            to the squared distance from those drawn before (Arthur & Vassilvitskii 2007, section 2.2).
        seed: of `k_means++`'s draws.

    Returns:
        (count,) ascending.

    Raises:
        ValueError: there are fewer distinct values than clusters.

    Reference:
        Lloyd 1982, Least squares quantization in PCM, method I.
    """
    ordered = np.sort(values.astype(np.float64).ravel())
    distinct = np.unique(ordered)
    if count > distinct.size:
        raise ValueError(
            f"count: expected at most {distinct.size} clusters for {distinct.size} distinct values, got {count}. "
            "Ask for fewer."
        )
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    if initialization == "linear":
        centroids = np.linspace(ordered[0], ordered[-1], count)
    else:
        centroids = _drawn(ordered, count, np.random.Generator(np.random.PCG64(seed)))
    borders = np.zeros(count + 1, np.int64)
    for _ in range(MAX_STEPS):
        before, borders = borders, _borders(ordered, centroids)
        if np.array_equal(before, borders):
            break
        sizes = np.diff(borders)
        centroids = np.where(sizes > 0, np.diff(sums[borders]) / np.maximum(sizes, 1), centroids)
        centroids = _refilled(ordered, centroids, borders)
    return centroids


def nearest(values: NDArray[np.floating[Any]], centroids: NDArray[np.float64]) -> NDArray[np.int32]:
    """Assigns each number to its nearest centroid, the lower of two equally near.

    Args:
        values: numbers, of any shape.
        centroids: (k,) ascending.

    Returns:
        Indices of centroids, in the shape of `values`.
    """
    middles = (centroids[:-1] + centroids[1:]) / 2.0
    return np.searchsorted(middles, values.astype(np.float64), side="left").astype(np.int32)


def _borders(ordered: NDArray[np.float64], centroids: NDArray[np.float64]) -> NDArray[np.int64]:
    """Where each cluster begins among the sorted numbers, and their number last: (k + 1,)."""
    middles = (centroids[:-1] + centroids[1:]) / 2.0
    inner = np.searchsorted(ordered, middles, side="right")
    return np.concatenate([[0], inner, [ordered.size]]).astype(np.int64)


def _refilled(
    ordered: NDArray[np.float64], centroids: NDArray[np.float64], borders: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Moves the centroid of the first empty cluster, if any, to the number farthest from its own; steps do the rest."""
    empty = np.flatnonzero(np.diff(borders) == 0)
    if empty.size == 0:
        return centroids
    others = np.delete(centroids, empty[0])
    own: NDArray[np.float64] = others[nearest(ordered, others)]
    farthest = int(np.argmax(np.abs(ordered - own)))
    return np.sort(np.append(others, ordered[farthest]))


def _drawn(ordered: NDArray[np.float64], count: int, generator: np.random.Generator) -> NDArray[np.float64]:
    chosen = [ordered[generator.integers(ordered.size)]]
    distance = np.square(ordered - chosen[0])
    while len(chosen) < count:
        chosen.append(ordered[generator.choice(ordered.size, p=distance / distance.sum())])
        distance = np.minimum(distance, np.square(ordered - chosen[-1]))
    return np.sort(np.asarray(chosen))

"""Figures of long columns, computed block by block: memory does not grow with them.

A column of up to `BLOCK_ROWS` rows is one block. Sums of longer ones are sums over blocks, always of the same rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK_ROWS = 2**20
"""Rows of a block."""

Transform = Callable[[NDArray[Any]], NDArray[Any]]


def row_blocks(num_rows: int) -> Iterator[slice]:
    """Yields slices that cover `num_rows` rows."""
    for start in range(0, num_rows, BLOCK_ROWS):
        yield slice(start, min(start + BLOCK_ROWS, num_rows))


def present_blocks(values: NDArray[Any]) -> Iterator[NDArray[np.float64]]:
    """Yields the values of each block that are not NaN, float64; a view where none is NaN: not to be written to."""
    for rows in row_blocks(len(values)):
        block = np.ascontiguousarray(values[rows])
        missing = np.isnan(block)
        yield (block[~missing] if missing.any() else block).astype(np.float64, copy=False)


def _same(block: NDArray[Any]) -> NDArray[Any]:
    return block


def mean_and_deviation(values: NDArray[Any], transform: Transform = _same) -> tuple[float, float]:
    """Returns mean and standard deviation of the values that are not NaN: sum(v) / n, sqrt(sum((v - mean)^2) / n).

    Args:
        values: (rows,) numbers, one or more of them present.
        transform: applied to the present values of each block first.
    """
    mean, count = _mean(values, transform)
    squares = sum(float(((_float64(transform, block) - mean) ** 2).sum()) for block in present_blocks(values))
    return mean, math.sqrt(squares / count)


def _mean(values: NDArray[Any], transform: Transform) -> tuple[float, int]:
    total, count = 0.0, 0
    for block in present_blocks(values):
        total, count = total + float(_float64(transform, block).sum()), count + len(block)
    return total / count, count


def _float64(transform: Transform, block: NDArray[np.float64]) -> NDArray[np.float64]:
    return transform(block).astype(np.float64, copy=False)


def least_and_largest(values: NDArray[Any], transform: Transform = _same) -> tuple[float, float] | None:
    """Returns the ends of the values that are not NaN, after `transform`; None where there are none."""
    ends = [(float(block.min()), float(block.max())) for block in map(transform, present_blocks(values)) if len(block)]
    return (min(low for low, _ in ends), max(high for _, high in ends)) if ends else None


def moments(values: NDArray[Any], transform: Transform = _same) -> tuple[float, float]:
    """Returns skewness and excess kurtosis of (n,) values: m3 / m2**1.5 and m4 / m2**2 - 3; zeros if constant."""
    ends = least_and_largest(values, transform)
    largest = 0.0 if ends is None else max(map(abs, ends))
    if largest == 0.0:
        return 0.0, 0.0

    def scaled(block: NDArray[Any]) -> NDArray[np.float64]:
        return _float64(transform, block) / largest  # fourth powers of large numbers overflow

    mean, count = _mean(values, scaled)
    sums = np.zeros(3)
    for block in present_blocks(values):
        centered = scaled(block) - mean
        squares = centered * centered
        sums += [squares.sum(), (squares * centered).sum(), (squares * squares).sum()]
    variance, third, fourth = (float(value) for value in sums / count)
    if variance <= 1e-24:
        return 0.0, 0.0
    return third / variance**1.5, fourth / variance**2 - 3.0


def distinct_values(values: NDArray[Any]) -> int:
    """Returns how many distinct values there are, NaN aside; takes memory for a copy of the values."""
    ordered = values[~np.isnan(values)]
    ordered.sort()
    return int(np.count_nonzero(ordered[1:] != ordered[:-1])) + (len(ordered) > 0)

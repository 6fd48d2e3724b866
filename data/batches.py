"""Whole shuffled batches, gathered from memory-mapped arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.contract import Part, derive_seed
from data.kept_inputs import keep_inputs


def as_eaten(x: NDArray[Any], divisor: float) -> NDArray[np.float32]:
    """Returns stored inputs (rows, ...) as a model eats them: float32(x) / divisor; x itself where that is the same."""
    inputs = x.astype(np.float32, copy=False)
    return inputs if divisor == 1.0 else inputs / np.float32(divisor)


class JoinedRows:
    """Rows of several arrays, one after the other, gathered without a copy of them all.

    Example:
        >>> JoinedRows([np.array([[1.0], [2.0]]), np.array([[3.0]])])[np.array([2, 0])].tolist()
        [[3.0], [1.0]]
    """

    def __init__(self, parts: Sequence[NDArray[Any]]) -> None:
        """Takes arrays (rows, ...) of one type that differ in their number of rows alone."""
        self._parts = list(parts)

    def __len__(self) -> int:
        return sum(len(part) for part in self._parts)

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Returns (n, ...): the rows of these numbers (n,), counted over all arrays."""
        first = self._parts[0]
        gathered = np.empty((len(rows), *first.shape[1:]), first.dtype)
        start = 0
        for part in self._parts:
            inside = (rows >= start) & (rows < start + len(part))
            gathered[inside] = part[rows[inside] - start]
            start += len(part)
        return gathered


class ArrayBatches:
    """Training rows in shuffled batches; implements `data.contract.Batches`.

    The order of epoch e is a permutation drawn from (seed, e) alone: any batch of any epoch can be
    asked for at any time, which is what exact resume needs. Only the current epoch's order is kept.

    Example:
        >>> batches = ArrayBatches(np.arange(6, dtype=np.uint8)[:, None], np.arange(6), 4, seed=1, divisor=1.0)
        >>> [len(batches.batch(0, index)[1]) for index in range(batches.num_batches)]
        [4, 2]
    """

    def __init__(
        self,
        x: NDArray[Any] | JoinedRows,
        y: NDArray[Any],
        batch_size: int,
        seed: int,
        divisor: float = 1.0,
        kept_inputs: tuple[int, ...] | None = None,
        part: Part = Part(),  # noqa: B008 -- frozen
    ) -> None:
        """Takes x (rows, ...) as stored and y (rows,); a batch of x is given as float32(x) / divisor.

        With `kept_inputs` rows are flattened, and only these of their entries are given. Only the rows of `part` are
        read, of each batch.
        """
        if len(x) != len(y) or len(y) == 0 or batch_size < 1:
            raise ValueError(
                f"batches: expected as many inputs as targets, at least one, in batches of at least one, "
                f"got {len(x)} inputs, {len(y)} targets, batches of {batch_size}. Check the arrays."
            )
        self._x, self._y = x, y
        self._batch_size = batch_size
        self._seed = seed
        self._divisor = np.float32(divisor)
        self._kept_inputs = kept_inputs
        self._part = part
        self._order: tuple[int, NDArray[np.int64]] | None = None

    @property
    def num_rows(self) -> int:
        """Rows an epoch passes over."""
        return len(self._y)

    @property
    def num_batches(self) -> int:
        """Batches an epoch; the last may be smaller."""
        return -(-len(self._y) // self._batch_size)

    @property
    def batch_size(self) -> int:
        """Rows of every batch but the last."""
        return self._batch_size

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Returns (rows,) int64: the order of the rows in an epoch, drawn from (seed, epoch) alone."""
        kept = self._order  # read once: batches may be asked for from more than one thread
        if kept is None or kept[0] != epoch:
            generator = np.random.Generator(np.random.PCG64(derive_seed(self._seed, "shuffle", str(epoch))))
            kept = (epoch, generator.permutation(len(self._y)))
            self._order = kept
        return kept[1]

    def batch(self, epoch: int, index: int) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """Returns one batch.

        Args:
            epoch: number of the epoch, from 0.
            index: number of the batch, in [0, num_batches).

        Returns:
            x float32 (rows, *input_shape), divided by the divisor, and y (rows,): the rows of the part.
        """
        x, y = self.stored(epoch, index, 1)
        return as_eaten(x, self.divisor), y

    @property
    def divisor(self) -> float:
        """What stored inputs are divided by."""
        return float(self._divisor)

    def stored(self, epoch: int, index: int, count: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Returns x (rows, *input_shape) as stored and y (rows,) of some batches, of one size, in their order.

        Args:
            epoch: number of the epoch, from 0.
            index: number of the first batch.
            count: how many; the last batch of an epoch, which may be smaller, comes by itself.
        """
        if not 0 <= index <= index + count - 1 < self.num_batches:
            last = f"{self.num_batches - 1}, got {index}" + (f" to {index + count - 1}" if count > 1 else "")
            raise IndexError(f"batches.index: expected 0 to {last}. Check num_batches.")
        rows = self.order(epoch)[index * self._batch_size : (index + count) * self._batch_size]
        whole = rows.reshape(count, len(rows) // count)
        chosen = whole[:, slice(*self._part.rows(whole.shape[1]))].reshape(-1)
        return keep_inputs(self._x[chosen], self._kept_inputs), self._y[chosen]

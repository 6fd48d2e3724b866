"""Work in threads, results in order, with a bound on how much is under way at once."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Spread(Protocol):
    """Has work done on many machines."""

    def __call__(self, function: Callable[[Item], Iterable[Result]], items: Sequence[Item]) -> Iterator[Result]:
        """Yields what the function yields of each item, in the order of the items.

        Args:
            function: called on any machine, in a process of its own; it and its results can be pickled.
            items: what it is called with.

        Raises:
            Exception: what the function raised for the first item that it failed on.
        """


MEMORY_BYTES = 512 * 2**20
"""Memory that columns in work may take together, as far as it holds one at all."""


def num_cores() -> int:
    """Returns how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_for(column_bytes: int) -> int:
    """Returns in how many threads columns of this size are worked on: each takes some three times their memory."""
    return max(1, min(num_cores(), MEMORY_BYTES // (3 * column_bytes + 1)))


def in_order(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """Yields `function(item)` of each item, in the order of the items.

    Args:
        function: called in threads; NumPy and Arrow let other threads work while they compute.
        items: taken one by one, no more than `workers + 1` ahead of what is yielded.
        workers: threads; with one, everything is done in this thread.

    Raises:
        Exception: what the function raised for the first item that it failed on.
    """
    if workers <= 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def anywhere(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int, spread: Spread | None
) -> Iterator[Result]:
    """Yields `function(item)` of each item, in the order of the items; on many machines where these can be had.

    Args:
        function: as for `in_order` and `Spread`.
        items: as for `Spread`.
        workers: threads, where it is done here.
        spread: None: here.
    """
    if spread is None:
        return in_order(function, items, workers)
    return spread(partial(_alone, function), items)


def _alone(function: Callable[[Item], Result], item: Item) -> tuple[Result]:
    return (function(item),)

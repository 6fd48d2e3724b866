"""Reads many files on the nodes of a Ray cluster, by Ray Data; what comes of it is in order, and so the same bytes."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

from pipeline.ray_cluster import RayConnection

Item = TypeVar("Item")
Result = TypeVar("Result")

_ITEM, _RESULT = "item", "result"


class RayDataSpread:
    """Has each item worked on by a task of Ray Data; see `data.parallel.Spread`.

    Args:
        connection: to the cluster; connected when the first work comes.
    """

    def __init__(self, connection: RayConnection) -> None:
        self._connection = connection

    def __call__(self, function: Callable[[Item], Iterable[Result]], items: Sequence[Item]) -> Iterator[Result]:
        """Yields what the function yields of each item, in the order of the items.

        Raises:
            Exception: what the function raised for the first item that it failed on.
        """
        if not items:
            return
        self._connection.ray()
        from ray.data import DataContext, from_items

        context = DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        rows = from_items([{_ITEM: pickle.dumps(item)} for item in items], override_num_blocks=len(items))
        made = rows.map_batches(partial(_work, function), batch_size=1, batch_format="pyarrow")
        for row in made.iter_rows():
            result, error = pickle.loads(row[_RESULT])  # noqa: S301 -- from a task of this run, through its own cluster
            if error is not None:
                raise error
            yield result


def _work(function: Callable[[Any], Iterable[Any]], batch: Any) -> Iterator[Any]:
    """Works on one item, on a node; an error is a result, so that it arrives as what it is."""
    try:
        for result in function(pickle.loads(batch[_ITEM][0].as_py())):  # noqa: S301 -- as above, the other way
            yield _told(result, None)
    except Exception as error:  # noqa: BLE001 -- raised again where the results are read
        yield _told(None, error)


def _told(result: Any, error: Exception | None) -> Any:
    import pyarrow

    return pyarrow.table({_RESULT: pyarrow.array([pickle.dumps((result, error))], pyarrow.large_binary())})

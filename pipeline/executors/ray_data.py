"""Reads many files on the nodes of a Ray cluster, by Ray Data; what comes of it is in order, and so the same bytes."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from data.contract import PenjingError
from pipeline.executors.ray_relay import require_fitness
from pipeline.planner import versions_of
from pipeline.ray_cluster import RayConnection
from pipeline.ray_messages import one_line

Item = TypeVar("Item")
Result = TypeVar("Result")

_ITEM, _RESULT = "item", "result"


class RayDataSpread:
    """Has each item worked on by a task of Ray Data; see `data.parallel.Spread`.

    Args:
        connection: to the cluster; connected when the first work comes.
        libraries: that shape what comes of the work: a node that has others of them is refused.
    """

    def __init__(self, connection: RayConnection, libraries: tuple[str, ...]) -> None:
        self._connection, self._libraries = connection, libraries

    def __call__(self, function: Callable[[Item], Iterable[Result]], items: Sequence[Item]) -> Iterator[Result]:
        """Yields what the function yields of each item, in the order of the items.

        Raises:
            Exception: what the function raised for the first item that it failed on.
            PenjingError: the cluster came to no end with it, or a node has other libraries.
        """
        if not items:
            return
        self._connection.ray()
        from ray.data import DataContext, from_items

        context = DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        rows = from_items([{_ITEM: pickle.dumps(item)} for item in items], override_num_blocks=len(items))
        made = rows.map_batches(
            partial(_work, function, versions_of(self._libraries)), batch_size=1, batch_format="pyarrow"
        )
        for row in _rows(made):
            result, error = pickle.loads(row[_RESULT])  # noqa: S301 -- from a task of this run, through its own cluster
            if error is not None:
                raise error
            yield result


def _rows(made: Any) -> Iterator[Any]:
    """Yields what Ray Data makes; its errors are told in a line.

    Raises:
        PenjingError: in place of them.
    """
    from ray.data.exceptions import SystemException
    from ray.exceptions import RayError

    try:
        yield from made.iter_rows()
    except (RayError, SystemException) as error:
        told = one_line(str(error))
        raise PenjingError(
            f"engine: expected the nodes of the cluster to read the data, got {type(error).__name__}: {told}. Start "
            "the run again: it goes on behind what had come back; or take engine out to read it here."
        ) from error


def _work(function: Callable[[Any], Iterable[Any]], versions: Mapping[str, str], batch: Any) -> Iterator[Any]:
    """Works on one item, on a node; an error is a result, so that it arrives as what it is."""
    try:
        require_fitness(versions)
        for result in function(pickle.loads(batch[_ITEM][0].as_py())):  # noqa: S301 -- as above, the other way
            yield _told(result, None)
    except Exception as error:  # noqa: BLE001 -- raised again where the results are read
        yield _told(None, error)


def _told(result: Any, error: Exception | None) -> Any:
    import pyarrow

    return pyarrow.table({_RESULT: pyarrow.array([pickle.dumps((result, error))], pyarrow.large_binary())})

"""Which rows of a batch one replica of a network computes, known where a training step is traced.

A replica is a copy of the network on a device of its own. All take the same step at the same time, each over a part
of the rows, and add up their gradients: what comes out is the step over all rows, but for the order of the sums.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from models.legacy_keras import tf


@dataclass(frozen=True)
class RowShare:
    """The rows of one replica in the batch whose step is being traced.

    Attributes:
        replica: its number among all, from 0.
        replicas: how many there are.
        total: rows of the whole batch, a scalar int32 tensor.
    """

    replica: int
    replicas: int
    total: Any

    @property
    def first(self) -> Any:
        """Position of its first row in the whole batch; below `total`, also where it has none."""
        return self.replica * self.total // self.replicas

    @property
    def rows(self) -> Any:
        """How many rows are its own; 0 in a batch of fewer rows than replicas."""
        return (self.replica + 1) * self.total // self.replicas - self.first

    @property
    def row_counts(self) -> Any:
        """How many rows each replica has: (replicas,) int32."""
        ends = tf.range(self.replicas + 1) * self.total // self.replicas
        return ends[1:] - ends[:-1]

    @property
    def fraction(self) -> Any:
        """Its part of the rows of the batch, float32: what its mean loss counts for in that of all rows."""
        return tf.cast(self.rows, tf.float32) / tf.cast(self.total, tf.float32)

    def summed(self, values: Sequence[Any]) -> list[Any]:
        """Adds tensors up over all replicas; each gets the same bits."""
        found: list[Any] = _replica_context().all_reduce(tf.distribute.ReduceOp.SUM, list(values))
        return found

    def gathered(self, value: Any) -> Any:
        """Returns (replicas, ...): the tensors of all replicas, which have one shape.

        As a sum of tensors that are zero elsewhere: one exchange, and it has a gradient.
        """
        own = tf.one_hot(self.replica, self.replicas, dtype=value.dtype)
        placed = tf.reshape(own, [-1, *[1] * value.shape.rank]) * value[None]
        return self.summed([placed])[0]


_SHARE: ContextVar[RowShare | None] = ContextVar("share", default=None)


@contextmanager
def sharing(share: RowShare) -> Iterator[None]:
    """Lets layers that are called in here know which rows they are given."""
    token = _SHARE.set(share)
    try:
        yield
    finally:
        _SHARE.reset(token)


def current_share() -> RowShare | None:
    """Returns the rows of the replica that is being traced; None where a network is trained by itself."""
    return _SHARE.get()


def here(variable: Any) -> Any:
    """Returns this replica's own copy of a variable; the variable itself where there is but one.

    Copies stay equal, since each is changed by the same numbers: they are written without a word to the others.
    """
    if current_share() is None:
        return variable
    context = _replica_context()
    copies = context.strategy.experimental_local_results(variable)
    return copies[replica_number() % len(copies)]


def replica_number() -> int:
    """Returns the number of the replica that is being traced, among those of all processes."""
    return int(tf.get_static_value(_replica_context().replica_id_in_sync_group))


def _replica_context() -> Any:
    return tf.distribute.get_replica_context()

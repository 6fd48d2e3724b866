"""Where a training runs: on the devices of this process, and of those it works with."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from data.contract import Part, TrainingError
from models.legacy_keras import keras, tf
from models.shared_normalization import SharedBatchNormalization
from models.shares import RowShare, replica_number, sharing

Step = Callable[..., Any]


@dataclass(frozen=True)
class Replicas:
    """Copies of a network that learn together, one a device.

    Attributes:
        strategy: of tf.distribute; it knows the devices.
        part: which rows of each batch this process is given.
    """

    strategy: Any
    part: Part = Part()  # noqa: RUF009 -- frozen

    @property
    def count(self) -> int:
        """How many there are, in all processes."""
        return int(self.strategy.num_replicas_in_sync)

    @property
    def leads(self) -> bool:
        """Whether this process is the one that scores, and keeps what was learned."""
        return self.part.index == 0

    def twin(self, model: Any) -> Any:
        """Copies a network onto all devices; its batch normalization is that of the whole batch.

        Args:
            model: a functional Keras model on one device, the same in all processes.

        Returns:
            An uncompiled keras.Model whose weights are in the order of `model.weights`.
        """
        with self.strategy.scope():
            twin = keras.models.clone_model(model, clone_function=_copy_of)
            for layer, original in zip(twin.layers, model.layers, strict=True):
                layer.trainable = original.trainable
        self.push(model, twin)
        return twin

    def push(self, model: Any, twin: Any) -> None:
        """Gives all copies in this process the weights of a network on one device."""
        for weight, copies in self._pairs(model, twin):
            for copy in copies:
                copy.assign(weight)

    def pull(self, twin: Any, model: Any) -> None:
        """Gives a network on one device the weights of the copies, which are all the same."""
        for weight, copies in self._pairs(model, twin):
            weight.assign(copies[0])

    def _pairs(self, model: Any, twin: Any) -> list[tuple[Any, tuple[Any, ...]]]:
        local = self.strategy.experimental_local_results
        return [(weight, local(copy)) for weight, copy in zip(model.weights, twin.weights, strict=True)]

    def shared(self, step: Step, fewest_rows: int) -> Step:
        """Divides a step among the replicas.

        Args:
            step: (x, y, share) -> a tensor that is the same in all replicas.
            fewest_rows: rows of the smallest batch.

        Returns:
            (x, y, total) -> that tensor; x and y are the rows of this process, in a batch of `total`, int32.
        """

        def of_replica(x: Any, y: Any, total: Any) -> Any:
            share = RowShare(replica_number(), self.count, total)
            with tf.device("CPU:0"):  # where batches are gathered: a device is sent its own rows alone
                start = share.first - self.part.index * total // self.part.count
                x, y = (_rows(each, start, share.rows, fewest_rows < self.count) for each in (x, y))
            with sharing(share):
                return step(x, y, share)

        def of_all(x: Any, y: Any, total: Any) -> Any:
            return self.strategy.experimental_local_results(self.strategy.run(of_replica, args=(x, y, total)))[0]

        return of_all

    def told_by_leader(self, number: float) -> float:
        """Returns the number that the leading process gives; all processes ask at the same time."""
        if self.part.count == 1:
            return number
        told = self._exchange(tf.constant(number, tf.float64))
        return float(self.strategy.experimental_local_results(told)[0].numpy())

    @cached_property
    def _exchange(self) -> Any:
        """Compiles what hands on the number of the first replica."""

        def of_replica(own: Any) -> Any:
            given = tf.where(replica_number() == 0, own, tf.zeros_like(own))
            return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, given)

        signature = [tf.TensorSpec([], tf.float64)]
        return tf.function(lambda own: self.strategy.run(of_replica, args=(own,)), signature, autograph=False)

    def require_agreement(self, text: str) -> None:
        """Checks that all processes are about the same thing.

        Args:
            text: what it is known by, such as where a training goes on.

        Raises:
            RuntimeError: the leading process says something else: one read what was kept while another was keeping.
        """
        own = float(zlib.crc32(text.encode()))
        if self.told_by_leader(own) != own:
            raise RuntimeError("the first worker goes on from another place; all have to start again")


def _copy_of(layer: Any) -> Any:
    kind = type(layer)
    if isinstance(layer, keras.layers.BatchNormalization):
        kind = SharedBatchNormalization
    return kind.from_config(layer.get_config())


def _rows(array: Any, start: Any, rows: Any, may_be_empty: bool) -> Any:
    """Returns some rows of a batch; a replica without any gets a row of zeros, which its share counts as none."""
    own = array[start : start + rows]
    if not may_be_empty:
        return own
    nothing = tf.zeros([1, *array.shape[1:]], array.dtype)
    return tf.cond(rows > 0, lambda: own, lambda: nothing)


def replicas_on_gpus() -> Replicas | None:
    """Returns a replica for each GPU of this machine; None where there are fewer than two."""
    names = [device.name for device in tf.config.list_logical_devices("GPU")]
    return Replicas(tf.distribute.MirroredStrategy(names)) if len(names) > 1 else None


def keep_to_gpus(index: int, count: int) -> None:
    """Takes one worker's GPUs of a machine that several share; must come before TensorFlow computes anything.

    Raises:
        TrainingError: there are fewer GPUs than workers: some would compute elsewhere than others, or wait for them.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if count == 1 or not gpus:
        return
    if len(gpus) < count:
        raise TrainingError(
            f"train.workers: expected no more workers on a machine than its GPUs ({len(gpus)}), got {count}. Say 1: "
            "all GPUs of a machine are used without workers."
        )
    tf.config.set_visible_devices(gpus[index::count], "GPU")


@contextmanager
def missing_workers() -> Iterator[None]:
    """Turns TensorFlow's pages about a process that it lost touch with into a line.

    Raises:
        ConnectionError: in place of them.
    """
    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.DeadlineExceededError) as error:
        raise ConnectionError("another worker of the training is gone") from error


def replicas_of_workers(addresses: Sequence[str], index: int) -> Replicas:
    """Joins the other processes of a training; must come before TensorFlow computes anything in this one.

    Args:
        addresses: `host:port` of each process; the first leads.
        index: this one's position among them; it listens at its port.

    Returns:
        A replica for each GPU of each process, or for its CPU where it has none. Waits until all are there.
    """
    # Explicit: TF_CONFIG of the environment is the command line's affair.
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(addresses)}), task_type="worker", task_id=index, rpc_layer="grpc"
    )
    strategy = tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
    return Replicas(strategy, Part(index, len(addresses)))

"""The inside of the training loop: whole batches through tf.data, many steps a call of one graph."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.contract import Batches, Progress
from models.legacy_keras import tf

# Batches gathered ahead, in bytes and in number: enough to hide the gathering, little enough for a small machine.
PREFETCH_BYTES = 32_000_000
PREFETCH_BATCHES = 16

# An epoch that takes longer says how far it is, about so often.
PULSE_SECONDS = 5.0


class Pulse:
    """Says now and then how far a long epoch is, so that nobody takes it for stuck.

    Args:
        progress: who is told; nobody if None.
        label: what progress calls the training.
        epochs: epochs of the whole training.
        num_batches: batches of an epoch.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        progress: Progress | None,
        label: str,
        epochs: int,
        num_batches: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._progress, self._label, self._epochs, self._num_batches = progress, label, epochs, num_batches
        self._clock, self._told = clock, clock()

    def beat(self, step: int) -> None:
        """Takes note that `step` steps are done, all epochs counted; ends of epochs are left to others to tell."""
        epoch, batch = divmod(step, self._num_batches)
        now = self._clock()
        if batch > 0 and now - self._told < PULSE_SECONDS:
            return
        self._told = now
        if batch > 0 and self._progress is not None:
            figures = {"batch": f"{batch:,} of {self._num_batches:,}"}
            self._progress.step(self._label, epoch, self._epochs, figures)


class BatchStream:
    """All batches of a training from some epoch on, in order, gathered ahead in a thread of tf.data.

    Args:
        batches: where rows come from.
        first_epoch: epochs that are done, so the first of the stream; counted from 0.
        epochs: epochs of the whole training.
        with_total: whether the rows of the whole batch come with each, for those who are given a part of it.
    """

    def __init__(self, batches: Batches, first_epoch: int, epochs: int, *, with_total: bool = False) -> None:
        self._batches = batches
        self._failure: Exception | None = None
        x, y = batches.batch(first_epoch, 0)
        self._types = (np.float32, np.dtype(y.dtype))
        ahead = max(2, min(PREFETCH_BATCHES, PREFETCH_BYTES // max(1, x.nbytes + y.nbytes)))
        shapes = ([None, *x.shape[1:]], [None, *y.shape[1:]])

        def gather(number: Any) -> tuple[Any, ...]:
            # A batch is a pure function of its number: declared stateless, it may be gathered ahead of its use
            # although operations are deterministic.
            x_rows, y_rows = tf.numpy_function(
                self._gather, [number], (tf.float32, tf.as_dtype(self._types[1])), stateful=False
            )
            rows = tf.ensure_shape(x_rows, shapes[0]), tf.ensure_shape(y_rows, shapes[1])
            return (*rows, self._total(number)) if with_total else rows

        dataset = tf.data.Dataset.range(first_epoch * batches.num_batches, epochs * batches.num_batches)
        dataset = dataset.map(gather).prefetch(ahead).with_options(_options())
        self.iterator = iter(dataset)

    def failure(self) -> Exception | None:
        """Returns what `Batches.batch` raised, which TensorFlow would only report as text; else None."""
        return self._failure

    def _total(self, number: Any) -> Any:
        """Adds to the graph how many rows the whole batch has, a scalar int32 tensor."""
        size, index = self._batches.batch_size, number % self._batches.num_batches
        return tf.cast(tf.minimum(tf.constant(size, tf.int64), self._batches.num_rows - index * size), tf.int32)

    def _gather(self, number: np.int64) -> tuple[NDArray[np.float32], NDArray[Any]]:
        epoch, index = divmod(int(number), self._batches.num_batches)
        try:
            x, y = self._batches.batch(epoch, index)
        except Exception as error:
            self._failure = error
            raise
        return np.asarray(x, self._types[0]), np.asarray(y, self._types[1])


def compile_steps(step: Callable[..., Any], iterator: Any) -> Callable[[int], NDArray[np.float32]]:
    """Compiles a training step into a graph that runs many of them a call.

    A small network is bound by what happens between steps, not in them: one call for many steps, its
    number of steps a tensor, needs neither Python between them nor a second trace.

    Args:
        step: adds one step to a graph: what the iterator gives -> (2,) float32, the loss summed over the rows and the
            gradient's squared norm.
        iterator: tf.data iterator, of `BatchStream`.

    Returns:
        A function from a number of steps to the sums of both over the steps.
    """

    def body(index: Any, total: Any, steps: Any) -> tuple[Any, Any, Any]:
        return index + 1, total + step(*iterator.get_next()), steps

    @tf.function(input_signature=[tf.TensorSpec([], tf.int32)], autograph=False)  # type: ignore[untyped-decorator]
    def run(steps: Any) -> Any:
        start = (tf.constant(0), tf.zeros(2), steps)
        return tf.while_loop(lambda index, _, steps: index < steps, body, start)[1]

    def sums(steps: int) -> NDArray[np.float32]:
        found: NDArray[np.float32] = run(tf.constant(steps)).numpy()
        return found

    return sums


def _options() -> Any:
    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = False
    options.experimental_optimization.map_parallelization = False
    return options

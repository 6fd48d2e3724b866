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

# Batches gathered by one call from TensorFlow into Python, in bytes as stored and in number.
GROUP_BYTES = 2**20
GROUP_BATCHES = 16

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

    Batches are gathered in groups, as they are stored: a call from TensorFlow into Python takes as long as some eight
    gatherings of a small batch. To be closed in the end: TensorFlow holds Python's lock while it ends the thread, and
    would wait for ever for one that is gathering.

    Args:
        batches: where rows come from.
        first_epoch: epochs that are done, so the first of the stream; counted from 0.
        epochs: epochs of the whole training.
        with_total: whether the rows of the whole batch come with each, for those who are given a part of it.
    """

    def __init__(self, batches: Batches, first_epoch: int, epochs: int, *, with_total: bool = False) -> None:
        self._batches = batches
        self._failure: Exception | None = None
        self._closed = False
        # A constant of the graph would be made a factor, whose products have other bits than quotients.
        with tf.device("CPU:0"):
            self._divisor = None if batches.divisor == 1.0 else tf.constant(batches.divisor, tf.float32)
        self._with_total = with_total
        x, y = batches.stored(first_epoch, 0, 1)
        self._types = (np.dtype(np.uint8 if x.dtype == np.uint8 else np.float32), np.dtype(y.dtype))
        self._shapes = (x.shape[1:], y.shape[1:])
        self._full = batches.num_rows // batches.batch_size
        self._most = max(1, min(GROUP_BATCHES, GROUP_BYTES // max(1, x.nbytes + y.nbytes), self._full))
        groups = -(-self._full // self._most) + (batches.num_batches > self._full)
        self._ahead = max(2, min(PREFETCH_BATCHES, PREFETCH_BYTES // max(1, x.nbytes + y.nbytes)))

        def gather(number: Any) -> tuple[Any, ...]:
            # A group is a pure function of its number: declared stateless, it may be gathered ahead of its use
            # although operations are deterministic.
            types = (*map(tf.as_dtype, self._types), tf.int32, tf.bool)
            x_rows, y_rows, totals, goes_on = tf.numpy_function(self._gather, [number], types, stateful=False)
            x_rows = tf.ensure_shape(x_rows, [None, None, *self._shapes[0]])
            y_rows = tf.ensure_shape(y_rows, [None, None, *self._shapes[1]])
            return x_rows, y_rows, tf.ensure_shape(totals, [None]), tf.ensure_shape(goes_on, [])

        def has_rows(*group: Any) -> Any:
            return group[-1]

        def one_by_one(*group: Any) -> Any:  # `unbatch` crashes on batches of no rows
            return tf.data.Dataset.from_tensor_slices(group[:-1])

        self._groups = groups
        dataset = tf.data.Dataset.range(first_epoch * groups, epochs * groups).map(gather)
        dataset = dataset.take_while(has_rows).flat_map(one_by_one).prefetch(self._ahead)
        self._iterator = iter(dataset.with_options(_options()))

    def next(self) -> tuple[Any, ...]:
        """Adds to a graph what gives the next batch: x as the model eats it, y, and its total where asked for."""
        x, y, total = self._iterator.get_next()
        with tf.device("CPU:0"):
            inputs = tf.cast(x, tf.float32)
            if self._divisor is not None:
                inputs /= self._divisor
        return (inputs, y, total) if self._with_total else (inputs, y)

    def failure(self) -> Exception | None:
        """Returns what `Batches.stored` raised, which TensorFlow would only report as text; else None."""
        return self._failure

    def close(self) -> None:
        """Ends the gathering, and waits until it has ended; what was gathered ahead is thrown away."""
        self._closed = True
        failed = 0
        while failed <= self._ahead + 1:  # no more gatherings are ahead that may have failed, one under way included
            try:
                next(self._iterator)
            except StopIteration:
                return
            except tf.errors.OpError:
                failed += 1

    def _group(self, number: int) -> tuple[int, int, int]:
        """Returns the epoch of a group of batches, its first batch and how many there are, all of one size."""
        epoch, place = divmod(number, self._groups)
        index = place * self._most
        if index >= self._full:
            return epoch, self._full, 1
        return epoch, index, min(self._most, self._full - index)

    def _gather(self, number: np.int64) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.int32], np.bool_]:
        """Returns (batches, rows, ...) of x and y, (batches,) rows of each whole batch, and whether there are more."""
        if self._closed:
            x, y = (np.zeros((0, 0, *shape), kind) for kind, shape in zip(self._types, self._shapes, strict=True))
            return x, y, np.zeros(0, np.int32), np.False_
        epoch, index, count = self._group(int(number))
        try:
            x, y = self._batches.stored(epoch, index, count)
        except Exception as error:
            self._failure = error
            raise
        size = self._batches.batch_size
        total = size if index < self._full else self._batches.num_rows - index * size
        rows = len(y) // count
        x = np.asarray(x, self._types[0]).reshape(count, rows, *self._shapes[0])
        y = np.asarray(y, self._types[1]).reshape(count, rows, *self._shapes[1])
        return x, y, np.full(count, total, np.int32), np.True_


def compile_steps(step: Callable[..., Any], stream: BatchStream) -> Callable[[int], NDArray[np.float32]]:
    """Compiles a training step into a graph that runs many of them a call.

    A small network is bound by what happens between steps, not in them: one call for many steps, its
    number of steps a tensor, needs neither Python between them nor a second trace.

    Args:
        step: adds one step to a graph: what the stream gives -> (2,) float32, the loss summed over the rows and the
            gradient's squared norm.
        stream: of batches.

    Returns:
        A function from a number of steps to the sums of both over the steps.
    """

    def body(index: Any, total: Any, steps: Any) -> tuple[Any, Any, Any]:
        return index + 1, total + step(*stream.next()), steps

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

"""Batches as a training graph is given them: the bits that `Batches.batch` returns, and a gathering that ends."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest

from data.batches import ArrayBatches
from data.contract import Part
from models.legacy_keras import tf
from models.training_steps import GROUP_BATCHES, BatchStream

PIXELS = np.random.default_rng(1).integers(0, 256, (70, 5, 3), np.uint8)
LABELS = np.arange(70, dtype=np.int32)


def given(stream: BatchStream, count: int) -> list[tuple[Any, ...]]:
    """The next batches, as a graph gets them."""
    following = tf.function(stream.next, autograph=False)
    return [tuple(each.numpy() for each in following()) for _ in range(count)]


@pytest.mark.parametrize(
    ("x", "divisor", "size", "part", "kept"),
    [
        (PIXELS, 255.0, 3, Part(), None),
        (PIXELS, 255.0, 1, Part(), (0, 7, 14)),
        (PIXELS.astype(np.float32), 1.0, 16, Part(), None),
        (PIXELS.astype(np.float64), 3.0, 70, Part(), None),
        (PIXELS, 255.0, 100, Part(), None),
        (PIXELS, 255.0, 8, Part(1, 4), None),
        (PIXELS, 1.0, 23, Part(0, 2), None),
    ],
)
def test_a_stream_gives_the_bits_of_each_batch(x: Any, divisor: float, size: int, part: Part, kept: Any) -> None:
    batches = ArrayBatches(x, LABELS, size, 5, divisor, kept, part)
    stream = BatchStream(batches, 1, 3, with_total=True)
    expected = [batches.batch(epoch, index) for epoch in (1, 2) for index in range(batches.num_batches)]
    totals = [min(size, 70 - index * size) for _ in (1, 2) for index in range(batches.num_batches)]
    for (x_rows, y_rows, total), wanted, rows in zip(given(stream, len(expected)), expected, totals, strict=True):
        assert (x_rows.dtype, total) == (np.float32, rows)
        np.testing.assert_array_equal(x_rows, wanted[0])
        np.testing.assert_array_equal(y_rows, wanted[1])
    with pytest.raises(tf.errors.OutOfRangeError):
        given(stream, 1)
    stream.close()


class SlowBatches(ArrayBatches):
    """Takes a while for each group, and may fail at one."""

    def __init__(self, fails_at: int | None = None) -> None:
        super().__init__(PIXELS, LABELS, 1, 5)
        self.calls, self.fails_at = 0, fails_at

    def stored(self, epoch: int, index: int, count: int) -> tuple[Any, Any]:
        self.calls += 1
        time.sleep(0.02)
        if self.calls == self.fails_at:
            raise ZeroDivisionError(self.calls)
        return super().stored(epoch, index, count)


def test_a_stream_that_is_closed_ends_in_the_middle_of_its_gathering() -> None:
    for _ in range(5):
        batches = SlowBatches()
        stream = BatchStream(batches, 0, 1_000)
        given(stream, 1)
        closing = threading.Thread(target=stream.close, daemon=True)
        closing.start()
        closing.join(20)
        assert not closing.is_alive()
        del stream  # TensorFlow ends its thread here
    calls = batches.calls
    time.sleep(0.1)
    assert batches.calls == calls < 10


def test_what_a_gathering_raised_is_known_and_the_stream_closes() -> None:
    stream = BatchStream(SlowBatches(fails_at=3), 0, 1_000)
    with pytest.raises(tf.errors.OpError):
        given(stream, 2 * GROUP_BATCHES)
    assert isinstance(stream.failure(), ZeroDivisionError)
    stream.close()


def test_a_stream_of_which_nothing_can_be_had_any_more_is_closed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lost:
        def __next__(self) -> None:
            raise tf.errors.UnavailableError(None, None, "the peer is gone")

    stream = BatchStream(SlowBatches(), 0, 1_000)
    with monkeypatch.context() as patch:
        patch.setattr(stream, "_iterator", Lost())
        closing = threading.Thread(target=stream.close, daemon=True)
        closing.start()
        closing.join(20)
        assert not closing.is_alive()
    stream.close()

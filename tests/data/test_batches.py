from __future__ import annotations

import numpy as np
import pytest

from data.batches import ArrayBatches


def make(rows=10, size=4, seed=3, divisor=255.0):
    x = np.arange(rows, dtype=np.uint8)[:, None]
    return ArrayBatches(x, np.arange(rows, dtype=np.int32), size, seed, divisor)


def test_an_epoch_is_every_row_once_and_the_last_batch_is_smaller():
    batches = make()
    parts = [batches.batch(0, index) for index in range(batches.num_batches)]
    assert (batches.num_rows, batches.num_batches, batches.batch_size) == (10, 3, 4)
    assert [len(y) for _, y in parts] == [4, 4, 2]
    assert sorted(np.concatenate([y for _, y in parts])) == list(range(10))


def test_inputs_are_float32_and_divided():
    x, y = make().batch(2, 1)
    assert x.dtype == np.float32
    assert np.array_equal(x[:, 0], y.astype(np.float32) / np.float32(255))


def test_any_batch_can_be_asked_for_at_any_time():
    one, other = make(), make()
    wanted = {(epoch, index): one.batch(epoch, index)[1] for epoch in range(3) for index in range(3)}
    for epoch, index in [(2, 1), (0, 2), (1, 0), (2, 0), (0, 0)]:
        assert np.array_equal(other.batch(epoch, index)[1], wanted[epoch, index])
    assert not np.array_equal(one.order(0), one.order(1))
    assert not np.array_equal(make(seed=4).order(0), one.order(0))


def test_the_order_of_an_epoch_is_pinned():
    # Resume across versions of this project depends on it.
    assert make().order(0).tolist() == [3, 2, 8, 9, 5, 6, 7, 4, 1, 0]


def test_out_of_range():
    with pytest.raises(IndexError, match=r"batches.index: expected 0 to 2, got 3"):
        make().batch(0, 3)
    with pytest.raises(ValueError, match="expected as many inputs as targets"):
        ArrayBatches(np.zeros((2, 1)), np.zeros(3), 1, 1)


def test_several_batches_at_once_are_theirs_in_order():
    batches = make(rows=26)
    x, y = batches.stored(1, 2, 3)
    parts = [batches.batch(1, index) for index in (2, 3, 4)]
    assert x.dtype == np.uint8
    assert np.array_equal(np.float32(x) / np.float32(batches.divisor), np.concatenate([part[0] for part in parts]))
    assert np.array_equal(y, np.concatenate([part[1] for part in parts]))
    with pytest.raises(IndexError, match=r"batches.index: expected 0 to 6, got 5 to 7"):
        batches.stored(0, 5, 3)

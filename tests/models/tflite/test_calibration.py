from __future__ import annotations

import numpy as np
import pytest

from data.contract import ConversionError
from models.tflite.calibration import calibration_indices, calibration_rows, with_range_ends


def test_indices_depend_on_the_seed_alone_and_are_distinct() -> None:
    first, again, other = (calibration_indices(1000, 50, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert len(set(first.tolist())) == 50
    assert (np.diff(first) > 0).all()
    assert first.tolist() != other.tolist()


def test_fewer_rows_than_asked_are_all_taken() -> None:
    assert calibration_indices(3, 50, 1).tolist() == [0, 1, 2]


def test_missing_ends_go_where_they_change_least() -> None:
    rows = np.array([[0.2, 0.5, 0.9], [0.1, 0.4, 0.6]], np.float32)
    expected = np.array([[0.2, 0.5, 0.9], [0.1, 0.4, 0.6], [0.0, 0.4, 0.6], [0.2, 0.5, 1.0]], np.float32)
    np.testing.assert_array_equal(with_range_ends(rows, (0.0, 1.0)), expected)


def test_ends_that_are_there_are_not_added() -> None:
    rows = np.array([[0.0, 0.5], [0.3, 1.0]], np.float32)
    np.testing.assert_array_equal(with_range_ends(rows, (0.0, 1.0)), rows)


def test_rows_keep_their_shape_and_type() -> None:
    x = np.random.default_rng(0).uniform(0.1, 0.9, (30, 4, 4, 3)).astype(np.float32)
    drawn = calibration_rows(x.__getitem__, len(x), (0.0, 1.0), 10, 5)
    assert drawn.shape == (12, 4, 4, 3)
    assert drawn.dtype == np.float32
    assert (drawn.min(), drawn.max()) == (0.0, 1.0)
    np.testing.assert_array_equal(drawn[:10], x[calibration_indices(30, 10, 5)])
    assert calibration_rows(x.__getitem__, len(x), None, 10, 5).shape == (10, 4, 4, 3)


def test_values_outside_the_range_are_refused() -> None:
    with pytest.raises(ConversionError, match=r"expected values from 0 to 1, got 0\.5 to 2\. Look"):
        calibration_rows(np.array([[0.5, 2.0]], np.float32).__getitem__, 1, (0.0, 1.0), 5, 1)


def test_no_rows_are_refused() -> None:
    with pytest.raises(ConversionError, match="expected real training rows, got none"):
        calibration_rows(np.zeros((0, 2), np.float32).__getitem__, 0, None, 5, 1)

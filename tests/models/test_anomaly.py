"""Errors of rows, their threshold, and how well they separate."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.metrics import roc_curve as sklearn_roc_curve

from models.anomaly import error_threshold, is_abnormal, roc_auc, roc_curve, row_errors


def test_errors_are_means_over_the_entries_of_a_row():
    generator = np.random.default_rng(1)
    x = generator.random((5000, 2, 3, 1), np.float32)  # more rows than are taken at once
    outputs = generator.random((5000, 6), np.float32)
    errors = row_errors(x, outputs)
    for row in (0, 4095, 4096, 4999):
        flat = [float(value) for value in x[row].ravel()]
        slow = sum((a - float(b)) ** 2 for a, b in zip(flat, outputs[row], strict=True)) / 6
        assert errors[row] == pytest.approx(slow, rel=1e-6)


def test_errors_are_summed_in_float32_one_entry_after_the_other():
    generator = np.random.default_rng(2)
    x, outputs = (generator.normal(0, 3, (20, 900)).astype(np.float32) for _ in range(2))
    for row, error in enumerate(row_errors(x, outputs).tolist()):
        total = np.float32(0)
        for a, b in zip(x[row], outputs[row], strict=True):
            total += (a - b) * (a - b)
        assert error == float(total / np.float32(900))


@pytest.mark.parametrize(
    ("fraction", "threshold", "above"),
    [(0.0, 10.0, 0), (0.05, 10.0, 0), (0.1, 9.0, 1), (0.29, 8.0, 2), (0.3, 7.0, 3), (0.99, 1.0, 9)],
)
def test_the_threshold_lets_so_many_rows_pass(fraction, threshold, above):
    errors = np.array([3.0, 1, 2, 10, 9, 8, 7, 6, 5, 4])
    assert error_threshold(errors, fraction) == threshold
    assert is_abnormal(errors, threshold).sum() == above


def test_fractions_that_floats_cannot_hold_count_whole_rows():
    assert 0.29 * 100 < 29
    errors = np.arange(100.0)
    assert is_abnormal(errors, error_threshold(errors, 0.29)).sum() == 29


def test_equal_errors_are_called_alike():
    errors = np.array([1.0, 2, 2, 2])
    assert error_threshold(errors, 0.25) == 2.0
    assert not is_abnormal(errors, 2.0).any()


def test_rounding_to_float32_calls_no_further_row_abnormal():
    errors = np.array([0.1, 0.2, 0.3])  # float32(0.3) is above 0.3, float32(0.1) too, float32(0.2) too
    for exact in (0.1, 1 / 3, 0.7, 1e-7 / 3):
        threshold = error_threshold(np.array([exact]), 0.0)
        assert threshold >= exact
        assert np.float32(threshold) == threshold
        assert threshold == pytest.approx(exact, rel=2e-7)
    assert error_threshold(errors, 0.5) >= 0.2


@pytest.mark.parametrize("levels", [3, 50, 10_000])
def test_the_area_and_the_curve_are_scikit_learns(levels):
    """Few levels: most errors are tied."""
    generator = np.random.default_rng(levels)
    normal = np.round(generator.random(80) * levels) / levels
    abnormal = np.round((generator.random(60) ** 0.5) * levels) / levels
    labels = np.repeat([0, 1], [80, 60])
    errors = np.concatenate([normal, abnormal])
    assert roc_auc(normal, abnormal) == pytest.approx(roc_auc_score(labels, errors), abs=1e-12)
    alarms, detected = roc_curve(normal, abnormal)
    expected = sklearn_roc_curve(labels, errors, drop_intermediate=False)
    np.testing.assert_allclose(alarms, expected[0], atol=1e-12)
    np.testing.assert_allclose(detected, expected[1], atol=1e-12)
    assert np.trapezoid(detected, alarms) == pytest.approx(roc_auc(normal, abnormal), abs=1e-12)

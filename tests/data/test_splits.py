from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.config import SplitFields
from data.contract import DataError
from data.sources.loaded import Loaded, Targets
from data.splits import TEST, TRAIN, VALIDATION, split_rows


def loaded(values, names=(), given=None, groups=None):
    values = np.asarray(values)
    return Loaded(Targets(values, tuple(names)), {}, np.arange(len(values)), (), given, groups)


def test_a_balanced_set_is_divided_exactly():
    codes = np.repeat(np.arange(4, dtype=np.int32), 100)
    assignment = split_rows(loaded(codes, "abcd"), SplitFields(), 7)
    for code in range(4):
        assert np.bincount(assignment[codes == code]).tolist() == [70, 15, 15]


@settings(max_examples=40, deadline=None)
@given(
    counts=st.lists(st.integers(2, 60), min_size=2, max_size=6),
    validation=st.floats(0.05, 0.4),
    test=st.floats(0.05, 0.4),
    seed=st.integers(0, 1000),
)
def test_every_stratum_is_within_two_rows_of_its_share(counts, validation, test, seed):
    codes = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    if len(codes) < 10:
        return
    config = SplitFields(validation_fraction=validation, test_fraction=test)
    try:
        assignment = split_rows(loaded(codes, map(str, range(len(counts)))), config, seed)
    except DataError as error:
        assert "expected rows in every split" in str(error)
        assert max(counts) < 3
        return
    for code, rows in enumerate(counts):
        shares = np.bincount(assignment[codes == code], minlength=3)
        assert shares[TRAIN] >= 1
        assert np.abs(shares - rows * np.array([1 - validation - test, validation, test])).max() <= 2.0 + 1e-9
        if rows >= 3:
            assert shares.min() >= 1


def test_the_seed_alone_decides():
    codes = np.arange(200, dtype=np.int32) % 3
    first = split_rows(loaded(codes, "abc"), SplitFields(), 1)
    assert np.array_equal(first, split_rows(loaded(codes, "abc"), SplitFields(), 1))
    assert not np.array_equal(first, split_rows(loaded(codes, "abc"), SplitFields(), 2))


def test_regression_is_stratified_by_deciles():
    values = np.exp(np.random.default_rng(0).normal(size=1000) * 2)
    assignment = split_rows(loaded(values), SplitFields(), 3)
    deciles = np.searchsorted(np.quantile(values, np.linspace(0, 1, 11)[1:-1]), values, side="right")
    for decile in range(10):
        assert np.bincount(assignment[deciles == decile]).tolist() == [70, 15, 15]


def test_groups_stay_together_and_classes_near_their_shares():
    generator = np.random.default_rng(0)
    groups = generator.integers(0, 120, 2000)
    codes = ((groups % 3 == 0) ^ (generator.random(2000) < 0.1)).astype(np.int32)
    assignment = split_rows(loaded(codes, "ab", groups=groups), SplitFields(), 5)
    for group in range(120):
        assert len(np.unique(assignment[groups == group])) == 1
    for split, share in ((TRAIN, 0.7), (VALIDATION, 0.15), (TEST, 0.15)):
        assert abs((assignment == split).mean() - share) < 0.02
        assert abs(codes[assignment == split].mean() - codes.mean()) < 0.03


def test_three_groups_fill_three_splits():
    groups = np.repeat([0, 1, 2], 20)
    assignment = split_rows(loaded(np.tile([0, 1], 30).astype(np.int32), "ab", groups=groups), SplitFields(), 1)
    assert sorted(np.unique(assignment[groups == group])[0] for group in range(3)) == [0, 1, 2]


def test_two_groups_are_refused():
    codes = np.tile([0, 1], 10).astype(np.int32)
    with pytest.raises(DataError, match=r"data\.group: expected 3 or more groups, one a split at least, got 2\."):
        split_rows(loaded(codes, "ab", groups=np.repeat([0, 1], 10)), SplitFields(), 1)


def test_a_test_split_of_the_source_is_kept():
    codes = np.tile([0, 1], 100).astype(np.int32)
    given = np.repeat([TRAIN, TEST], [150, 50]).astype(np.int8)
    assignment = split_rows(loaded(codes, "ab", given), SplitFields(validation_fraction=0.2), 1)
    assert (assignment[150:] == TEST).all()
    assert np.bincount(assignment[:150]).tolist() == [120, 30]


def test_given_validation_is_kept_and_test_is_made():
    codes = np.tile([0, 1], 100).astype(np.int32)
    given = np.repeat([TRAIN, VALIDATION], [160, 40]).astype(np.int8)
    assignment = split_rows(loaded(codes, "ab", given), SplitFields(test_fraction=0.25), 1)
    assert (assignment[160:] == VALIDATION).all()
    assert np.bincount(assignment[:160]).tolist() == [120, 0, 40]


def test_a_class_that_only_the_test_split_has_is_refused():
    codes = np.array([0, 1] * 20 + [2] * 10, np.int32)
    given = np.repeat([TRAIN, TEST], [40, 10]).astype(np.int8)
    with pytest.raises(DataError, match="expected training rows of every class, got none of 'c'"):
        split_rows(loaded(codes, "abc", given), SplitFields(), 1)


def test_too_few_rows():
    with pytest.raises(DataError, match="data: expected 10 or more rows, got 8"):
        split_rows(loaded(np.array([0, 1] * 4, np.int32), "ab"), SplitFields(), 1)

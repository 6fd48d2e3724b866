from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from data.column_transforms import CategoricalColumn, NumericColumn, SignedLog
from data.contract import DataError
from data.fitting import bins_for, fit_column, fit_numeric
from data.preprocessing import CLIP, Preprocessing
from data.row_blocks import moments
from data.sources.loaded import Column


def test_standardization_is_scikit_learns():
    values = np.random.default_rng(0).normal(50, 3, 500).astype(np.float32)
    values[::7] = np.nan
    column = fit_numeric("a", values[:400])
    imputer = SimpleImputer(strategy="median").fit(values[:400, None].astype(np.float64))
    scaler = StandardScaler().fit(imputer.transform(values[:400, None].astype(np.float64)))
    expected = scaler.transform(imputer.transform(values[:, None].astype(np.float64)))[:, 0]
    encoded = column.encode(values, CLIP)
    assert column.log is None
    np.testing.assert_allclose(encoded[:, 0], np.clip(expected, -CLIP, CLIP), atol=1e-5)
    assert np.array_equal(encoded[:, 1], np.isnan(values))
    assert column.features == ("a", "a=<missing>")


def test_no_row_outside_of_training_shapes_a_transform():
    values = np.random.default_rng(0).normal(size=100)
    train = np.arange(100) < 70
    changed = np.where(train, values, 1e6)
    first = fit_column(Column("a", "numeric", values), train, 32).transform
    assert first == fit_column(Column("a", "numeric", changed), train, 32).transform


def test_an_outlier_does_not_stretch_the_range():
    values = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    values[17] = 1e9
    encoded = fit_numeric("a", values).encode(values, CLIP)[:, 0]
    assert np.abs(encoded).max() <= CLIP
    assert np.delete(encoded, 17).std() > 0.25  # eight int8 steps or more, where plain standardization leaves none


def test_bins_by_hand():
    column = fit_numeric("a", np.arange(5, dtype=np.float32), num_bins=2)
    deviation = np.sqrt(2.0)  # of 0 to 4, whose mean is 2: edges are the least, the median and the largest value
    np.testing.assert_allclose(column.edges, [-2 / deviation, 0.0, 2 / deviation], rtol=1e-6)
    assert column.features == ("a", "a=<bin 1>", "a=<bin 2>")
    encoded = column.encode(np.array([-9, 0, 1, 2, 3, 9, np.nan], np.float32), CLIP)
    np.testing.assert_allclose(encoded[:, 1], [0, 0, 0.5, 1, 1, 1, 1], atol=1e-6)
    np.testing.assert_allclose(encoded[:, 2], [0, 0, 0, 0, 0.5, 1, 0], atol=1e-6)


def test_bins_follow_the_training_quantiles():
    values = np.exp(np.random.default_rng(0).normal(size=4000) * 2).astype(np.float32)
    column = fit_numeric("a", values, num_bins=8)
    standardized = column.encode(values, CLIP)[:, 0]
    shares = np.histogram(standardized, column.edges)[0] / len(values)
    np.testing.assert_allclose(shares, 1 / 8, atol=0.002)


def test_values_that_repeat_make_fewer_bins():
    values = np.repeat(np.array([0, 1, 5], np.float32), [900, 50, 50])
    assert len(fit_numeric("a", values, num_bins=16).edges) == 3
    assert fit_numeric("a", values[:950], num_bins=16).edges == ()  # two values: one bin is the number itself


@pytest.mark.parametrize(
    ("rows", "columns", "bins"),
    [(35_000, 6, 16), (2_100, 3, 4), (999, 3, 0), (1_000, 3, 2), (35_000, 40, 6), (35_000, 784, 0), (35_000, 0, 16)],
)
def test_few_rows_or_many_columns_have_fewer_bins(rows, columns, bins):
    assert bins_for(rows, columns) == bins


def test_moments_are_those_of_pandas():
    values = np.random.default_rng(0).gamma(2.0, size=20_000) * 1e30
    skewness, kurtosis = moments(values)
    assert skewness == pytest.approx(pd.Series(values / 1e30).skew(), rel=1e-3)
    assert kurtosis == pytest.approx(pd.Series(values / 1e30).kurt(), rel=1e-3)
    assert moments(np.full(5, 3.0)) == (0.0, 0.0)


@pytest.mark.parametrize(
    "values",
    [
        np.exp(np.random.default_rng(1).normal(size=5000) * 2),
        -np.exp(np.random.default_rng(2).normal(size=5000) * 2),
        np.random.default_rng(3).standard_t(2, size=5000),
    ],
    ids=["right tail", "left tail", "both tails"],
)
def test_heavy_tails_get_a_logarithm_that_keeps_the_order(values):
    values = values.astype(np.float32)
    column = fit_numeric("a", values)
    assert column.log is not None
    encoded = column.encode(np.sort(values), 1e9)[:, 0]
    assert (np.diff(encoded) >= 0).all()
    skewness, kurtosis = moments(encoded.astype(np.float64))
    assert abs(skewness) < 1.0
    assert kurtosis < 5.0


def test_the_signed_log_by_hand():
    log = SignedLog(center=1.0, unit=2.0)
    applied = log.apply(np.array([1.0, 3.0, -1.0], np.float32))
    np.testing.assert_allclose(applied, [0.0, np.log(2.0), -np.log(2.0)], rtol=1e-6)


def categorical(codes, vocabulary=("a", "b", "c"), max_categories=32):
    codes = np.asarray(codes, np.float64)
    return fit_column(Column("c", "categorical", codes, vocabulary), np.ones(len(codes), bool), max_categories)


def test_categories_are_one_hot_as_scikit_learns():
    codes = np.random.default_rng(0).integers(0, 3, 50)
    fitted = categorical(codes)
    names = np.array(["a", "b", "c"])[codes]
    expected = OneHotEncoder(sparse_output=False).fit_transform(names[:, None])
    assert np.array_equal(fitted.transform.encode(fitted.raw(slice(None)), CLIP), expected)


def test_without_rare_categories_an_unseen_one_is_the_average_category():
    fitted = categorical([0, 0, 1, 2])
    assert fitted.transform.slots == ("a", "b", "c")
    raw = np.array([-1, np.nan, 7], np.float32)
    assert fitted.transform.encode(raw, CLIP).tolist() == [[0.5, 0.25, 0.25]] * 3


def test_rare_categories_share_the_unseen_slot_and_missing_has_its_own():
    fitted = categorical([0, 0, 1, 1, 2, np.nan], max_categories=2)
    assert fitted.transform.slots == ("a", "b", "<missing>", "<unseen>")
    assert fitted.raw(slice(5)).tolist() == [0, 0, 1, 1, -1]
    encoded = fitted.transform.encode(fitted.raw(slice(None)), CLIP)
    assert encoded[4].tolist() == [0, 0, 0, 1]
    assert encoded[5].tolist() == [0, 0, 1, 0]


def test_useless_columns_say_why():
    train = np.arange(10) < 7
    constant = fit_column(Column("a", "numeric", np.where(train, 3.0, 4.0)), train, 32)
    empty = fit_column(Column("a", "numeric", np.where(train, np.nan, 4.0)), train, 32)
    assert (constant.transform, constant.why_left_out) == (None, "constant in the training split")
    assert (empty.transform, empty.why_left_out) == (None, "no value in the training split")


def make_preprocessing() -> Preprocessing:
    return Preprocessing(
        kind="vector",
        source="table",
        input_shape=(4,),
        divisor=1.0,
        pixel_maximum=1.0,
        columns=(
            NumericColumn(name="n", impute=1.5, indicator=True, log=SignedLog(center=0.0, unit=1.0), mean=0.5, scale=2),
            CategoricalColumn(name="c", categories=("ä",), slots=("ä", "<unseen>"), missing=(0, 1), unseen=(0, 1)),
        ),
        class_names=("u", "v"),
        target_name="y",
        target_mean=0.0,
        target_scale=1.0,
    )


def test_json_keeps_every_figure():
    preprocessing = make_preprocessing()
    assert Preprocessing.from_json(preprocessing.to_json()) == preprocessing
    assert preprocessing.feature_names == ("n", "n=<missing>", "c=ä", "c=<unseen>")


def test_transform_by_hand():
    raw = np.array([[np.nan, 0], [0.0, -1], [1e30, np.nan]], np.float32)
    expected = [[(np.log(2.5) - 0.5) / 2, 1, 1, 0], [-0.25, 0, 0, 1], [CLIP, 0, 0, 1]]
    np.testing.assert_allclose(make_preprocessing().transform(raw), expected, rtol=1e-6)


@pytest.mark.parametrize("text", ["{}", "not json", '{"version": 2}'])
def test_other_texts_are_no_preprocessing(text):
    with pytest.raises(DataError, match=r"expected preprocessing\.json of version 1"):
        Preprocessing.from_json(text)


@pytest.mark.parametrize(
    ("column", "changed", "message"),
    [
        (0, {"edges": [0.0, 1.0, 1.0]}, "edges of column 'n' do not rise"),
        (1, {"missing": [0.0]}, "categories, slots, missing and unseen of column 'c' do not fit together"),
        (1, {"categories": ["b", "ä"]}, "categories, slots, missing and unseen of column 'c' do not fit together"),
    ],
)
def test_columns_that_contradict_themselves_are_no_preprocessing(column, changed, message):
    kept = json.loads(make_preprocessing().to_json())
    kept["columns"][column] |= changed
    with pytest.raises(DataError, match=message):
        Preprocessing.from_json(json.dumps(kept))


def test_targets_come_back_in_their_unit():
    preprocessing = make_preprocessing().model_copy(update={"target_mean": 10.0, "target_scale": 2.0})
    assert preprocessing.inverse_target(np.array([-1.0, 0.5], np.float32)).tolist() == [8.0, 11.0]

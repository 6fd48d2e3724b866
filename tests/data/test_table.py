from __future__ import annotations

import gzip
import io

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from data.column_transforms import BooleanColumn, CategoricalColumn, NumericColumn
from data.columns import recognise
from data.contract import ConfigError, DataError
from data.reading import read_input


def rows(count=60, seed=0):
    """Returns a frame with a column of every kind."""
    generator = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "index": range(count),
            "height": generator.normal(170, 10, count).round(2),
            "rooms": generator.integers(1, 6, count),
            "color": generator.choice(["red", "green", "blue"], count),
            "member": generator.choice(["Yes", "No"], count),
            "comment": [f"a few words on row number {row}" for row in range(count)],
            "serial": [f"SN-{row * 7919 % 100003:06d}" for row in range(count)],
            "customer_id": generator.permutation(count) + 1000,
            "born": [f"19{70 + row % 30}-01-02" for row in range(count)],
            "seen": [f"{1 + row % 28}/3/2020" for row in range(count)],
            "empty": [None] * count,
            "same": ["x"] * count,
            "y": generator.choice(["cat", "dog"], count),
        }
    )


def csv(frame: pd.DataFrame, **options) -> str:
    return frame.to_csv(index=False, **options)


def simple(count=40):
    generator = np.random.default_rng(0)
    return "a,b,y\n" + "".join(f"{generator.normal():.4f},{row % 3},{'uv'[row % 2]}\n" for row in range(count))


def test_columns_are_recognised(table):
    dataset = table(csv(rows()))
    kinds = {column["name"]: column["kind"] for column in dataset.profile["columns"]}
    assert kinds == {
        "index": "row_number",
        "height": "numeric",
        "rooms": "numeric",
        "color": "categorical",
        "member": "boolean",
        "comment": "text",
        "serial": "identifier",
        "customer_id": "identifier",
        "born": "date",
        "seen": "date",
        "empty": "empty",
        "same": "categorical",
    }
    assert [type(column) for column in dataset.preprocessing.columns] == [
        NumericColumn,
        NumericColumn,
        CategoricalColumn,
        BooleanColumn,
    ]
    assert dataset.schema.feature_names == ("height", "rooms", "color=blue", "color=green", "color=red", "member")


def test_what_is_left_out_is_reported_by_name(table):
    profile = table(csv(rows())).profile
    reasons = {item["name"]: item["reason"] for item in profile["left_out"]}
    assert reasons == {
        "index": "row numbers",
        "comment": "free text: 100% of its values are distinct",
        "serial": "identifiers: 100% of its values are distinct",
        "customer_id": "identifiers: distinct in every row",
        "born": "dates or times",
        "seen": "dates or times",
        "empty": "no value in any row",
        "same": "constant in the training split",
    }
    for name in reasons:
        assert any(warning.startswith(f"Column {name!r} is left out") for warning in profile["warnings"])
    assert profile["constant_columns"] == ["same"]


def test_every_format_gives_the_same_dataset(table):
    frame = rows().drop(columns=["empty", "born"])
    stream = io.BytesIO()
    frame.to_parquet(stream)
    text = csv(frame)
    datasets = [
        table(text, name="t.csv"),
        table(gzip.compress(text.encode()), name="t.csv.gz"),
        table(csv(frame, sep="\t"), name="t.tsv"),
        table(csv(frame, sep=";"), name="semicolons.csv"),
        table("\ufeff" + text.replace("\n", "\r\n"), name="windows.csv"),
        table(stream.getvalue(), name="t.parquet"),
    ]
    assert len({dataset.profile["dataset_sha256"] for dataset in datasets}) == 1


def test_the_dataset_holds_what_pandas_reads(table):
    frame = rows(200)
    frame.loc[::9, "height"] = np.nan
    dataset = table(csv(frame))
    split = dataset.split("test")
    raw = dataset.raw("test")
    expected = frame.iloc[split.rows]
    assert np.array_equal(raw[:, 0], expected["height"].to_numpy(np.float32), equal_nan=True)
    assert np.array_equal(raw[:, 1], expected["rooms"].to_numpy(np.float32))
    assert np.array_equal(np.array(["blue", "green", "red"])[raw[:, 2].astype(int)], expected["color"])
    assert np.array_equal(raw[:, 3] == 1, expected["member"] == "Yes")
    assert np.array_equal(np.array(dataset.schema.class_names)[split.y], expected["y"])
    training = frame["height"].iloc[dataset.split("train").rows]
    assert dataset.preprocessing.columns[0].impute == pytest.approx(training.median(), rel=1e-6)
    figures = next(column for column in dataset.profile["columns"] if column["name"] == "height")
    assert figures["missing"] == frame["height"].isna().sum()
    assert figures["distinct"] == frame["height"].nunique()
    for name, value in (("min", "min"), ("max", "max"), ("mean", "mean")):
        assert figures[name] == pytest.approx(getattr(frame["height"], value)(), rel=1e-5)
    assert figures["std"] == pytest.approx(frame["height"].std(ddof=0), rel=1e-5)
    color = next(column for column in dataset.profile["columns"] if column["name"] == "color")
    assert {item["value"]: item["rows"] for item in color["top"]} == frame["color"].value_counts().to_dict()


def test_regression_targets_are_standardized_on_training(table):
    frame = pd.DataFrame({"a": np.random.default_rng(0).normal(size=100), "y": np.arange(100.0) ** 2})
    dataset = table(csv(frame), "regression")
    training = frame["y"].to_numpy()[dataset.split("train").rows]
    assert dataset.schema.target_mean == pytest.approx(training.mean())
    assert dataset.schema.target_scale == pytest.approx(training.std())
    test = dataset.split("test")
    restored = dataset.preprocessing.inverse_target(test.y)
    np.testing.assert_allclose(restored, frame["y"].to_numpy()[test.rows], rtol=1e-4, atol=1e-2)
    assert dataset.schema.class_names == ()


def test_missing_values_by_policy(table):
    frame = rows(100)[["height", "color", "y"]]
    frame.loc[[1, 5, 9], "height"] = np.nan
    frame.loc[[5, 20], "color"] = None
    dropped = table(csv(frame), missing="drop_rows")
    assert dropped.profile["rows"]["total"] == 96
    assert "4 rows with missing features are left out (data.missing: drop_rows)." in dropped.profile["warnings"]
    positions = np.concatenate([dropped.split(name).rows for name in ("train", "validation", "test")])
    assert sorted(positions) == [row for row in range(100) if row not in (1, 5, 9, 20)]
    with pytest.raises(DataError, match=r"data\.missing: .* got missing values \('height': 3, 'color': 2\)"):
        table(csv(frame), missing="error")


def lacking_targets_and_features():
    """Returns 100 rows: 3 lack the target, 30 others the height, 1 of each lacks both."""
    frame = rows(100)[["height", "color", "y"]]
    frame.loc[[0, 50, 99], "y"] = None
    frame.loc[[*range(10, 40), 50], "height"] = np.nan
    return frame


def test_rows_without_a_target_go_alone(table):
    frame = lacking_targets_and_features()
    with pytest.raises(
        DataError,
        match=r"^data\.target: expected a value in every row, got 3 missing in 'y' \(first in row 1\)\. Fill them in, "
        r"or set data\.missing_target: drop_rows to leave these rows out\.$",
    ):
        table(csv(frame), missing="drop_rows")
    profile = table(csv(frame), missing_target="drop_rows").profile
    assert profile["rows"]["total"] == 97
    assert profile["source"]["dropped_rows"] == 3
    assert profile["warnings"][0] == "3 rows without a target are left out (data.missing_target: drop_rows)."
    assert next(column for column in profile["columns"] if column["name"] == "height")["missing"] == 31
    both = table(csv(frame), missing_target="drop_rows", missing="drop_rows").profile
    assert both["rows"]["total"] == 67
    assert both["warnings"][:2] == [
        "3 rows without a target are left out (data.missing_target: drop_rows).",
        "30 rows with missing features are left out (data.missing: drop_rows).",
    ]


def test_features_are_asked_for_only_where_there_is_a_target(table):
    frame = lacking_targets_and_features()
    with pytest.raises(DataError, match=r"got missing values \('height': 30\)"):
        table(csv(frame), missing_target="drop_rows", missing="error")
    frame.loc[range(10, 40), "height"] = 170.0
    whole = table(csv(frame), missing_target="drop_rows", missing="error")
    assert whole.profile["rows"]["total"] == 97
    with pytest.raises(DataError, match=r"data\.target: expected values in 'y', got none in 100 rows"):
        table(csv(frame.assign(y=None)), missing_target="drop_rows")
    with pytest.raises(DataError, match=r"data\.missing: expected rows without missing values, got none of 97\."):
        lost = frame.assign(height=np.where(np.arange(100) % 2, 1.0, np.nan), z=np.where(np.arange(100) % 2, "", "v"))
        table(csv(lost), missing_target="drop_rows", missing="drop_rows")


def test_rows_are_numbered_as_in_the_file(table):
    text = "a,y\n,1\n" + "".join(f"{row % 7}.5,{row}\n" for row in range(40)) + "1.5,inf\n"
    with pytest.raises(DataError, match=r"got 1 infinite in column 'y' \(first in row 42\)"):
        table(text, "regression", missing="drop_rows")


GERMAN = "x;n;mixed;word;y\n" + "".join(
    f"{row}{',25' if row % 2 else ''};{'' if row % 5 == 0 else f'-{row},5e-1'};{row}{',5' if row % 2 else '.5'};"
    f"a,{'bc'[row % 2]};{row % 3},5\n"
    for row in range(60)
)


def test_decimal_commas_are_read_where_semicolons_separate(table, tmp_path):
    dataset = table(GERMAN, "regression")
    test = dataset.split("test")
    assert dataset.raw("test")[:, 0].tolist() == [row + (0.25 if row % 2 else 0.0) for row in test.rows]
    numbers = [np.nan if row % 5 == 0 else -(row + 0.5) / 10 for row in test.rows]
    np.testing.assert_allclose(dataset.raw("test")[:, 1], numbers, rtol=1e-6)
    np.testing.assert_allclose(dataset.preprocessing.inverse_target(test.y), test.rows % 3 + 0.5, rtol=1e-6)
    profile = dataset.profile
    assert {column["name"]: column["kind"] for column in profile["columns"]} == {
        "x": "numeric",
        "n": "numeric",
        "mixed": "text",
        "word": "categorical",
    }
    assert profile["warnings"][0].startswith("Numbers with decimal commas (1,5 for 1.5) are read in 'x', 'n', 'y'; set")
    (left_out,) = profile["left_out"]
    assert left_out["reason"] == (
        "text, though all of its distinct values are numbers written with commas (write 1.5; 1,5 is read where "
        "semicolons separate the values)"
    )
    path = tmp_path / "new.csv"
    path.write_text("n;word;x\n-2,5;a,b;1,75\n")
    assert read_input(dataset.preprocessing, path).raw[0, :2].tolist() == [1.75, -2.5]


def test_decimal_commas_stay_text_where_the_config_says_so_and_where_commas_separate(table):
    dataset = table(GERMAN, "regression", types={"x": "categorical"})
    kinds = {column["name"]: column["kind"] for column in dataset.profile["columns"]}
    assert kinds["x"] == "categorical"
    text = "few,many,y\n" + "".join(f'"{row % 4},5","{row},125",{row % 3}.5\n' for row in range(60))
    profile = table(text, "regression").profile
    kinds = {column["name"]: column["kind"] for column in profile["columns"]}
    assert kinds == {"few": "categorical", "many": "text"}
    advice = "(write 1.5; 1,5 is read where semicolons separate the values)."
    assert profile["warnings"][:2] == [
        f"Column 'few' is taken for categories, though its values are numbers written with commas {advice}",
        f"Column 'many' is left out: text, though all of its distinct values are numbers written with commas {advice}",
    ]


def test_types_are_overruled(table):
    dataset = table(csv(rows()), types={"rooms": "categorical", "serial": "categorical"}, max_categories=4)
    rooms = next(column for column in dataset.preprocessing.columns if column.name == "rooms")
    assert isinstance(rooms, CategoricalColumn)
    assert set(rooms.categories) <= {"1", "2", "3", "4", "5"}
    assert any("'serial' has 60 categories" in warning for warning in dataset.profile["warnings"])


def test_features_and_drop_and_group(table):
    frame = rows(200)
    frame["group"] = np.arange(200) // 5
    dataset = table(csv(frame), features=("height", "index"), group="group")
    assert dataset.schema.feature_names == ("index", "height")  # in the order of the table
    splits = [set(dataset.split(name).rows // 5) for name in ("train", "validation", "test")]
    assert not (splits[0] & splits[1] or splits[0] & splits[2] or splits[1] & splits[2])
    reasons = {item["name"]: item["reason"] for item in table(csv(frame), drop=("height",)).profile["left_out"]}
    assert reasons["height"] == "dropped by data.drop"
    kinds = {column["name"]: column["kind"] for column in dataset.profile["columns"]}
    assert (kinds["height"], kinds["color"]) == ("numeric", "dropped")
    assert not any("'color'" in warning for warning in dataset.profile["warnings"])


def test_duplicates_are_found(table):
    generator = np.random.default_rng(0)
    frame = pd.DataFrame({"a": generator.normal(size=100), "y": np.tile(["u", "v"], 50)})
    frame["b"] = frame["a"]
    frame = pd.concat([frame, frame.iloc[:40], frame.iloc[:3].assign(y="other")], ignore_index=True)
    profile = table(csv(frame)).profile
    assert profile["duplicates"]["rows"] == 40
    assert profile["duplicates"]["conflicting"] == 9
    assert profile["duplicate_columns"] == [["a", "b"]]
    across = profile["duplicates"]["across_splits"]
    assert across["train/test"] > 0
    assert any(warning.startswith(f"{across['train/test']} rows of the test split") for warning in profile["warnings"])


def test_duplicates_across_splits_by_hand():
    from data.profile import duplicate_rows

    digests = np.array([1, 1, 1, 2, 2, 3, 4], np.uint64)
    targets = np.array([0, 0, 0, 0, 1, 0, 0])
    assignment = np.array([0, 0, 1, 0, 2, 1, 2], np.int8)
    assert duplicate_rows(digests, targets, assignment) == {
        "rows": 2,
        "across_splits": {"train/validation": 1, "train/test": 0, "validation/test": 0},
        "conflicting": 2,
    }


BAD = {
    "empty": ("", {}, r"data\.path: expected a table with a header, got 'table.csv', which is empty"),
    "header alone": ("a,b,y\n", {}, r"data\.path: expected one or more rows, got none"),
    "ragged": (simple() + "1,2\n", {}, r"expected 3 values in every row, got 2 in line 42 of 'table\.csv'"),
    "ragged inside": (
        simple().replace("\n", "\n1,2,u,9\n", 1),
        {},
        "expected 3 values in every row, got 4 in line 2",
    ),
    "blank lines count": ("a,y\n\n\n1,u\n2\n", {}, "expected 2 values in every row, got 1 in line 5"),
    "open quote": (simple() + '1,2,"u\n', {}, "expected quotes in pairs, .* starts in line 42"),
    "names twice": ("a,a,y\n1,2,u\n", {}, "expected every column name once, got 'a' more than once"),
    "latin-1": (simple().replace("u", "ü").encode("latin-1"), {}, "expected UTF-8 text, got byte 0xfc in line 2"),
    "utf-16": (simple().encode("utf-16"), {}, "expected UTF-8 text, .* zero bytes"),
    "no target": (simple(), {"target": "label"}, r"data\.target: expected a column of the table, got 'label'\."),
    "near target": (simple(), {"target": "Y"}, r"got 'Y' \(the nearest is 'y'\)"),
    "no feature": (simple(), {"features": ("aa",)}, r"data\.features: .* got 'aa'"),
    "no drop": (simple(), {"drop": ("c",)}, r"data\.drop: expected a column of the table, got 'c'"),
    "no type": (simple(), {"types": {"c": "numeric"}}, r"data\.types: expected a column of the table, got 'c'"),
    "no group": (simple(), {"group": "c"}, r"data\.group: expected a column of the table, got 'c'"),
    "infinite": (simple() + "inf,1,u\n-inf,2,v\n", {}, r"expected finite numbers, got 2 infinite in column 'a'"),
    "beyond float32": (simple() + "1e39,1,u\n", {}, r"expected numbers within ±3\.4e38, got larger in column 'a'"),
    "missing target": (simple() + "1,1,\n2,2,\n", {}, r"data\.target: .* got 2 missing in 'y'"),
    "quantities as classes": (simple(), {"target": "a"}, r"got 40 distinct numbers in 'a'.* Set task: regression"),
    "text as numbers": (simple() + "x1,1,u\n", {"types": {"a": "numeric"}}, r"got 'x1' in row 41 \(one of 1\)"),
    "numbers as yes or no": (simple(), {"types": {"a": "boolean"}}, "expected true or false, yes or no"),
    "one class": (simple().replace("v\n", "u\n"), {}, r"expected two or more classes, got 1 \('u' in all 40 rows\)"),
    "single row": (simple() + "1,1,w\n", {}, r"expected two or more rows of every class, got 1 of 'w'"),
    "too few": (simple(6), {}, "expected 10 or more rows, got 6"),
    "text asked for": (
        csv(rows()),
        {"features": ("comment",)},
        r"data\.features: expected columns to learn from, got 'comment' \(free text",
    ),
    "target alone": ("y\n" + "u\nv\n" * 20, {}, "columns to learn from, got none beside the target. Add columns"),
    "nothing left": (csv(rows()), {"drop": ("height", "rooms", "color", "member")}, "expected one or more columns"),
}


@pytest.mark.parametrize(("text", "fields", "message"), BAD.values(), ids=BAD.keys())
def test_bad_tables(table, text, fields, message):
    with pytest.raises(DataError, match=message) as caught:
        table(text, **fields)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("text", "target", "message"),
    [
        (simple(), "y", "expected numbers for task regression, got 'u' in 'y'"),
        (simple().replace(",1,", ",0,").replace(",2,", ",0,"), "b", r"two or more distinct values, got 1 \(0 in all"),
        (simple() + "inf,1,u\n", "a", "expected finite numbers, got 1 infinite in column 'a'"),
    ],
)
def test_bad_regression_targets(table, text, target, message):
    with pytest.raises(DataError, match=message):
        table(text, "regression", target=target)


@pytest.mark.parametrize(
    ("content", "name"),
    [(gzip.compress(simple(400).encode())[:-300], "t.csv.gz"), (b"a,b\n", "t.csv.gz"), (b"PAR1junk", "t.parquet")],
)
def test_damaged_files(table, content, name):
    with pytest.raises(DataError, match=rf"expected a whole (file|Parquet file), got '{name}'"):
        table(content, name=name)


def test_a_truncated_parquet_file(table):
    stream = io.BytesIO()
    rows().to_parquet(stream)
    with pytest.raises(DataError, match="expected a whole Parquet file"):
        table(stream.getvalue()[:-40], name="t.parquet")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"features": ("a",), "drop": ("a",)}, r"data\.features: expected columns that are not in data\.drop, got 'a'"),
        ({"features": ("y",)}, r"data\.features: expected columns that are not in data\.target, got 'y'"),
        ({"group": "y"}, r"data\.group: expected another column than data\.target"),
    ],
)
def test_contradictions_are_config_errors(table, fields, message):
    with pytest.raises(ConfigError, match=message):
        table(simple(), **fields)


def test_numbers_with_a_typo_are_reported_not_lost(table):
    profile = table(simple(60).replace("\n", "\n12x,1,u\n", 1)).profile
    (left_out,) = profile["left_out"]
    assert left_out["name"] == "a"
    assert left_out["reason"] == (
        "text, though 60 of 61 of its distinct values are numbers ('12x' is none; `data.types: {…: numeric}` names its "
        "row)"
    )


def test_lists_are_no_categories():
    series = pd.Series([["a"], ["b"]], dtype=pd.ArrowDtype(pa.list_(pa.string())))
    with pytest.raises(DataError, match=r"^data\.types: expected categories in column 'c', got list<.*string>\."):
        recognise("c", series, "categorical", asked_for=True)

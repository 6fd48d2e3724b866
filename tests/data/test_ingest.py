from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.data
import pytest
from pydantic import TypeAdapter
from sklearn.datasets import load_diabetes, load_digits, load_iris

from data.config import DataConfig
from data.contract import ConfigError, DataError
from data.dataset import Dataset
from data.reading import read_input
from data.source_files import source_files
from pipeline.code_digest import Code

ROOT = Path(__file__).parents[2]


def config(**fields):
    return TypeAdapter(DataConfig).validate_python(fields)


def test_digits_are_pixels_of_0_to_255(ingested):
    dataset = ingested(source="builtin", name="digits")
    split = dataset.split("validation")
    expected = np.rint(load_digits().images[split.rows] * 255 / 16)
    assert split.x.dtype == np.uint8
    assert np.array_equal(split.x[..., 0], expected)
    assert dataset.profile["rows"] == {"total": 1797, "train": 1258, "validation": 270, "test": 269}
    assert dataset.profile["stored_range"] == [0.0, 255.0]
    inputs = dataset.inputs("train")
    assert (inputs.dtype, inputs.min(), inputs.max()) == (np.float32, 0.0, 1.0)
    assert dataset.raw("test") is not None
    assert np.array_equal(dataset.raw("test"), dataset.split("test").x)
    assert (dataset.folder / "labels.txt").read_text().split() == list("0123456789")


def test_digits_are_predicted_from_scikit_learns_own_units(ingested, tmp_path):
    dataset = ingested(source="builtin", name="digits")
    rows = dataset.split("test").rows
    np.save(tmp_path / "images.npy", load_digits().images[rows])
    assert np.array_equal(read_input(dataset.preprocessing, tmp_path / "images.npy").x, dataset.inputs("test"))
    np.save(tmp_path / "bright.npy", load_digits().images[rows] * 2)
    with pytest.raises(DataError, match="input: expected pixels of 0 to 16, or uint8 of 0 to 255, got 0 to 32"):
        read_input(dataset.preprocessing, tmp_path / "bright.npy")


def test_iris_keeps_its_names(ingested, tmp_path):
    dataset = ingested(source="builtin", name="iris")
    bunch = load_iris()
    assert dataset.schema.feature_names == tuple(bunch.feature_names)
    assert dataset.schema.class_names == ("setosa", "versicolor", "virginica")
    test = dataset.split("test")
    np.testing.assert_array_equal(dataset.raw("test"), bunch.data[test.rows].astype(np.float32))
    assert np.array_equal(test.y, bunch.target[test.rows])
    frame = pd.DataFrame(bunch.data, columns=bunch.feature_names).iloc[test.rows].iloc[:, ::-1]
    frame.to_csv(tmp_path / "iris.csv", index=False)
    assert np.array_equal(read_input(dataset.preprocessing, tmp_path / "iris.csv").x, dataset.inputs("test"))


def test_diabetes_is_measured_not_scaled(ingested):
    dataset = ingested("regression", source="builtin", name="diabetes")
    test = dataset.split("test")
    np.testing.assert_array_equal(dataset.raw("test"), load_diabetes(scaled=False).data[test.rows].astype(np.float32))
    np.testing.assert_allclose(
        dataset.preprocessing.inverse_target(test.y), load_diabetes().target[test.rows], rtol=1e-5
    )


@pytest.mark.parametrize(("name", "task"), [("diabetes", "classification"), ("iris", "regression")])
def test_a_task_that_does_not_fit(ingested, name, task):
    with pytest.raises(ConfigError, match=rf"task: expected .* for data\.name {name}, got {task}"):
        ingested(task, source="builtin", name=name)


@pytest.mark.parametrize("name", ["digits", "wine"])
def test_the_same_seed_makes_the_same_bytes(ingested, name):
    one, same, other = (ingested(seed=seed, source="builtin", name=name) for seed in (1, 1, 2))
    files = sorted(path.name for path in one.folder.iterdir())
    assert files == sorted(path.name for path in same.folder.iterdir())
    assert all((one.folder / file).read_bytes() == (same.folder / file).read_bytes() for file in files)
    assert one.profile["dataset_sha256"] != other.profile["dataset_sha256"]


def test_splits_are_disjoint_and_whole(ingested):
    dataset = ingested(source="builtin", name="breast_cancer")
    rows = np.concatenate([dataset.split(name).rows for name in ("train", "validation", "test")])
    assert sorted(rows) == list(range(569))
    training = dataset.inputs("train")
    np.testing.assert_allclose(training.mean(axis=0), 0.0, atol=0.05)
    assert np.abs(training).max() <= 4.0


def test_a_profile_is_plain_json_without_folders(table, tmp_path):
    dataset = table("a,y\n" + "".join(f"{row * row % 13},{'uv'[row % 2]}\n" for row in range(40)))
    text = json.dumps(dataset.profile, allow_nan=False)
    assert str(tmp_path) not in text
    assert str(tmp_path) not in (dataset.folder / "preprocessing.json").read_text()


def test_predict_reads_a_table(table, tmp_path):
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "size": generator.normal(size=80),
            "code": generator.choice(["1", "02", "x"], 80),
            "on": generator.choice(["yes", "no"], 80),
            "y": np.tile(["u", "v"], 40),
        }
    )
    frame.loc[::8, "size"] = np.nan
    dataset = table(frame.to_csv(index=False))
    rows = dataset.split("test").rows
    frame.iloc[rows][["on", "code", "size"]].to_csv(tmp_path / "some.csv", index=False)
    read = read_input(dataset.preprocessing, tmp_path / "some.csv")
    assert np.array_equal(read.x, dataset.inputs("test"))
    assert read.names[0] == "row 1"
    # A file in which every code looks like a number, and one is new, is still text.
    (tmp_path / "codes.csv").write_text("size,code,on\n1.5,02,yes\n,1,no\n2,7,\n")
    raw = read_input(dataset.preprocessing, tmp_path / "codes.csv").raw
    assert raw[:, 1].tolist() == [0.0, 1.0, -1.0]
    assert np.isnan(raw[1, 0])
    assert np.isnan(raw[2, 2])
    (tmp_path / "less.csv").write_text("Size,code\n1,x\n")
    with pytest.raises(DataError, match=r"got no 'size' \(the nearest is 'Size'\), 'on' in 'less\.csv'"):
        read_input(dataset.preprocessing, tmp_path / "less.csv")
    (tmp_path / "wrong.csv").write_text("size,code,on\nabc,x,yes\n")
    with pytest.raises(DataError, match="expected numbers in column 'size', got 'abc' in row 1"):
        read_input(dataset.preprocessing, tmp_path / "wrong.csv")
    with pytest.raises(DataError, match=r"input: expected a file or folder, got .*missing\.csv"):
        read_input(dataset.preprocessing, tmp_path / "missing.csv")
    with pytest.raises(DataError, match=r"expected a file that ends in \.csv"):
        read_input(dataset.preprocessing, tmp_path)


def test_a_folder_without_a_dataset(tmp_path, ingested):
    with pytest.raises(DataError, match=r"dataset: expected the file .*schema\.json"):
        Dataset.open(tmp_path)
    dataset = ingested(source="builtin", name="iris")
    whole = (dataset.folder / "test_x.npy").read_bytes()
    (dataset.folder / "test_x.npy").write_bytes(whole[:-8])
    with pytest.raises(DataError, match=r"dataset: expected an array in .*test_x\.npy"):
        dataset.split("test")
    with pytest.raises(ValueError, match="expected one of train, validation, test, got 'tset'"):
        dataset.split("tset")


def test_source_files(tmp_path):
    assert source_files(config(source="builtin", name="iris")) == []
    (tmp_path / "houses.csv").write_text("a")
    assert source_files(config(source="table", path=str(tmp_path / "houses.csv"), target="y")) == [
        tmp_path / "houses.csv"
    ]
    with pytest.raises(DataError, match=r"which does not exist \(the nearest is 'houses\.csv'\)\. Correct the path\."):
        source_files(config(source="table", path=str(tmp_path / "house.csv"), target="y"))
    (tmp_path / "houses.txt").write_text("a")
    with pytest.raises(DataError, match=r"expected a file that ends in \.csv, .*got 'houses\.txt'"):
        source_files(config(source="table", path=str(tmp_path / "houses.txt"), target="y"))


def test_paths_that_the_system_refuses(tmp_path):
    (tmp_path / "round.csv").symlink_to(tmp_path / "round.csv")
    for path, reason in (
        (tmp_path / f"{'x' * 300}.csv", r"x…' \(File name too long\)"),
        (tmp_path / "round.csv", r"round\.csv' \(Too many levels of symbolic links\)"),
        (tmp_path / "zero\0.csv", r"\(embedded null byte\)"),
    ):
        with pytest.raises(
            DataError, match=rf"^data\.path: expected a file or folder, got '.*{reason}\. Correct the path\."
        ):
            source_files(config(source="table", path=str(path), target="y"))
    np.save(tmp_path / "x.npy", np.zeros(3))
    with pytest.raises(DataError, match=r"data\.y: expected an array 'yyy"):
        source_files(config(source="arrays", path=str(tmp_path), y="y" * 300))
    np.save(tmp_path / f"{'y' * 248}.npy", np.zeros(3))  # with `_test` the name is too long to be there
    assert len(source_files(config(source="arrays", path=str(tmp_path), y="y" * 248))) == 2


def test_listing_sources_imports_nothing_heavy():
    code = (
        "import sys; import data.source_files, data.config; "
        "print([name for name in ('numpy', 'pandas', 'sklearn', 'PIL', 'pyarrow') if name in sys.modules])"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert finished.stdout.strip() == "[]"


def test_no_stage_depends_on_how_input_for_predictions_is_read():
    assert "data.reading" not in Code().parts([("data.ingest", None), ("data.dataset", None)])
    assert "data.reading" in Code().parts([("pipeline.predict", None)])


def test_reading_images_and_arrays_imports_neither_pandas_nor_scikit_learn():
    code = (
        "import sys; import data.dataset, data.reading, data.ingest, data.sources.arrays, data.sources.idx; "
        "print([name for name in ('pandas', 'sklearn', 'pyarrow', 'tensorflow') if name in sys.modules])"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert finished.stdout.strip() == "[]"


def test_gapminder_foretells_by_country(ingested):
    dataset = ingested("regression", source="builtin", name="gapminder")
    assert (dataset.schema.input_shape, dataset.schema.channel_names) == ((6, 2), ("lifeExp", "gdpPercap"))
    # 12 times of 142 countries: 6 windows of 6 times each, the seventh of which is foretold
    assert dataset.profile["rows"]["total"] == 142 * 6
    split_of = {}
    for each in dataset.profile["series"]["recordings"]:
        where = [split for split in ("train", "validation", "test") if each[split]]
        split_of[each["name"]] = where
        assert where == [where[0]]
        assert each[where[0]] == 6
    table = plotly.data.gapminder()
    values = dataset.preprocessing.inverse_target(dataset.split("test").y)
    for name, raw, value in zip(dataset.test_names(), dataset.raw("test"), values, strict=True):
        country, first = re.fullmatch(r"gapminder\.csv\.gz (.+) rows (\d+)-\d+", name).groups()
        rows = table.iloc[int(first) - 1 : int(first) + 6]
        assert set(rows["country"]) == {country}
        np.testing.assert_array_equal(raw, rows[["lifeExp", "gdpPercap"]].to_numpy(np.float32)[:6])
        assert value == pytest.approx(rows["lifeExp"].iloc[6], abs=1e-4)

"""Tasks that need no labels: every source without them, and `data.normal`."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image

from data.config import ImagesData, label_use
from data.contract import ConfigError, DataError
from data.dataset import Dataset
from data.image_folders import image_files
from data.preprocessing import Preprocessing
from data.reading import read_input
from data.source_files import source_files
from tests.data.conftest import make_config
from tests.data.test_idx import NAMES, write

ROWS = 40


def csv(with_target=True):
    generator = np.random.default_rng(3)
    lines = ["width,color,state"]
    for row in range(ROWS):
        state = ("runs", "fails", "odd")[0 if row < 24 else 1 if row < 32 else 2]
        lines.append(f"{generator.normal():.3f},{'red' if row % 3 else 'blue'},{state}")
    return "\n".join(lines if with_target else [line.rpartition(",")[0] for line in lines]) + "\n"


def rows_of(dataset):
    return {name: dataset.split(name).rows.tolist() for name in ("train", "validation", "test")}


def has_no_labels(dataset):
    assert dataset.schema.class_names == ()
    assert dataset.schema.target_name is None
    assert (dataset.preprocessing.target_mean, dataset.preprocessing.target_scale) == (0.0, 1.0)
    assert not dataset.preprocessing.predicts_a_number
    for name in ("train", "validation", "test"):
        y = dataset.split(name).y
        assert y.dtype == np.int32
        assert not y.any()
    assert dataset.profile["target"] == {}
    assert dataset.profile["class_balance"] is None
    assert "conflicting" not in dataset.profile["duplicates"]
    assert (dataset.folder / "labels.txt").read_text() == ""
    assert Preprocessing.from_json(dataset.preprocessing.to_json()) == dataset.preprocessing


@pytest.mark.parametrize("task", ["reconstruction", "clustering"])
def test_a_table_needs_no_target(table, tmp_path, task):
    dataset = table(csv(with_target=False), task, target=None)
    has_no_labels(dataset)
    assert dataset.schema.feature_names[0] == "width"
    assert sorted(row for rows in rows_of(dataset).values() for row in rows) == list(range(ROWS))
    assert "penjing_postprocess" not in (dataset.folder / "preprocessing.h").read_text()
    assert "penjing_postprocess" not in (dataset.folder / "preprocessing.c").read_text()
    (tmp_path / "more.csv").write_text(csv())  # a column that the model does not know
    read = read_input(dataset.preprocessing, tmp_path / "more.csv")
    assert np.array_equal(read.x[dataset.split("test").rows], dataset.inputs("test"))


def test_reconstruction_drops_a_target_without_normal_and_never_learns_from_it(table):
    dataset = table(csv().replace("runs", "", 1), "reconstruction", target="state")
    has_no_labels(dataset)
    assert {name.partition("=")[0] for name in dataset.schema.feature_names} == {"width", "color"}
    assert dataset.profile["rows"]["total"] == ROWS  # a row without a target is a row like others
    assert dataset.profile["source"]["target"] is None


def test_clustering_keeps_labels_to_compare_with_whatever_their_number(table):
    text = csv().replace("odd", "fails").replace("fails", "odd", 1)  # one row of a class
    dataset = table(text, "clustering", target="state")
    assert dataset.schema.class_names == ("fails", "odd", "runs")
    balance = dataset.profile["class_balance"]
    assert sum(split["odd"] for split in balance.values()) == 1
    assert not [warning for warning in dataset.profile["warnings"] if "class" in warning]
    with pytest.raises(
        DataError, match=r"^data.target: expected class labels for task clustering, got .* distinct num"
    ):
        table(csv(), "clustering", target="width")


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_missing_target_stays_an_error_where_labels_are_needed(table, task):
    with pytest.raises(ConfigError, match=rf"^data.target: expected a column for task {task}, got null. Name the col"):
        table(csv(), task, target=None)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("task", ["reconstruction", "clustering"])
def test_arrays_need_no_targets(ingested, tmp_path, task, packed):
    x = np.random.default_rng(0).normal(size=(30, 5))
    arrays = {"x": x[:24], "x_test": x[24:]}
    path = tmp_path / "data.npz" if packed else tmp_path / "data"
    if packed:
        np.savez(path, **arrays)
    else:
        path.mkdir()
        for name, array in arrays.items():
            np.save(path / f"{name}.npy", array)
    dataset = ingested(task, source="arrays", path=str(path))
    has_no_labels(dataset)
    assert rows_of(dataset)["test"] == list(range(24, 30))
    with pytest.raises(DataError, match=r"^data.y: expected an array 'y' in 'data(.npz)?', got none"):
        ingested("classification", source="arrays", path=str(path))
    with pytest.raises(DataError, match=r"^data.y: expected an array 'labels' in 'data(.npz)?', got none"):
        ingested("clustering", source="arrays", path=str(path), y="labels")


def test_arrays_with_targets_are_compared_or_dropped_and_the_digest_follows(ingested, tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(30, 5)))
    np.save(tmp_path / "y.npy", np.arange(30) % 3)
    fields = {"source": "arrays", "path": str(tmp_path)}
    assert ingested("clustering", **fields).schema.class_names == ("0", "1", "2")
    has_no_labels(ingested("reconstruction", **fields))
    names = {task: [path.name for path in source_files(make_config(**fields), task)] for task in TASKS}
    assert names == {task: ["x.npy"] if task == "reconstruction" else ["x.npy", "y.npy"] for task in TASKS}


TASKS = ("classification", "regression", "reconstruction", "clustering")


def test_idx_needs_no_labels(ingested, tmp_path):
    arrays = write(tmp_path / "mnist")
    fields = {"source": "idx", "path": str(tmp_path / "mnist")}
    assert ingested("clustering", **fields).schema.class_names == ("0", "1", "2")
    has_no_labels(ingested("reconstruction", **fields))
    for role in ("train_y", "test_y"):
        (tmp_path / "mnist" / NAMES[role]).unlink()
    for task in ("reconstruction", "clustering"):
        dataset = ingested(task, **fields)
        has_no_labels(dataset)
        assert np.array_equal(dataset.split("test").x[..., 0], arrays["test_x"])
    for task, more in (("classification", {}), ("reconstruction", {"normal": ("0",)})):
        with pytest.raises(DataError, match=r"^data.path: expected train-labels-idx1-ubyte or .* got neither"):
            ingested(task, **fields, **more)
    with pytest.raises(DataError, match="expected train-labels-idx1-ubyte"):
        ingested("clustering", **fields, class_names=("a", "b", "c"))


def pictures(folder, names):
    for position, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4), 5 * position, np.uint8)).save(path)


@pytest.mark.parametrize("task", ["reconstruction", "clustering"])
def test_images_need_no_folders_of_classes(ingested, tmp_path, task):
    names = [f"{place}{number:02}.png" for place in ("", "a/", "a/b/") for number in range(6)]
    pictures(tmp_path / "flat", names)
    dataset = ingested(task, source="images", path=str(tmp_path / "flat"), size=(4, 4))
    has_no_labels(dataset)
    assert dataset.profile["rows"]["total"] == 18
    assert not [warning for warning in dataset.profile["warnings"] if "outside" in warning]
    assert set(dataset.test_names()) <= set(names)
    read = read_input(dataset.preprocessing, tmp_path / "flat")
    found = [read.names.index(name) for name in dataset.test_names()]
    assert np.array_equal(read.x[found], dataset.inputs("test"))


@pytest.mark.parametrize("task", ["reconstruction", "clustering"])
def test_split_folders_hold_images_without_classes(ingested, tmp_path, task):
    pictures(tmp_path / "p", [f"train/{number}.png" for number in range(12)] + ["test/b.png", "test/x/a.png", "c.png"])
    dataset = ingested(task, source="images", path=str(tmp_path / "p"), size=(4, 4))
    has_no_labels(dataset)
    assert sorted(dataset.test_names()) == ["test/b.png", "test/x/a.png"]
    assert dataset.profile["warnings"][0].startswith("1 images lie outside of the split folders and are left out")
    shutil.rmtree(tmp_path / "p" / "test")
    (tmp_path / "p" / "test").mkdir()
    with pytest.raises(DataError, match=r"^data.path: expected PNG, JPEG or BMP files in 'test', got none"):
        ingested(task, source="images", path=str(tmp_path / "p"), size=(4, 4))


def test_folders_are_classes_of_clustering_alone_and_only_if_every_image_lies_in_one(tmp_path):
    pictures(tmp_path / "p", [f"{name}/{number}.png" for name in ("cat", "dog") for number in range(3)])
    names = lambda task: [file.class_name for file in image_files(tmp_path / "p", use(task))]  # noqa: E731
    use = lambda task: label_use(ImagesData(source="images", path="p"), task)  # noqa: E731
    assert names("clustering") == names("classification") == ["cat"] * 3 + ["dog"] * 3
    assert names("reconstruction") == [""] * 6
    pictures(tmp_path / "p", ["loose.png"])
    assert names("clustering") == [""] * 7
    assert names("classification") == ["cat"] * 3 + ["dog"] * 3


@pytest.mark.parametrize("task", ["reconstruction", "clustering"])
def test_builtin_data_serves_tasks_without_labels(ingested, task):
    has_no_labels(ingested(task, source="builtin", name="diabetes"))
    iris = ingested(task, source="builtin", name="iris")
    if task == "reconstruction":
        has_no_labels(iris)
    else:
        assert iris.schema.class_names == ("setosa", "versicolor", "virginica")


# --------------------------------------------------------------------------------- data.normal


def test_training_and_validation_hold_normal_rows_alone(table):
    dataset = table(csv(), "reconstruction", target="state", normal=("runs",), test_fraction=0.25)
    assert dataset.schema.class_names == ("normal", "abnormal")
    assert dataset.schema.target_name == "state"
    rows = rows_of(dataset)
    assert max(rows["train"] + rows["validation"]) < 24
    assert [row for row in rows["test"] if row >= 24] == list(range(24, 40))
    assert dataset.profile["class_balance"] == {
        "train": {"normal": 14, "abnormal": 0},
        "validation": {"normal": 4, "abnormal": 0},
        "test": {"normal": 6, "abnormal": 16},
    }
    test = dataset.split("test")
    assert np.array_equal(test.y, (test.rows >= 24).astype(np.int32))
    assert (dataset.folder / "labels.txt").read_text() == "normal\nabnormal\n"
    assert not [warning for warning in dataset.profile["warnings"] if "class" in warning or "no row of" in warning]


def test_normal_rows_are_stratified_by_their_classes(ingested):
    dataset = ingested("reconstruction", source="builtin", name="iris", normal=("virginica", "setosa"))
    for name, share in (("train", 35), ("validation", 7.5), ("test", 7.5)):
        rows = dataset.split(name).rows
        assert abs((rows < 50).sum() - share) <= 1  # setosa
        assert abs((rows >= 100).sum() - share) <= 1  # virginica
    assert sorted(row for row in rows_of(dataset)["test"] if 50 <= row < 100) == list(range(50, 100))


def test_a_shipped_test_split_keeps_its_abnormal_rows_and_those_of_training_are_left_out(ingested, tmp_path):
    arrays = write(tmp_path / "mnist")
    fields = {"source": "idx", "path": str(tmp_path / "mnist"), "class_names": ("boot", "bag", "coat")}
    dataset = ingested("reconstruction", **fields, normal=("bag",))
    assert dataset.profile["rows"] == {"total": 41, "train": 17, "validation": 3, "test": 21}
    for name in ("train", "validation"):
        split = dataset.split(name)
        assert (arrays["train_y"][split.rows] == 1).all()
        assert np.array_equal(split.x[..., 0], arrays["train_x"][split.rows])
    test = dataset.split("test")
    assert np.array_equal(test.y, (arrays["test_y"] != 1).astype(np.int32))
    assert np.array_equal(test.x[..., 0], arrays["test_x"])
    assert dataset.profile["warnings"][0] == (
        "40 abnormal rows outside of the test split are left out: nothing is learned from them."
    )


def test_groups_are_never_cut_by_normal_and_abnormal(table):
    generator = np.random.default_rng(0)
    lines = ["x,who,state"]
    for row in range(120):
        group = row // 10
        state = "ill" if (row % 10 == 0 or group == 11) else "well"
        lines.append(f"{generator.normal():.4f},{group},{state}")
    dataset = table(
        "\n".join(lines) + "\n", "reconstruction", target="state", group="who", normal=("well",), test_fraction=0.3
    )
    groups = {name: {row // 10 for row in rows} for name, rows in rows_of(dataset).items()}
    assert not groups["train"] & groups["test"] and not groups["validation"] & groups["test"]
    assert not groups["train"] & groups["validation"]
    assert 11 in groups["test"]
    ill = [row for row in range(120) if row % 10 == 0 or row // 10 == 11]
    kept = [row for row in ill if row // 10 in groups["test"]]
    assert [row for row in rows_of(dataset)["test"] if row in ill] == kept
    left_out = len(ill) - len(kept)
    assert (
        f"{left_out} abnormal rows are left out: other rows of their groups are in training or validation."
        in dataset.profile["warnings"]
    )
    assert dataset.profile["rows"]["total"] == 120 - left_out


@pytest.mark.parametrize(
    ("normal", "message"),
    [
        (
            ("run",),
            r"data.normal: expected classes of the data, got 'run' \(the nearest is 'runs'\). "
            r"Its classes are 'fails', 'odd', 'runs'.",
        ),
        (
            ("odd", "runs", "fails"),
            r"data.normal: expected abnormal rows in the test split, got none among 6. "
            r"Take a class out of data.normal, add rows of other classes, or leave data.normal out.",
        ),
    ],
)
def test_classes_that_cannot_be_normal(table, normal, message):
    with pytest.raises(DataError, match=f"^{message}$"):
        table(csv(), "reconstruction", target="state", normal=normal)


def test_normal_rows_must_be_there_to_learn_from_and_to_test_with(ingested, tmp_path):
    x = np.random.default_rng(0).normal(size=(40, 3))
    np.savez(tmp_path / "a.npz", x=x[:20], y=np.zeros(20, int), x_test=x[20:], y_test=np.ones(20, int))
    fields = {"source": "arrays", "path": str(tmp_path / "a.npz")}
    with pytest.raises(DataError, match=r"^data.normal: expected rows of '1' to learn from, got none. Add rows, or"):
        ingested("reconstruction", **fields, normal=("1",))
    with pytest.raises(
        DataError, match=r"^data.normal: expected normal rows in the test split too, got none among 20. Add rows of"
    ):
        ingested("reconstruction", **fields, normal=("0",))


def test_the_same_data_twice_is_the_same_bytes(table):
    first, second = (table(csv(), "reconstruction", target="state", normal=("runs",)) for _ in range(2))
    for path in sorted(first.folder.iterdir()):
        assert path.read_bytes() == (second.folder / path.name).read_bytes(), path.name
    assert Dataset.open(first.folder).num_unlabeled == 0

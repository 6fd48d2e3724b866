"""Series without labels, with normal windows, and with few labels."""

from __future__ import annotations

import numpy as np
import pytest

from data.contract import DataError
from data.source_files import source_files
from tests.data.conftest import make_config


def write(path, num_steps, seed, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).normal(size=(num_steps, 2)).round(4)
    rows = zip(values[:, 0], values[:, 1], *columns.values(), strict=True)
    path.write_text("\n".join([",".join(["a", "b", *columns]), *(",".join(map(str, row)) for row in rows)]) + "\n")


@pytest.fixture
def folder(tmp_path):
    """Eight recordings of two classes."""
    for number in range(8):
        write(tmp_path / "r" / ("walk", "run")[number % 2] / f"{number}.csv", 40 + 3 * number, number)
    return tmp_path / "r"


def test_series_need_no_labels(ingested, folder):
    fields = {"source": "series", "path": str(folder), "window": 8}
    dataset = ingested("reconstruction", **fields)
    assert (dataset.schema.class_names, dataset.schema.target_name) == ((), None)
    assert not dataset.split("train").y.any()
    assert [example["target"] for example in dataset.profile["series"]["examples"]] == [None] * 8
    assert "penjing_postprocess" not in (dataset.folder / "preprocessing.h").read_text()
    assert ingested("clustering", **fields).schema.class_names == ("run", "walk")
    flat = folder.parent / "flat"
    flat.mkdir()
    for path in folder.rglob("*.csv"):
        path.rename(flat / path.name)
    for task in ("reconstruction", "clustering"):
        dataset = ingested(task, **fields | {"path": str(flat)})
        assert dataset.schema.class_names == ()
        assert len(source_files(make_config(**fields | {"path": str(flat)}), task)) == 8
    with pytest.raises(DataError, match=r"^data.target: expected a column with the class of each step, or one folder"):
        ingested("classification", **fields | {"path": str(flat)})


def test_a_target_is_no_channel_even_where_it_is_not_read(ingested, tmp_path):
    labels = ["ok"] * 60 + [""] * 4 + ["bad"] * 16
    write(tmp_path / "a.csv", 80, 0, state=labels)
    fields = {"source": "series", "path": str(tmp_path / "a.csv"), "window": 4, "target": "state"}
    dataset = ingested("reconstruction", **fields)
    assert dataset.schema.channel_names == ("a", "b")
    assert dataset.profile["rows"]["total"] == 20  # that of no label too
    with pytest.raises(DataError, match=r"^data.target: expected a value for every window, got 1 of 20 without one"):
        ingested("clustering", **fields)


def test_training_and_validation_hold_normal_windows_alone(ingested, tmp_path):
    labels = ["ok"] * 20 + ["bad"] * 8 + ["ok"] * 120 + ["bad"] * 12
    write(tmp_path / "a.csv", 160, 0, state=labels)
    fields = {"source": "series", "path": str(tmp_path / "a.csv"), "window": 4, "target": "state", "normal": ("ok",)}
    dataset = ingested("reconstruction", **fields)
    assert dataset.schema.class_names == ("normal", "abnormal")
    for name in ("train", "validation"):
        assert not dataset.split(name).y.any()
    names, codes = dataset.test_names(), dataset.split("test").y
    bad = [int(name.rpartition("-")[2]) > 148 for name in names]
    assert codes.tolist() == [int(each) for each in bad]
    assert sum(bad) == 3
    text = "2 abnormal rows outside of the test split are left out: nothing is learned from them."
    assert text in dataset.profile["warnings"]
    assert dataset.raw("test").shape == (len(names), 4, 2)


@pytest.mark.parametrize("stride", [3, 10])
def test_no_abnormal_step_is_learned_from(ingested, tmp_path, stride):
    """A window that ends well may hold abnormal steps: here all abnormal runs are shorter than a window."""
    labels = [("bad" if 3 <= step % 20 < 6 else "odd" if step % 50 == 8 else "ok") for step in range(400)]
    write(tmp_path / "a.csv", 400, 0, state=labels)
    fields = {"source": "series", "path": str(tmp_path / "a.csv"), "window": 8, "stride": stride, "target": "state"}
    dataset = ingested("reconstruction", **fields, normal=("ok",))
    steps = np.loadtxt(tmp_path / "a.csv", delimiter=",", skiprows=1, usecols=(0, 1), dtype=np.float32)
    bad_values = {tuple(value) for value, label in zip(steps.tolist(), labels, strict=True) if label != "ok"}
    channels = dataset.preprocessing.series.channels
    mean, scale = (np.array([getattr(channel, name) for channel in channels]) for name in ("mean", "scale"))
    for name in ("train", "validation"):
        windows = np.round(dataset.split(name).x * scale + mean, 4).reshape(-1, 2)
        assert not bad_values & {tuple(value) for value in windows.astype(np.float32).tolist()}
    for name, code in zip(dataset.test_names(), dataset.split("test").y.tolist(), strict=True):
        first, last = map(int, name.rpartition(" ")[2].split("-"))
        assert code == int(any(label != "ok" for label in labels[first - 1 : last]))
    starts = range(0, 393, stride)
    kinds = [{label == "ok" for label in labels[start : start + 8]} for start in starts]
    told = f"{sum(len(kind) == 2 for kind in kinds)} of {len(kinds)} windows hold normal and abnormal steps and "
    assert told + "are abnormal." in dataset.profile["warnings"]
    # Dropped, they are nowhere: what is left is normal throughout, and there is nothing to test with.
    with pytest.raises(DataError, match=r"^data.normal: expected abnormal rows in the test split, got none among"):
        ingested("reconstruction", **fields, normal=("ok",), mixed_windows="drop")


def test_mixed_windows_of_normal_and_abnormal_steps_alone_are_dropped(ingested, tmp_path):
    labels = ["ok", "fine"] * 100 + ["ok", "ok", "bad", "bad"] + ["bad"] * 8 + ["fine"] * 8
    write(tmp_path / "a.csv", len(labels), 0, state=labels)
    fields = {"source": "series", "path": str(tmp_path / "a.csv"), "window": 4, "target": "state"}
    for mixed, abnormal in (("keep", 3), ("drop", 2)):
        dataset = ingested("reconstruction", **fields, normal=("ok", "fine"), mixed_windows=mixed)
        assert dataset.split("test").y.sum() == abnormal
        assert dataset.profile["rows"]["total"] == 53 - (mixed == "drop")  # two of 55 lie on borders of the blocks


def test_a_window_of_normal_steps_and_missing_labels_has_no_target(ingested, tmp_path):
    labels = ["ok"] * 100 + ["ok", "", "ok", "ok"] + ["", "bad", "", ""] + ["ok"] * 12
    write(tmp_path / "a.csv", len(labels), 0, state=labels)
    fields = {"source": "series", "path": str(tmp_path / "a.csv"), "window": 4, "target": "state", "normal": ("ok",)}
    with pytest.raises(DataError, match=r"^data.target: expected a value for every window, got 1 of 30 without one"):
        ingested("reconstruction", **fields)
    dataset = ingested("reconstruction", **fields, missing_target="drop_windows")
    assert dataset.split("test").y.sum() == 1
    assert "a.csv rows 105-108" in dataset.test_names()


def test_normal_steps_that_fill_no_window_are_told(ingested, tmp_path):
    write(tmp_path / "a.csv", 120, 0, state=["ok", "bad"] * 60)
    fields = {"source": "series", "path": str(tmp_path / "a.csv"), "window": 4, "target": "state", "normal": ("ok",)}
    with pytest.raises(DataError, match=r"^data.normal: expected rows of 'ok' to learn from, got none. Add rows"):
        ingested("reconstruction", **fields)


def test_few_windows_keep_their_labels(ingested, folder):
    fields = {"source": "series", "path": str(folder), "window": 8}
    whole, few = ingested(**fields), ingested(**fields, num_labels=6)
    aside = np.load(few.folder / "unlabeled_rows.npy")
    kept = few.split("train").rows
    assert sorted([*aside, *kept]) == whole.split("train").rows.tolist()
    assert np.array_equal(few.split("test").rows, whole.split("test").rows)
    before = np.bincount(whole.split("train").y)
    assert np.abs(np.bincount(few.split("train").y) - 6 * before / before.sum()).max() < 1.0
    # The figures of the channels are those of the labeled windows: back to raw by the ones, forth by the others.
    place = {row: position for position, row in enumerate(whole.split("train").rows.tolist())}
    mean, scale = (
        np.array([getattr(channel, name) for channel in whole.preprocessing.series.channels])
        for name in ("mean", "scale")
    )
    raw = whole.split("train").x[[place[row] for row in aside.tolist()]] * scale + mean
    stored = np.load(few.folder / "unlabeled_x.npy")
    assert stored.dtype == np.float32
    np.testing.assert_allclose(stored, few.preprocessing.transform(raw.astype(np.float32)), atol=1e-5)
    x, y = few.batches("pretrain", "full", 1).batch(0, 0)
    assert len(x) == len(whole.split("train"))
    assert (y == -1).sum() == len(aside) == few.num_unlabeled

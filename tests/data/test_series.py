from __future__ import annotations

import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from data.config import SeriesData
from data.contract import ConfigError, DataError
from data.dataset import Dataset
from data.reading import read_input
from data.source_files import source_files
from data.storage import BLOCK_BYTES


def signal(num_steps, seed=0, channels=2):
    return np.random.default_rng(seed).normal(size=(num_steps, channels)).round(4)


def write(path: Path, values, names=("a", "b"), **columns) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = ",".join([*names, *columns])
    rows = zip(*(values[:, place] for place in range(values.shape[1])), *columns.values(), strict=True)
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


@pytest.fixture
def folder(tmp_path):
    """Eight recordings of two classes, of different lengths."""
    root = tmp_path / "recordings"
    for number in range(8):
        values = signal(40 + 3 * number, number) + number % 2 * 2
        write(root / ("walk", "run")[number % 2] / f"{number}.csv", values)
    return root


def window_of(root: Path, name: str) -> np.ndarray:
    """Cuts a window by its name, with nothing but the text of its file."""
    file, first, last = re.fullmatch(r"(\S+)(?: \S+)? rows (\d+)-(\d+)", name).groups()
    lines = (root / file if root.is_dir() else root).read_text().splitlines()[1:]
    return np.array([line.split(",")[:2] for line in lines[int(first) - 1 : int(last)]], np.float32)


def test_windows_are_those_cut_by_hand(ingested, folder):
    dataset = ingested(source="series", path=str(folder), window=16, stride=5)
    names = dataset.test_names()
    raw = dataset.raw("test")
    assert raw.shape == (len(names), 16, 2)
    assert raw.dtype == np.float32
    for window, name in zip(raw, names, strict=True):
        assert np.array_equal(window, window_of(folder, name))
    # a recording of n steps has floor((n - 16) / 5) + 1 windows: n is 40, 43, …, 61
    assert dataset.profile["rows"]["total"] == sum((40 + 3 * number - 16) // 5 + 1 for number in range(8))
    classes = [dataset.schema.class_names[code] for code in dataset.split("test").y]
    assert classes == [name.split("/")[0] for name in names]
    assert (dataset.schema.kind, dataset.schema.input_shape) == ("series", (16, 2))
    assert (dataset.schema.input_range, dataset.schema.channel_names) == (None, ("a", "b"))
    assert (dataset.folder / "labels.txt").read_text() == "run\nwalk\n"


def test_channels_are_standardized_on_training_steps_each_once(ingested, folder):
    dataset = ingested(source="series", path=str(folder), window=16, stride=5)
    listed = dataset.profile["series"]["recordings"]
    training = [each for each in listed if each["train"] > 0]
    steps = []
    for each in training:
        lines = (folder / each["name"]).read_text().splitlines()[1:]
        covered = 16 + 5 * (each["train"] - 1)  # what is left over at the end lies in no window
        steps += [np.array(line.split(",")[:2], np.float32) for line in lines[:covered]]
    values = np.array(steps, np.float64)
    for place, channel in enumerate(dataset.preprocessing.series.channels):
        assert channel.mean == np.float32(values[:, place].mean())
        assert channel.scale == np.float32(values[:, place].std())
    raw = dataset.raw("validation")
    means, scales = (
        np.array([getattr(channel, each) for channel in dataset.preprocessing.series.channels], np.float32)
        for each in ("mean", "scale")
    )
    assert np.array_equal(dataset.inputs("validation"), np.clip((raw - means) / scales, -8, 8))


def test_outliers_are_clipped_at_eight_deviations(ingested, tmp_path):
    values = signal(400)
    values[350] = 1e4, -1e4
    write(tmp_path / "a.csv", values, y=["p", "q"] * 200)
    dataset = ingested(source="series", path=str(tmp_path / "a.csv"), window=7, target="y")
    assert dataset.profile["stored_range"] == [-8.0, 8.0]


def test_files_stay_in_one_split(ingested, folder):
    for seed in range(3):
        dataset = ingested(source="series", path=str(folder), window=16, stride=1, seed=seed)
        for each in dataset.profile["series"]["recordings"]:
            assert sum(each[split] > 0 for split in ("train", "validation", "test")) == 1, each


def test_a_group_of_many_files_stays_in_one_split(ingested, folder):
    for number, file in enumerate(sorted(folder.rglob("*.csv"))):
        lines = file.read_text().splitlines()
        person = f"p{number % 4}"
        file.write_text("\n".join([lines[0] + ",who", *(f"{line},{person}" for line in lines[1:])]) + "\n")
    dataset = ingested(source="series", path=str(folder), window=16, stride=3, group="who")
    splits: dict[str, set[str]] = {}
    for each in dataset.profile["series"]["recordings"]:
        where = {split for split in ("train", "validation", "test") if each[split] > 0}
        splits.setdefault(each["name"].split()[-1], set()).update(where)
    assert sorted(splits) == ["p0", "p1", "p2", "p3"]
    assert all(len(where) == 1 for where in splits.values())
    assert "who" not in dataset.schema.channel_names


def test_one_file_is_cut_in_time(ingested, tmp_path):
    values = signal(200)
    write(tmp_path / "log.csv", values, y=(values[:, 0] > 0).astype(int))
    dataset = ingested(source="series", path=str(tmp_path / "log.csv"), window=10, stride=4, target="y")
    # borders at steps 140 and 170: windows begin at 0, 4, …, 188; those of 10 steps across a border are nowhere
    expected = {
        "train": [start for start in range(0, 191, 4) if start + 10 <= 140],
        "validation": [start for start in range(0, 191, 4) if start >= 140 and start + 10 <= 170],
        "test": [start for start in range(0, 191, 4) if start >= 170],
    }
    for split in ("validation", "test"):
        windows = np.stack([values[start : start + 10] for start in expected[split]]).astype(np.float32)
        assert np.array_equal(dataset.raw(split), windows)
        last = [int(values[start + 9, 0] > 0) for start in expected[split]]
        assert dataset.split(split).y.tolist() == last
    assert dataset.profile["rows"]["train"] == len(expected["train"])
    lost = 48 - sum(map(len, expected.values()))
    assert (
        f"{lost} windows on a border between blocks of time are left out of all splits." in dataset.profile["warnings"]
    )
    assert dataset.schema.class_names == ("0", "1")


def test_split_folders_are_kept(ingested, folder):
    for split, numbers in (("train", range(6)), ("test", range(6, 8))):
        for number in numbers:
            name = f"{('walk', 'run')[number % 2]}/{number}.csv"
            (folder.parent / "split" / split / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).rename(folder.parent / "split" / split / name)
    dataset = ingested(source="series", path=str(folder.parent / "split"), window=16, validation_fraction=0.3)
    where = {each["name"]: each for each in dataset.profile["series"]["recordings"]}
    assert {name for name, each in where.items() if each["test"]} == {"test/walk/6.csv", "test/run/7.csv"}
    assert sum(1 for each in where.values() if each["validation"]) == 2
    assert dataset.profile["source"]["ships_splits"] is True


def test_shipped_splits_that_cut_through_a_group_are_refused(ingested, tmp_path):
    """Files of either split by the same people: the test would be of people whom the model has met."""
    for split in ("train", "test"):
        for number in range(6):
            who = "solo" if (split, number) == ("test", 5) else f"p{number}"
            write(
                tmp_path / "r" / split / f"{number}.csv",
                signal(40, number),
                who=[who] * 40,
                y=list("aaaaaaaabbbbbbbb" * 3)[:40],
            )
    fields = {"source": "series", "path": str(tmp_path / "r"), "window": 8, "target": "y"}
    message = (
        "data.group: expected each group of 'who' in one of the splits that the source ships, got 5 of 7 in several: "
        "'p0' (in train and test), 'p1' (in train and test), 'p2' (in train and test), 'p3' (in train and test), 'p4' "
        "(in train and test). Keep a group's files in the folder of one split, or put all files into one folder, whose "
        "groups are then divided."
    )
    for task in ("classification", "reconstruction"):
        with pytest.raises(DataError) as caught:
            ingested(task, **fields, group="who")
        assert str(caught.value) == message
    for number in range(5):
        (tmp_path / "r" / "test" / f"{number}.csv").unlink()
    dataset = ingested(**fields, group="who")
    assert {name.partition(" ")[0] for name in dataset.test_names()} == {"test/5.csv"}


def test_labels_of_mixed_windows(ingested, tmp_path):
    labels = list("aaaabbbbbbccaaaaaaabbbbcccaaaabbccccaabb") * 6
    write(tmp_path / "log.csv", signal(len(labels)), y=labels)

    def answers(**fields):
        dataset = ingested(source="series", path=str(tmp_path / "log.csv"), window=6, stride=2, target="y", **fields)
        found = []
        for split in ("validation", "test"):
            starts = [int(name) - 1 for name in re.findall(r"rows (\d+)", " ".join(dataset.test_names()))]
            codes = dataset.split(split).y
            found += [dataset.schema.class_names[code] for code in codes]
        return starts, found[-len(starts) :], dataset.profile

    starts, found, profile = answers()
    assert found == [labels[start + 5] for start in starts]
    assert any(
        "windows hold steps of several classes and have the class of their last step." in told
        for told in profile["warnings"]
    )

    def majority(window):
        counts = {name: window.count(name) for name in "abc"}
        most = [name for name in "abc" if counts[name] == max(counts.values())]
        return window[-1] if window[-1] in most else most[0]

    starts, found, _ = answers(window_label="majority")
    assert found == [majority(labels[start : start + 6]) for start in starts]
    assert found != [labels[start + 5] for start in starts]
    starts, found, profile = answers(mixed_windows="drop")
    assert all(len(set(labels[start : start + 6])) == 1 for start in starts)
    assert any("are left out (data.mixed_windows: drop)" in told for told in profile["warnings"])


def test_regression_foretells(ingested, tmp_path):
    values = signal(300)
    write(tmp_path / "log.csv", values, ("a", "y"))
    dataset = ingested(
        "regression",
        source="series",
        path=str(tmp_path / "log.csv"),
        window=8,
        stride=3,
        target="y",
        horizon=4,
        channels=("a", "y"),
    )
    starts = [int(re.search(r"rows (\d+)", name)[1]) - 1 for name in dataset.test_names()]
    # the block of the test begins at step 255: the target four steps on lies in it too
    assert starts == [start for start in range(0, 300 - 12 + 1, 3) if start >= 255]
    schema = dataset.schema
    found = schema.target_mean + schema.target_scale * dataset.split("test").y.astype(np.float64)
    np.testing.assert_allclose(found, [values[start + 11, 1] for start in starts], atol=1e-5)


def test_predict_reads_what_ingest_read(ingested, folder):
    dataset = ingested(source="series", path=str(folder), window=16, stride=5)
    read = read_input(dataset.preprocessing, folder)
    places = [read.names.index(name) for name in dataset.test_names()]
    assert np.array_equal(read.x[places], dataset.inputs("test"))
    assert np.array_equal(read.raw[places], dataset.raw("test"))
    one = read_input(dataset.preprocessing, folder / "walk" / "0.csv")
    assert one.names[:2] == ["0.csv rows 1-16", "0.csv rows 6-21"]
    assert len(one.names) == (40 - 16) // 5 + 1


def test_predict_tells_recordings_apart_where_it_can(ingested, tmp_path):
    groups = [f"g{number}" for number in range(5) for _ in range(20)]
    labels = ["ab"[number // 5 % 2] for number in range(100)]
    path = write(tmp_path / "log.csv", signal(100), t=list(range(20)) * 5, g=groups, y=labels)
    dataset = ingested(source="series", path=str(path), window=8, stride=4, target="y", group="g", time="t")
    read = read_input(dataset.preprocessing, path)
    assert read.names[:4] == [f"log.csv g0 rows {first}-{first + 7}" for first in (1, 5, 9, 13)]
    assert len(read.names) == 5 * 4
    write(tmp_path / "plain.csv", signal(30))
    assert read_input(dataset.preprocessing, tmp_path / "plain.csv").names[0] == "plain.csv rows 1-8"


def test_interleaved_groups_are_series_of_their_own(ingested, tmp_path):
    values = signal(200)
    groups = [f"g{step % 4}" for step in range(200)]
    path = write(tmp_path / "log.csv", values, g=groups, y=["p" if step // 4 % 2 else "q" for step in range(200)])
    dataset = ingested(source="series", path=str(path), window=5, target="y", group="g")
    name = dataset.test_names()[0]
    start, place = int(re.search(r"rows (\d+)", name)[1]) - 1, int(name.split()[1][1:])
    assert start % 4 == place
    assert np.array_equal(dataset.raw("test")[0], values[start : start + 20 : 4].astype(np.float32))


def test_gaps_are_bridged_by_straight_lines(ingested, tmp_path):
    values = signal(200).astype(object)
    values[150:153, 0], values[198:, 1] = "", ""
    path = write(tmp_path / "log.csv", values, y=[step // 10 % 2 for step in range(200)])
    config = {"source": "series", "path": str(path), "window": 10, "target": "y"}
    with pytest.raises(
        DataError,
        match=r"^data\.missing: expected a value in every step, got 3 missing in channel 'a' of 'log\.csv' "
        r"\(first in row 151\)\. Fill them in, or set data\.missing: interpolate\.$",
    ):
        ingested(**config)
    dataset = ingested(**config, missing="interpolate")
    window = dataset.raw("validation")[1]  # steps 150 to 159
    before, after = float(values[149, 0]), float(values[153, 0])
    np.testing.assert_allclose(window[:3, 0], before + (after - before) * np.array([1, 2, 3]) / 4, rtol=1e-6)
    assert (dataset.raw("test")[-1, 7:, 1] == np.float32(values[197, 1])).all()
    assert "5 missing cells are interpolated (data.missing: interpolate)." in dataset.profile["warnings"]


def test_columns_that_are_no_channels_are_told(ingested, tmp_path):
    values = signal(200)
    path = write(
        tmp_path / "log.csv",
        values,
        ("a", "b"),
        n=range(200),
        note=["x"] * 200,
        y=[step // 10 % 2 for step in range(200)],
    )
    dataset = ingested(source="series", path=str(path), window=10, target="y")
    assert dataset.schema.channel_names == ("a", "b")
    assert dataset.profile["left_out"] == [
        {"name": "n", "reason": "row numbers"},
        {"name": "note", "reason": "text"},
    ]
    asked = ingested(source="series", path=str(path), window=10, target="y", channels=("n", "a"))
    assert asked.schema.channel_names == ("n", "a")


def test_uneven_times_are_told(ingested, tmp_path):
    times = [f"2026-01-01 00:{step // 60:02d}:{step % 60:02d}" for step in range(200)]
    times[120:] = [f"2026-01-01 01:{step // 60:02d}:{step % 60:02d}" for step in range(120, 200)]
    path = write(tmp_path / "log.csv", signal(200), t=times, y=[step // 10 % 2 for step in range(200)])
    dataset = ingested(source="series", path=str(path), window=10, target="y", time="t")
    assert any(
        told.startswith("Steps in 't' are uneven in 1 of 1 series: in 'log.csv' one is 3.6e+03 times the median.")
        for told in dataset.profile["warnings"]
    )


def test_the_same_bytes_twice_whatever_the_blocks(ingested, folder, monkeypatch):
    fields = {"source": "series", "path": str(folder), "window": 16, "stride": 3}
    first = ingested(**fields)
    monkeypatch.setattr("data.storage.BLOCK_BYTES", 1000)
    second = ingested(**fields)
    assert BLOCK_BYTES > 1000
    for file in sorted(first.folder.iterdir()):
        assert file.read_bytes() == (second.folder / file.name).read_bytes(), file.name


def test_files_that_matter_are_listed(folder, tmp_path):
    (folder / "walk" / "notes.txt").write_text("no table")
    files = source_files(SeriesData(source="series", path=str(folder), window=8))
    assert [file.name for file in files] == [f"{number}.csv" for number in (1, 3, 5, 7, 0, 2, 4, 6)]
    assert source_files(SeriesData(source="series", path=str(folder / "walk" / "0.csv"), window=8, target="y")) == [
        folder / "walk" / "0.csv"
    ]


def test_examples_are_training_windows_of_each_class(ingested, folder):
    dataset = ingested(source="series", path=str(folder), window=16, stride=5)
    examples = dataset.profile["series"]["examples"]
    assert [example["target"] for example in examples] == ["run", "walk"]
    for example in examples:
        np.testing.assert_allclose(
            np.array(list(example["values"].values())).T, window_of(folder, example["name"]), rtol=1e-5
        )


def refused(ingested, message, task="classification", kind=DataError, **fields):
    with pytest.raises(kind) as caught:
        ingested(task, **({"source": "series", "window": 8} | fields))
    assert str(caught.value) == message


def alternating(num_steps):
    return [step // 5 % 2 for step in range(num_steps)]


def test_windows_longer_than_a_series(ingested, folder):
    refused(
        ingested,
        "data.window: expected windows no longer than any series, got 47 steps with 'walk/0.csv' of 40 rows (3 of 8 "
        "series are shorter). Set data.window to 40 or less, or take the short ones out.",
        path=str(folder),
        window=47,
    )
    path = write(folder.parent / "log.csv", signal(50), y=alternating(50))
    refused(
        ingested,
        "data.window: expected windows no longer than any series, got 48 steps and 5 of horizon with 'log.csv' of 50 "
        "rows. Set data.window to 45 or less, or take the short ones out.",
        path=str(path),
        target="y",
        window=48,
        horizon=5,
    )


def test_blocks_of_time_that_hold_no_window(ingested, tmp_path):
    path = write(tmp_path / "log.csv", signal(50), y=alternating(50))
    refused(
        ingested,
        "data.window: expected windows that fit into the validation block of a series, got 8 steps with blocks of 7 or "
        "less (of the 50 rows of 'log.csv'). Use shorter windows, larger fractions, or longer series.",
        path=str(path),
        target="y",
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "data.path: expected a table with a header, got '1.csv', which is empty. Check the file."),
        ("a,b\n", "data.path: expected one or more rows, got none in '1.csv'. Check the file."),
        (
            "a,c\n1,2\n3,4\n",
            "data.channels: expected a column of every file, got 'b', which 'run/1.csv' lacks. Name one of its "
            "columns: 'a', 'c'.",
        ),
        (
            "a,b,c\n1,2,3\n3,4,5\n",
            "data.channels: expected the same columns in every file, got 'c' in 'run/1.csv', which 'run/0.csv' lacks. "
            "Name the columns to learn from.",
        ),
        (
            "a,b\n1,2\nx,4\n",
            "data.channels: expected numbers in column 'a' of 'run/1.csv', got 'x' in row 2 (one of 1). Correct "
            "them, or leave the column out of data.channels.",
        ),
        (
            "a,b\n1,2\ninf,4\n",
            "data.path: expected finite numbers, got 1 infinite in column 'a' of 'run/1.csv' (first in row 2). Correct "
            "them, or leave them empty as missing.",
        ),
        (
            "a,b\n1,2\n1e39,4\n",
            "data.channels: expected numbers within ±3.4e38, got larger in column 'a' of 'run/1.csv'. Scale or drop "
            "the column.",
        ),
    ],
)
def test_files_that_are_wrong(ingested, folder, content, message):
    write(folder / "run" / "0.csv", signal(40))
    (folder / "run" / "1.csv").write_text(content)
    refused(ingested, message, path=str(folder))


def test_text_among_numbers_is_no_reason_to_lose_a_channel(ingested, tmp_path):
    values = signal(100).astype(object)
    values[41, 1] = "n.k."
    path = write(tmp_path / "log.csv", values, y=alternating(100))
    refused(
        ingested,
        "data.channels: expected numbers in column 'b' of 'log.csv', got 'n.k.' in row 42 (one of 1). Correct them, "
        "or name the columns to learn from in data.channels.",
        path=str(path),
        target="y",
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"channels": ("a", "bb"), "target": "y"},
            "data.channels: expected a column of every file, got 'bb', which 'log.csv' lacks (the nearest is 'b'). "
            "Name one of its columns: 'a', 'b', 't', 'y', 'g', 'e'.",
        ),
        (
            {"target": "yy"},
            "data.target: expected a column of every file, got 'yy', which 'log.csv' lacks (the nearest is 'y'). "
            "Name one of its columns: 'a', 'b', 't', 'y', 'g', 'e'.",
        ),
        (
            {"target": "y", "time": "t"},
            "data.time: expected times that rise from row to row, got one in row 61 of 'log.csv' that is not after the "
            "one before it, in 't'. Sort the rows, or name in data.group the column that tells recordings apart.",
        ),
        (
            {"target": "y", "time": "g"},
            "data.time: expected numbers or dates in 'g' of 'log.csv', got 'one'. Write dates as 2026-01-31 12:00:00, "
            "or leave data.time out.",
        ),
        (
            {"target": "y", "group": "g"},
            "data.split_by: expected 3 or more groups in 'g' to divide, one a split at least, got 2. Name another "
            "column, or add recordings.",
        ),
        (
            {"target": "y", "split_by": "group"},
            "data.split_by: expected 3 or more files to divide, one a split at least, got 1. Set data.split_by: time, "
            "or add recordings.",
        ),
        (
            {"target": "e", "channels": ("a",)},
            "data.target: expected a value for every window, got 15 of 15 without one in 'e' (first: "
            "'log.csv rows 1-8'). Name another column.",
        ),
        (
            {},
            "data.target: expected a column with the class of each step, or one folder a class, got neither for "
            "'log.csv'. Name the column, or sort the files into folders.",
        ),
    ],
)
def test_columns_that_do_not_fit(ingested, tmp_path, fields, message):
    path = write(
        tmp_path / "log.csv",
        signal(120),
        t=[*range(60), *range(60)],
        y=alternating(120),
        g=["one"] * 60 + ["two"] * 60,
        e=["x", *[""] * 119],
    )
    refused(ingested, message, path=str(path), **({"channels": ("a", "b")} | fields))


def test_targets_that_are_missing(ingested, tmp_path):
    labels = [("p", "q")[step // 8 % 2] for step in range(240)]
    labels[47] = ""
    path = write(tmp_path / "log.csv", signal(240), y=labels)
    refused(
        ingested,
        "data.target: expected a value for every window, got 1 of 30 without one in 'y' (first: 'log.csv rows 41-48'). "
        "Fill them in, or set data.missing_target: drop_windows.",
        path=str(path),
        target="y",
    )
    dataset = ingested(source="series", path=str(path), target="y", window=8, missing_target="drop_windows")
    assert "1 windows without a target are left out (data.missing_target: drop_windows)." in dataset.profile["warnings"]


def test_targets_that_do_not_fit_the_task(ingested, folder, tmp_path):
    refused(
        ingested,
        "data.target: expected a column of numbers for task regression, got none. Name one; folders are classes.",
        "regression",
        ConfigError,
        path=str(folder),
    )
    path = write(tmp_path / "log.csv", signal(100), y=["p", "q"] * 50)
    refused(
        ingested,
        "data.target: expected numbers for task regression, got 'p' in 'y' of 'log.csv'. Set task: classification, or "
        "name a column of numbers.",
        "regression",
        path=str(path),
        target="y",
    )


def test_a_class_of_one_split_alone(ingested, tmp_path):
    path = write(tmp_path / "log.csv", signal(400), y=["p", "q"] * 150 + ["r"] * 100)
    refused(
        ingested,
        "data.target: expected training rows of every class, got none of 'r'. Its rows all fall into groups or blocks "
        "of time of other splits, or into the source's own test split: add rows or drop it.",
        path=str(path),
        target="y",
        stride=3,
    )


def test_folders_that_are_wrong(ingested, tmp_path, folder):
    (folder / "empty").mkdir()
    refused(
        ingested,
        "data.path: expected files that end in .csv, .tsv, .csv.gz, .tsv.gz, .parquet, "
        ".jsonl, .ndjson, .jsonl.gz, .ndjson.gz in 'recordings', got none in "
        "'empty'. Add files, or remove the folder.",
        path=str(folder),
    )
    (folder / "empty").rmdir()
    (tmp_path / "log.txt").write_text("a\n1\n")
    refused(
        ingested,
        "data.path: expected a folder, or a file that ends in .csv, .tsv, .csv.gz, .tsv.gz, .parquet, "
        ".jsonl, .ndjson, .jsonl.gz, .ndjson.gz, got 'log.txt'. "
        "Convert it.",
        path=str(tmp_path / "log.txt"),
    )
    write(folder / "loose.csv", signal(40))
    dataset = ingested(source="series", path=str(folder), window=8)
    assert any("1 tables lie outside of the class and split folders" in told for told in dataset.profile["warnings"])


def test_constant_channels(ingested, tmp_path):
    values = signal(200)
    values[:, 1] = 3.25
    path = write(tmp_path / "log.csv", values, y=alternating(200))
    dataset = ingested(source="series", path=str(path), window=8, target="y")
    channel = dataset.preprocessing.series.channels[1]
    assert (channel.mean, channel.scale) == (3.25, 1.0)
    assert "Channel 'b' is constant in the training windows: it says nothing." in dataset.profile["warnings"]
    refused(
        ingested,
        "data.channels: expected one or more channels that vary, got 'b' constant in all training windows. Name "
        "others.",
        path=str(path),
        target="y",
        channels=("b",),
    )


def test_predict_refuses_what_ingest_would(ingested, folder, tmp_path):
    dataset = ingested(source="series", path=str(folder), window=16, stride=5)
    short = write(tmp_path / "short.csv", signal(9))
    with pytest.raises(DataError, match=r"got 16 steps with 'short\.csv' of 9 rows"):
        read_input(dataset.preprocessing, short)
    other = write(tmp_path / "other.csv", signal(20), ("a", "c"))
    with pytest.raises(DataError, match=r"got 'b', which 'other\.csv' lacks"):
        read_input(dataset.preprocessing, other)


def test_parquet_and_tsv_are_read_alike(ingested, tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(signal(200), columns=["a", "b"]).assign(y=alternating(200))
    frame.to_csv(tmp_path / "log.csv", index=False)
    frame.to_csv(tmp_path / "log.tsv.gz", index=False, sep="\t")
    frame.to_parquet(tmp_path / "log.parquet", index=False)
    found = [
        ingested(source="series", path=str(tmp_path / name), window=8, target="y")
        for name in ("log.csv", "log.tsv.gz", "log.parquet")
    ]
    digests = {Dataset.open(each.folder).profile["dataset_sha256"] for each in found}
    assert len(digests) == 1


def test_windows_are_never_in_memory_together(ingested, tmp_path, monkeypatch):
    """Windows of 256 steps that begin at every step take 256 times what the recording takes."""
    monkeypatch.setattr("data.storage.BLOCK_BYTES", 2**20)
    values = signal(12_000, channels=1)
    path = write(tmp_path / "log.csv", values, ("a",), y=[step // 500 % 2 for step in range(12_000)])
    fields = {"source": "series", "path": str(path), "target": "y", "window": 256}
    ingested(**fields, stride=200)  # what is imported once
    tracemalloc.start()
    try:
        dataset = ingested(**fields, stride=1)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert dataset.split("train").x.nbytes > 8e6
    assert peak < 8e6

"""Rows without labels beside the labeled ones: which they are, how they are stored, and how they are shuffled in."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data.batches import JoinedRows
from data.contract import DataError, derive_seed
from data.source_files import source_files
from data.sources.loaded import Loaded, Targets
from data.splits import TRAIN, UNLABELED, keep_labels
from tests.data.conftest import make_config
from tests.data.test_idx import NAMES, write

DIGITS = {"source": "builtin", "name": "digits"}


def splits(dataset):
    return {name: dataset.split(name).rows.tolist() for name in ("train", "validation", "test")}


def stored(dataset, part="x"):
    return np.load(dataset.folder / f"unlabeled_{part}.npy")


def test_the_training_rows_are_the_same_with_and_without_labels(ingested):
    whole, few = ingested(**DIGITS), ingested(**DIGITS, num_labels=50)
    before, after = splits(whole), splits(few)
    assert (before["validation"], before["test"]) == (after["validation"], after["test"])
    aside = stored(few, "rows").tolist()
    assert sorted(after["train"] + aside) == before["train"]
    assert len(after["train"]) == 50 == few.profile["rows"]["train"]
    assert few.num_unlabeled == len(aside) == few.profile["rows"]["unlabeled"]
    place = {row: position for position, row in enumerate(before["train"])}
    original = whole.split("train")
    for rows, x in ((after["train"], few.split("train").x), (aside, stored(few))):
        assert np.array_equal(x, original.x[[place[row] for row in rows]])
    kept = few.split("train")
    assert np.array_equal(kept.y, original.y[[place[row] for row in kept.rows.tolist()]])


def test_each_class_keeps_its_share_of_the_labels(ingested):
    whole, few = ingested(**DIGITS), ingested(**DIGITS, num_labels=100)
    before, after = np.bincount(whole.split("train").y), np.bincount(few.split("train").y)
    assert after.sum() == 100
    assert np.abs(after - 100 * before / before.sum()).max() < 1.0


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(1, 40), min_size=2, max_size=6), seed=st.integers(0, 99), share=st.floats(0.0, 1.0))
def test_labels_are_kept_by_largest_remainders_and_every_class_has_one(sizes, seed, share):
    codes = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    loaded = Loaded(Targets(codes, tuple(map(str, range(len(sizes))))), {}, np.arange(len(codes)))
    wanted = max(len(sizes), round(share * len(codes)))
    result = keep_labels(loaded, np.zeros(len(codes), np.int8), wanted, seed)
    assert set(result.tolist()) <= {TRAIN, UNLABELED}
    counts = np.bincount(codes[result == TRAIN], minlength=len(sizes))
    assert counts.sum() == wanted
    assert counts.min() >= 1
    exact = wanted * np.array(sizes) / len(codes)
    if exact.min() >= 1:
        assert np.abs(counts - exact).max() < 1.0


def test_labels_of_a_regression_are_kept_all_over_their_range(ingested):
    whole = ingested("regression", source="builtin", name="diabetes")
    few = ingested("regression", source="builtin", name="diabetes", num_labels=31)
    values = whole.preprocessing.inverse_target(whole.split("train").y)
    kept = few.preprocessing.inverse_target(few.split("train").y)
    edges = np.quantile(values, np.linspace(0, 1, 11)[1:-1])
    assert np.abs(np.bincount(np.searchsorted(edges, kept), minlength=10) - 3.1).max() < 2.0
    # Figures of the training split are those of the rows that keep their labels.
    assert few.schema.target_mean == pytest.approx(kept.mean())
    age = few.preprocessing.columns[0]
    assert age.mean == pytest.approx(_ages(whole)[few.split("train").rows].mean(), rel=1e-6)


def _ages(dataset):
    from sklearn.datasets import load_diabetes

    return load_diabetes(scaled=False).data[:, 0]


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (9, "expected a label of each of 10 classes at least, got 9. Ask for more."),
        (1259, "expected at most the 1258 training rows, got 1259. Ask for fewer, or leave it out."),
    ],
)
def test_numbers_of_labels_that_cannot_be(ingested, number, message):
    with pytest.raises(DataError, match=f"^data.num_labels: {message}$"):
        ingested(**DIGITS, num_labels=number)


def test_all_labels_may_be_kept(ingested):
    dataset = ingested(**DIGITS, num_labels=1258)
    assert dataset.num_unlabeled == 0
    assert not (dataset.folder / "unlabeled_x.npy").exists()
    assert "unlabeled" not in dataset.profile["rows"]
    for index in range(3):
        train, pretrain = (dataset.batches(name, 100, 5).batch(1, index) for name in ("train", "pretrain"))
        assert all(np.array_equal(one, other) for one, other in zip(train, pretrain, strict=True))


@pytest.mark.parametrize("kept_inputs", [None, (3, 20, 33)])
def test_pretraining_passes_over_all_rows_in_an_order_of_seed_and_epoch_alone(ingested, kept_inputs):
    dataset = ingested(**DIGITS, num_labels=40).keeping(kept_inputs)
    train, aside = dataset.split("train"), stored(dataset)
    x = np.concatenate([train.x, aside]).astype(np.float32) / np.float32(255.0)
    x = x if kept_inputs is None else x.reshape(len(x), -1)[:, kept_inputs]
    y = np.concatenate([train.y, np.full(len(aside), -1, np.int32)])
    batches = dataset.batches("pretrain", 64, seed=9)
    assert batches.num_rows == 1258
    for epoch in (0, 3):
        seed = derive_seed(9, "shuffle", str(epoch))
        order = np.random.Generator(np.random.PCG64(seed)).permutation(1258)
        for index in (19, 0, 7):  # the last one is smaller
            found = batches.batch(epoch, index)
            rows = order[64 * index : 64 * (index + 1)]
            assert found[0].dtype == np.float32
            assert found[1].dtype == np.int32
            assert np.array_equal(found[0], x[rows])
            assert np.array_equal(found[1], y[rows])
    assert np.array_equal(dataset.batches("pretrain", 64, seed=9).batch(3, 7)[0], found[0])
    assert dataset.batches("pretrain", "full", seed=9).num_batches == 1
    assert dataset.batches("train", 64, seed=9).num_rows == 40
    own = dataset.batches("pretrain", 64, 9, targets=np.arange(1258)).batch(0, 2)[1]
    assert np.array_equal(
        own, np.random.Generator(np.random.PCG64(derive_seed(9, "shuffle", "0"))).permutation(1258)[128:192]
    )


def test_unknown_numbers_are_nan(ingested):
    dataset = ingested("regression", source="builtin", name="diabetes", num_labels=20)
    y = dataset.batches("pretrain", "full", seed=1).batch(0, 0)[1]
    assert y.dtype == np.float32
    assert np.isnan(y).sum() == dataset.num_unlabeled == len(y) - 20


def test_joined_rows_are_those_of_the_arrays_one_after_the_other():
    parts = [np.arange(6).reshape(3, 2), np.arange(10, 14).reshape(2, 2)]
    joined = JoinedRows(parts)
    assert len(joined) == 5
    rows = np.array([4, 0, 3, 3, 1])
    assert np.array_equal(joined[rows], np.concatenate(parts)[rows])


# ------------------------------------------------------------------------------- data.unlabeled


def csv(rows, seed, target=True):
    generator = np.random.default_rng(seed)
    lines = ["width,color,y"]
    lines += [f"{generator.normal(seed, 1 + seed):.3f},{'red' if row % 3 else 'blue'},{row % 2}" for row in range(rows)]
    return "\n".join(lines if target else [line.rpartition(",")[0] for line in lines]) + "\n"


def test_a_table_goes_through_the_preprocessing_of_the_labeled_rows(table, tmp_path):
    (tmp_path / "more.csv").write_text("junk,color,width\n1,red,2.5\n2,,3.5\n3,green,\n")
    labeled = table(csv(40, 0))
    both = table(csv(40, 0), unlabeled={"source": "table", "path": str(tmp_path / "more.csv")})
    assert splits(both) == splits(labeled)
    assert both.preprocessing == labeled.preprocessing
    color, width = (both.preprocessing.columns[position] for position in (1, 0))
    raw = np.array([[2.5, 1.0], [3.5, np.nan], [np.nan, -1.0]], np.float32)
    expected = np.concatenate(
        [width.encode(raw[:, 0], both.preprocessing.clip), color.encode(raw[:, 1], both.preprocessing.clip)], axis=1
    )
    assert np.array_equal(stored(both), expected)
    assert stored(both).dtype == np.float32
    assert stored(both, "rows").tolist() == [0, 1, 2]
    assert both.profile["rows"] == {"total": 43, "train": 28, "validation": 6, "test": 6, "unlabeled": 3}
    assert both.profile["unlabeled"] == {
        "rows": 3,
        "set_aside": 0,
        "source": {"source": "table", "file": "more.csv"},
        "also_in": {"validation": 0, "test": 0},
    }


def test_both_kinds_of_rows_without_labels_lie_one_after_the_other(table, tmp_path):
    (tmp_path / "more.csv").write_text(csv(7, 0, target=False))
    fields = {"num_labels": 4, "unlabeled": {"source": "table", "path": str(tmp_path / "more.csv")}}
    dataset = table(csv(40, 0), **fields)
    positions = stored(dataset, "rows").tolist()
    assert positions[24:] == list(range(7))
    assert sorted(positions[:24] + dataset.split("train").rows.tolist()) == splits(table(csv(40, 0)))["train"]
    assert dataset.profile["unlabeled"]["set_aside"] == 24
    assert dataset.profile["rows"]["total"] == 47
    assert dataset.profile["stored_bytes"] == sum(
        path.stat().st_size for path in dataset.folder.glob("*.npy") if "raw" not in path.name
    )
    shared = dataset.profile["unlabeled"]["also_in"]["test"]  # the seven are also rows of the labeled table
    assert shared == sum(row < 7 for row in splits(dataset)["test"])


def test_the_digest_and_the_files_cover_rows_without_labels(table, tmp_path):
    more = tmp_path / "more.csv"
    fields = {"unlabeled": {"source": "table", "path": str(more)}}
    digests = []
    for text in (csv(7, 1), csv(7, 2), csv(7, 1)):
        more.write_text(text)
        dataset = table(csv(40, 0), **fields)
        digests.append(dataset.profile["dataset_sha256"])
    assert digests[0] == digests[2] != digests[1]
    assert table(csv(40, 0)).profile["dataset_sha256"] not in digests
    config = make_config(source="table", path=str(tmp_path / "table.csv"), target="y", **fields)
    assert source_files(config) == [tmp_path / "table.csv", more]


def test_pretraining_on_rows_of_the_test_split_is_told(table, tmp_path):
    (tmp_path / "table.csv").write_text(csv(40, 0))
    dataset = table(csv(40, 0), unlabeled={"source": "table", "path": str(tmp_path / "table.csv")})
    told = [text for text in dataset.profile["warnings"] if "without labels" in text]
    assert told == [
        "6 rows without labels also occur in the validation split, input for input: pretraining sees them.",
        "6 rows without labels also occur in the test split, input for input: pretraining sees them.",
    ]


@pytest.mark.parametrize(
    ("text", "missing", "message"),
    [
        (
            "widht,color\n1,red\n",
            "impute",
            r"data.unlabeled.path: expected the columns the model learned from, got no 'width' \(the nearest is "
            r"'widht'\) in 'more.csv'. Add or rename the columns.",
        ),
        (
            "width,color\n1,red\n,red\n",
            "error",
            r"data.unlabeled.path: expected a value in every feature, got 1 rows in 'more.csv' that lack one \(first "
            r"in row 2\). Fill them in, or set data.missing to impute or drop_rows.",
        ),
        (
            "width,color\n,red\n",
            "drop_rows",
            r"data.unlabeled.path: expected one or more rows, got none that can be used in 'more.csv'. Check it.",
        ),
        (
            "width,color\n1,red\nwide,red\n",
            "impute",
            r"data.unlabeled.path: expected numbers in column 'width', got 'wide' in row 2 \(one of 1\), in "
            r"'/.*/more.csv'. Correct the file: its values must be of the types that the labeled rows have.",
        ),
        (
            "width,color\n1e300,red\n",
            "impute",
            r"data.unlabeled.path: expected numbers within ±3.4e38, got larger in column 'width', in '/.*/more.csv'. "
            r"Correct the file: its values must be of the types that the labeled rows have.",
        ),
        (
            "width,color\n1e999,red\n",
            "impute",
            r"data.unlabeled.path: expected finite numbers, got 1 infinite in column 'width' \(first in row 1\), in "
            r"'/.*/more.csv'. Correct them, or leave them empty as missing.",
        ),
        (
            "width,color\n1,red,2\n",
            "impute",
            r"data.unlabeled.path: expected 2 values in every row, got 3 in line 2 of 'more.csv'. Correct the line.*",
        ),
        (None, "impute", r"data.unlabeled.path: expected a file or folder, got '.*more.csv', which does not exist.*"),
    ],
)
def test_tables_without_labels_that_cannot_be_used(table, tmp_path, text, missing, message):
    if text is not None:
        (tmp_path / "more.csv").write_text(text)
    with pytest.raises(DataError, match=f"^{message}$"):
        table(csv(40, 0), missing=missing, unlabeled={"source": "table", "path": str(tmp_path / "more.csv")})


def test_rows_that_lack_a_feature_are_left_out_where_the_config_says_so(table, tmp_path):
    (tmp_path / "more.csv").write_text("width,color\n1,red\n,red\n2,blue\n")
    fields = {"missing": "drop_rows", "unlabeled": {"source": "table", "path": str(tmp_path / "more.csv")}}
    dataset = table(csv(40, 0), **fields)
    assert stored(dataset, "rows").tolist() == [0, 2]
    assert "1 rows without labels that lack a feature are left out (data.missing)." in dataset.profile["warnings"]


def test_images_arrays_and_idx_files_all_serve_images(ingested, tmp_path):
    write(tmp_path / "mnist")
    labeled = {"source": "idx", "path": str(tmp_path / "mnist")}
    pixels = np.random.default_rng(5).integers(0, 256, (9, 6, 5), np.uint8)
    np.savez(tmp_path / "more.npz", other=pixels, x=pixels[:2])
    (tmp_path / "pictures" / "deep").mkdir(parents=True)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / "pictures" / "deep" / f"{number}.png")
    (tmp_path / "folder").mkdir()
    np.save(tmp_path / "folder" / "x.npy", pixels)
    (tmp_path / "idx").mkdir()
    name = NAMES["train_x"]
    (tmp_path / "idx" / name).write_bytes((tmp_path / "mnist" / name).read_bytes())
    sources = {
        "more.npz": ({"source": "arrays", "x": "other"}, pixels),
        "folder": ({"source": "arrays"}, pixels),
        "pictures": ({"source": "images"}, pixels),
        "idx": ({"source": "idx"}, np.frombuffer((tmp_path / "idx" / name).read_bytes()[16:], np.uint8)),
    }
    for place, (fields, expected) in sources.items():
        dataset = ingested(**labeled, unlabeled={"path": str(tmp_path / place), **fields})
        assert np.array_equal(stored(dataset), expected.reshape(-1, 6, 5, 1)), place
        assert stored(dataset).dtype == np.uint8
        assert np.array_equal(dataset.split("train").y, ingested(**labeled).split("train").y)


def test_only_the_training_folder_of_images_in_splits_is_taken(ingested, tmp_path):
    write(tmp_path / "mnist")
    for place in ("train", "test"):
        (tmp_path / "p" / place).mkdir(parents=True)
        Image.fromarray(np.full((6, 5), len(place), np.uint8)).save(tmp_path / "p" / place / "a.png")
    unlabeled = {"source": "images", "path": str(tmp_path / "p")}
    dataset = ingested(source="idx", path=str(tmp_path / "mnist"), unlabeled=unlabeled)
    assert stored(dataset).tolist() == np.full((1, 6, 5, 1), 5).tolist()
    config = make_config(source="idx", path=str(tmp_path / "mnist"), unlabeled=unlabeled)
    assert source_files(config)[4:] == [tmp_path / "p" / "train" / "a.png"]


def test_pixels_are_taken_in_the_units_of_the_labeled_rows(ingested, tmp_path):
    np.save(tmp_path / "x.npy", np.full((3, 8, 8), 16.0))
    unlabeled = {"source": "arrays", "path": str(tmp_path)}
    assert (stored(ingested(**DIGITS, unlabeled=unlabeled)) == 255).all()
    np.save(tmp_path / "x.npy", np.full((3, 8, 8), 17.0))
    with pytest.raises(DataError, match=r"^data.unlabeled.path: expected pixels of 0 to 16, or uint8 .* 'x.npy'"):
        ingested(**DIGITS, unlabeled=unlabeled)


@pytest.mark.parametrize(
    ("array", "fields", "message"),
    [
        (
            np.zeros((3, 8, 7)),
            {},
            r"data.unlabeled.path: expected images of shape \(8, 8, 1\), got an array of shape \(3, 8, 7\) in 'x.npy'. "
            r"Resize them.",
        ),
        (np.full((3, 8, 8), np.nan), {}, r"data.unlabeled.path: expected finite numbers, got 192 NaN or infinite .*"),
        (
            np.zeros((3, 8, 8)),
            {"x": "inputs"},
            r"data.unlabeled.x: expected an array 'inputs' in '.*', got none. Set data.unlabeled.x to the name of one "
            r"of its arrays: 'x'.",
        ),
    ],
)
def test_arrays_without_labels_of_another_shape(ingested, tmp_path, array, fields, message):
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(DataError, match=f"^{message}$"):
        ingested(**DIGITS, unlabeled={"source": "arrays", "path": str(tmp_path), **fields})


def test_vectors_of_another_length_and_images_beside_vectors(ingested, tmp_path):
    labeled = {"source": "builtin", "name": "iris"}
    np.save(tmp_path / "x.npy", np.zeros((3, 5)))
    unlabeled = {"source": "arrays", "path": str(tmp_path)}
    with pytest.raises(
        DataError,
        match=r"^data.unlabeled.path: expected rows of 4 numbers, got shape \(3, 5\) in 'x.npy'. Give the col",
    ):
        ingested(**labeled, unlabeled=unlabeled)
    np.save(tmp_path / "x.npy", np.arange(12.0).reshape(3, 4))
    dataset = ingested(**labeled, unlabeled=unlabeled)
    assert np.array_equal(
        stored(dataset), dataset.preprocessing.transform(np.arange(12, dtype=np.float32).reshape(3, 4))
    )
    write(tmp_path / "mnist")
    with pytest.raises(
        DataError, match=r"^data.unlabeled.source: expected rows of 4 numbers, as those of data, got images \(idx\)"
    ):
        ingested(**labeled, unlabeled={"source": "idx", "path": str(tmp_path / "mnist")})
    with pytest.raises(
        DataError, match=r"^data.unlabeled.source: expected rows of shape \(4,\), as those of data, got"
    ):
        ingested(**labeled, unlabeled={"source": "images", "path": str(tmp_path)})


def test_unreadable_images_without_labels_are_refused_or_left_out(ingested, tmp_path):
    write(tmp_path / "mnist")
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "a.png").write_bytes(b"no picture")
    Image.fromarray(np.zeros((6, 5), np.uint8)).save(tmp_path / "p" / "b.png")
    labeled, unlabeled = (
        {"source": "idx", "path": str(tmp_path / "mnist")},
        {"source": "images", "path": str(tmp_path / "p")},
    )
    with pytest.raises(DataError, match=r"^data.unlabeled.path: .*a.png.* or set data.unlabeled.skip_unreadable: true"):
        ingested(**labeled, unlabeled=unlabeled)
    dataset = ingested(**labeled, unlabeled=unlabeled | {"skip_unreadable": True})
    assert stored(dataset, "rows").tolist() == [1]
    assert dataset.profile["warnings"][-1].startswith("Unreadable images without labels are left out, 1: a.png")


def test_the_same_twice_is_the_same_bytes(ingested, tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 17, (20, 8, 8)).astype(float))
    fields = {"num_labels": 30, "unlabeled": {"source": "arrays", "path": str(tmp_path)}}
    first, second, other = (ingested(**DIGITS, seed=seed, **fields) for seed in (1, 1, 2))
    assert {path.name for path in first.folder.iterdir()} >= {"unlabeled_x.npy", "unlabeled_rows.npy"}
    for path in sorted(first.folder.iterdir()):
        assert path.read_bytes() == (second.folder / path.name).read_bytes(), path.name
    assert splits(first)["train"] != splits(other)["train"]


def test_a_dataset_whose_rows_without_labels_are_gone_is_damaged(ingested):
    dataset = ingested(**DIGITS, num_labels=30)
    (dataset.folder / "unlabeled_x.npy").unlink()
    with pytest.raises(DataError, match=r"^dataset: expected an array in .*unlabeled_x.npy, got"):
        dataset.batches("pretrain", 8, 1)
    assert json.loads((dataset.folder / "profile.json").read_text())["rows"]["unlabeled"] == 1228

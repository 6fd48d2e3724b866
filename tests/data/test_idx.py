from __future__ import annotations

import gzip
import struct
import tracemalloc

import numpy as np
import pytest

from data.contract import ConfigError, DataError
from data.reading import read_input
from data.sources.idx import read_idx

NAMES = {
    "train_x": "train-images-idx3-ubyte",
    "train_y": "train-labels-idx1-ubyte",
    "test_x": "t10k-images-idx3-ubyte",
    "test_y": "t10k-labels-idx1-ubyte",
}


def idx(array, shape=None, kind=8):
    shape = array.shape if shape is None else shape
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, kind, len(shape), *shape) + array.tobytes()


def write(folder, zipped=False, **changed):
    generator = np.random.default_rng(0)
    arrays = {
        "train_x": generator.integers(0, 256, (60, 6, 5), np.uint8),
        "train_y": np.arange(60, dtype=np.uint8) % 3,
        "test_x": generator.integers(0, 256, (21, 6, 5), np.uint8),
        "test_y": np.arange(21, dtype=np.uint8) % 3,
    }
    folder.mkdir(exist_ok=True)
    for role, name in NAMES.items():
        content = changed.get(role, idx(arrays[role]))
        if zipped:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)
    return arrays


@pytest.mark.parametrize("zipped", [False, True])
def test_the_test_split_is_kept(ingested, tmp_path, zipped):
    arrays = write(tmp_path / "mnist", zipped)
    dataset = ingested(source="idx", path=str(tmp_path / "mnist"), validation_fraction=0.1, class_names=("a", "b", "c"))
    test, train = dataset.split("test"), dataset.split("train")
    assert np.array_equal(test.x[..., 0], arrays["test_x"])
    assert np.array_equal(test.y, arrays["test_y"])
    assert np.array_equal(train.x[..., 0], arrays["train_x"][train.rows])
    assert dataset.profile["rows"] == {"total": 81, "train": 54, "validation": 6, "test": 21}
    assert dataset.schema.class_names == ("a", "b", "c")
    suffix = ".gz" if zipped else ""
    read = read_input(dataset.preprocessing, tmp_path / "mnist" / f"{NAMES['test_x']}{suffix}")
    assert np.array_equal(read.x, dataset.inputs("test"))


PIXELS = np.zeros((60, 6, 5), np.uint8)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"train_x": idx(PIXELS, (61, 6, 5))},
            r"expected 1830 values in 'train-images-idx3-ubyte' as its header declares \(61 x 6 x 5\), got 1800",
        ),
        ({"train_x": idx(PIXELS, (2**32 - 1,) * 3)}, "as its header declares"),
        ({"train_x": idx(PIXELS, kind=0x0D)}, r"\(magic 00000803\), got 00000d03"),
        ({"train_y": idx(PIXELS)}, r"in 1 dimensions \(magic 00000801\), got 00000803 in 'train-labels"),
        ({"train_x": b"\0\0"}, "expected an IDX file of unsigned bytes"),
        ({"train_x": b""}, "expected an IDX file"),
        ({"train_y": idx(np.zeros(59, np.uint8))}, "expected as many labels as images, got 59"),
        ({"test_x": idx(np.zeros((21, 5, 5), np.uint8))}, "training and test images of one size"),
        ({"test_y": idx(np.full(21, 9, np.uint8))}, "expected training rows of every class, got none of '9'"),
    ],
)
def test_headers_that_lie(ingested, tmp_path, changed, message):
    write(tmp_path / "mnist", **changed)
    with pytest.raises(DataError, match=message):
        ingested(source="idx", path=str(tmp_path / "mnist"))


@pytest.mark.parametrize(
    ("shape", "found"), [((59, 6, 5), "more"), ((61, 6, 5), "1800"), ((2**32 - 1,) * 3, "a file of [0-9]+ bytes")]
)
def test_zipped_headers_that_lie(ingested, tmp_path, shape, found):
    write(tmp_path / "mnist", zipped=True, train_x=idx(PIXELS, shape))
    message = rf"as its header declares \({' x '.join(map(str, shape))}\), got {found}\. Get the file again\."
    with pytest.raises(DataError, match=message):
        ingested(source="idx", path=str(tmp_path / "mnist"))


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (b"", r"\(magic 00000803\), got 00000000"),
        (struct.pack(">BBBB3I", 0, 0, 8, 3, 60, 6, 5), "got more"),
        (struct.pack(">BBBB3I", 0, 0, 8, 3, 60_000, 600, 500), "got a file of"),
    ],
)
def test_zipped_bombs_take_no_memory(tmp_path, start, message):
    path = tmp_path / "train-images-idx3-ubyte.gz"
    with gzip.open(path, "wb", compresslevel=1) as stream:
        stream.write(start)
        for _ in range(64):
            stream.write(bytes(2**20))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=message):
            read_idx(path, 3)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**20


def test_a_zipped_file_takes_the_memory_it_declares(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (640, 256, 256), np.uint8)
    path = tmp_path / "images.gz"
    with gzip.open(path, "wb", compresslevel=0) as stream:
        stream.write(idx(images))
    tracemalloc.start()
    try:
        found = read_idx(path, 3)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert np.array_equal(found, images)
    assert peak < images.nbytes + 2.5 * 2**24  # the array, a block, and what gzip keeps of it


def test_a_gzip_cut_short(ingested, tmp_path):
    write(tmp_path / "mnist", zipped=True)
    path = tmp_path / "mnist" / f"{NAMES['train_x']}.gz"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="expected a whole gzipped file"):
        ingested(source="idx", path=str(tmp_path / "mnist"))


def test_a_missing_file_and_too_few_names(ingested, tmp_path):
    write(tmp_path / "mnist")
    with pytest.raises(DataError, match=r"data\.class_names: expected a name for every label of 0 to 2, got 2"):
        ingested(source="idx", path=str(tmp_path / "mnist"), class_names=("a", "b"))
    with pytest.raises(ConfigError, match=r"task: expected classification for data\.source idx"):
        ingested("regression", source="idx", path=str(tmp_path / "mnist"))
    (tmp_path / "mnist" / NAMES["test_y"]).rename(tmp_path / "mnist" / "t10k-labels-idx1-ubyt")
    with pytest.raises(DataError, match=r"expected t10k-labels-idx1-ubyte or .* \(the nearest is"):
        ingested(source="idx", path=str(tmp_path / "mnist"))
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyt").unlink()
    with pytest.raises(DataError, match=r"in '[^']*', got neither\. Put MNIST's four files there\."):
        ingested(source="idx", path=str(tmp_path / "mnist"))

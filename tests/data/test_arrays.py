from __future__ import annotations

import io
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.array_files import read_npz
from data.contract import DataError
from data.pixels import pixel_maximum
from data.reading import read_input

GENERATOR = np.random.default_rng(0)
X = GENERATOR.integers(0, 256, (60, 5, 4), np.uint8)
Y = np.arange(60) % 3


def npz(tmp_path, **arrays):
    np.savez(tmp_path / "a.npz", **arrays)
    return {"source": "arrays", "path": str(tmp_path / "a.npz")}


@pytest.mark.parametrize(
    ("x", "maximum"),
    [(X, 255.0), (X.astype(np.int64), 255.0), (X.astype(np.float32), 255.0), ((X / 255).astype(np.float32), 1.0)],
)
def test_images_lose_nothing(ingested, tmp_path, x, maximum):
    dataset = ingested(**npz(tmp_path, x=x, y=Y))
    split = dataset.split("train")
    assert (dataset.schema.kind, dataset.schema.input_shape) == ("image", (5, 4, 1))
    assert np.array_equal(split.x[..., 0], X[split.rows])
    assert dataset.preprocessing.pixel_maximum == maximum
    told = [warning for warning in dataset.profile["warnings"] if "taken for images" in warning]
    assert len(told) == (x.dtype != np.uint8)
    assert all(
        f"values of {x.dtype} that" in each and each.endswith("Set data.kind: vector if they are not.") for each in told
    )
    chosen = ingested(**npz(tmp_path, x=x, y=Y), kind="image")
    assert not any("taken for images" in warning for warning in chosen.profile["warnings"])
    assert ingested(**npz(tmp_path, x=x, y=Y), kind="vector").schema.input_shape == (20,)
    np.save(tmp_path / "some.npy", x[:3])
    read = read_input(dataset.preprocessing, tmp_path / "some.npy")
    assert np.array_equal(read.x[..., 0], X[:3] / np.float32(255))
    assert read.names == ["row 1", "row 2", "row 3"]


@pytest.mark.parametrize(
    ("x", "maximum"),
    [
        (np.array([[0.5001]]), None),
        (np.array([[-1.0]]), None),
        (np.array([[256.0]]), None),
        (np.array([[0.5, 3.0]]), None),
        (np.array([[0, 300]]), None),
        (np.array([[True]]), 1.0),
        (np.array([[0.0, 1.0]]), 1.0),
        (np.array([[0.0, 2.0]]), 255.0),
    ],
)
def test_what_0_to_255_holds(x, maximum):
    assert pixel_maximum(x) == maximum


def test_floats_are_vectors_and_say_so(ingested, tmp_path):
    x = GENERATOR.normal(size=(60, 5, 4))
    dataset = ingested(**npz(tmp_path, x=x, y=Y))
    assert (dataset.schema.kind, dataset.schema.input_shape) == ("vector", (20,))
    assert "each row is taken for a vector" in dataset.profile["warnings"][0]
    with pytest.raises(DataError, match=r"data\.kind: expected images"):
        ingested(**npz(tmp_path, x=x, y=Y), kind="image")


def test_vectors_with_a_constant_column_are_predicted_from_the_sources_rows(ingested, tmp_path):
    x = GENERATOR.normal(size=(60, 4)).astype(np.float32)
    x[:, 1] = 7.0
    dataset = ingested(**npz(tmp_path, x=x, y=np.array(["b", "a", "c"])[Y]))
    assert dataset.schema.feature_names == ("x_0", "x_2", "x_3")
    assert dataset.schema.class_names == ("a", "b", "c")
    test = dataset.split("test")
    np.save(tmp_path / "whole.npy", x[test.rows])
    assert np.array_equal(read_input(dataset.preprocessing, tmp_path / "whole.npy").x, dataset.inputs("test"))
    np.save(tmp_path / "used.npy", dataset.raw("test"))
    assert np.array_equal(read_input(dataset.preprocessing, tmp_path / "used.npy").x, dataset.inputs("test"))
    np.savez(tmp_path / "other.npz", X=x, z=x)
    with pytest.raises(
        DataError,
        match=r"^input: expected an array 'x' .* \(the nearest is 'X'\)\. Rename one of its arrays: 'X', 'z'\.$",
    ):
        read_input(dataset.preprocessing, tmp_path / "other.npz")
    np.save(tmp_path / "wrong.npy", x[:, :2])
    with pytest.raises(DataError, match="input: expected rows of 4 numbers"):
        read_input(dataset.preprocessing, tmp_path / "wrong.npy")
    np.save(tmp_path / "vast.npy", np.full((1, 4), 1e300))
    with pytest.raises(DataError, match=r"^input: expected numbers within ±3\.4e38, got larger in 'vast\.npy'"):
        read_input(dataset.preprocessing, tmp_path / "vast.npy")


def test_a_model_of_two_channels_takes_no_image_files(ingested, tmp_path):
    dataset = ingested(**npz(tmp_path, x=GENERATOR.integers(0, 256, (60, 4, 4, 2), dtype=np.uint8), y=Y))
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"^input: expected \.npy or \.npz of images of 2 channels, got 'a\.png'"):
        read_input(dataset.preprocessing, tmp_path / "a.png")


def test_npy_pairs_with_a_test_split_and_regression(ingested, tmp_path):
    x = GENERATOR.normal(size=(80, 3))
    y = x.sum(axis=1)
    for name, array in (("x", x[:60]), ("y", y[:60]), ("x_test", x[60:]), ("y_test", y[60:])):
        np.save(tmp_path / f"{name}.npy", array)
    dataset = ingested("regression", source="arrays", path=str(tmp_path))
    assert dataset.split("test").rows.tolist() == list(range(60, 80))
    np.testing.assert_allclose(
        dataset.preprocessing.inverse_target(dataset.split("test").y), y[60:], rtol=1e-4, atol=1e-5
    )


class Evil:
    def __reduce__(self):
        return (pytest.fail, ("unpickled",))


def test_pickles_are_never_opened(ingested, tmp_path):
    with pytest.raises(DataError, match=r"got pickled objects in 'a\.npz:x'"):
        ingested(**npz(tmp_path, x=np.array([Evil()] * 3, object), y=Y))
    np.save(tmp_path / "x.npy", np.array([Evil()] * 3, object), allow_pickle=True)
    np.save(tmp_path / "y.npy", Y)
    with pytest.raises(DataError, match=r"got pickled objects in 'x\.npy'"):
        ingested(source="arrays", path=str(tmp_path))
    (tmp_path / "x.npy").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(DataError, match=r"without pickles, got 'x\.npy'"):
        ingested(source="arrays", path=str(tmp_path))


def with_nan(value):
    x = GENERATOR.normal(size=(60, 3))
    x[4, 1] = value
    return x


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X}, r"^data\.y: expected an array 'y' in 'a\.npz', got none\. Set data\.y to .* of its arrays: 'x'\.$"),
        ({"x": X, "labels": Y}, r"^data\.y: expected an array 'y'.* of its arrays: 'x', 'labels'\.$"),
        (
            {"X": X, "y": Y},
            r"^data\.x: expected an array 'x' in 'a\.npz', got none \(the nearest is 'X'\)\. Set data\.x",
        ),
        ({"x": X, "y": Y[:50]}, "expected as many targets as inputs, got 50 in 'y' and 60 in 'x'"),
        ({"x": with_nan(np.nan), "y": Y}, "got 1 NaN or infinite in 'x' .first in row 5\\)"),
        ({"x": with_nan(np.inf), "y": Y}, "got 1 NaN or infinite in 'x'"),
        ({"x": X, "y": np.eye(3)[Y]}, "expected one target a row in 'y', got shape"),
        ({"x": X, "y": Y, "x_test": X}, "expected 'y_test' beside 'x_test', got none"),
        ({"x": X, "y": Y, "x_test": X[:, :4], "y_test": Y}, "expected rows of one shape"),
        ({"x": X.astype(str), "y": Y}, "expected numbers in 'x'"),
        ({"x": X[:, 0, 0], "y": Y}, r"expected \(rows, ...\) with one or more values"),
        ({"x": X, "y": GENERATOR.normal(size=60)}, "expected class labels for task classification, got 60 distinct"),
        ({"x": X * 1j, "y": Y}, "expected numbers in 'x', got complex128"),
    ],
)
def test_bad_arrays(ingested, tmp_path, arrays, message):
    with pytest.raises(DataError, match=message):
        ingested(**npz(tmp_path, **arrays))


def test_a_folder_without_the_inputs(ingested, tmp_path):
    np.save(tmp_path / "inputs.npy", X)
    np.save(tmp_path / "y.npy", Y)
    message = (
        rf"^data\.x: expected an array 'x' in '{tmp_path.name}', got none\. Set .* of its arrays: 'inputs', 'y'\.$"
    )
    with pytest.raises(DataError, match=message):
        ingested(source="arrays", path=str(tmp_path))
    assert ingested(source="arrays", path=str(tmp_path), x="inputs").profile["rows"]["total"] == 60


def test_files_cut_short(ingested, tmp_path):
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    whole = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(whole[:-10])
    with pytest.raises(DataError, match=r"expected 1200 bytes of data in 'x\.npy' as its header declares .*, got 1190"):
        ingested(source="arrays", path=str(tmp_path))
    fields = npz(tmp_path, x=X, y=Y)
    (tmp_path / "a.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:-30])
    with pytest.raises(DataError, match=r"got 'a\.npz'"):
        ingested(**fields)


def lying_npz(path, shape):
    """Writes an .npz whose array and directory both declare a size that is not there."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", header.getvalue())
    size = len(header.getvalue())
    whole, declared = path.read_bytes(), size + int(np.prod(shape))
    assert whole.count(struct.pack("<I", size)) == 2
    path.write_bytes(whole.replace(struct.pack("<I", size), struct.pack("<I", declared)))


def test_an_npz_that_cannot_hold_what_it_declares(tmp_path):
    lying_npz(tmp_path / "a.npz", (2**31,))
    with pytest.raises(DataError, match=r"in 'a\.npz:x\.npy' as the file declares, got [0-9]+ packed ones, which can"):
        read_npz(tmp_path / "a.npz", "x")


def test_an_array_beyond_memory(tmp_path):
    with (
        zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("x.npy", "w") as stream,
    ):
        header = {"descr": "|u1", "fortran_order": False, "shape": (2**27,)}
        np.lib.format.write_array_header_1_0(stream, header)
        for _ in range(8):
            stream.write(bytes(2**24))
    code = (
        "import resource, sys; from pathlib import Path; from data.array_files import read_npz; "
        "used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize(); "
        "resource.setrlimit(resource.RLIMIT_AS, (used + 2**26, used + 2**26)); "
        "read_npz(Path(sys.argv[1]), 'x')"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.npz")]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    last = finished.stderr.strip().splitlines()[-1]
    assert last.startswith("data.contract.DataError: data.path: expected an array that memory holds, got 134217")


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((0, 4), "input: expected one or more rows, got none in 'odd.npy'"),
        ((0,), r"input: expected rows of 4 numbers, got shape \(0,\)"),
        ((3, 0), r"input: expected rows of 4 numbers, got shape \(3, 0\)"),
        ((), r"input: expected rows of 4 numbers, got shape \(1,\)"),
    ],
)
def test_arrays_without_rows_to_predict(ingested, tmp_path, shape, message):
    dataset = ingested(**npz(tmp_path, x=GENERATOR.normal(size=(60, 4)), y=Y))
    np.save(tmp_path / "odd.npy", np.zeros(shape))
    with pytest.raises(DataError, match=message):
        read_input(dataset.preprocessing, tmp_path / "odd.npy")


def test_samples_of_a_signal_get_no_bins(ingested, tmp_path):
    """Many rows of few columns: as columns of a table they would have bins, and a signal three times its inputs."""
    x = np.random.default_rng(0).normal(size=(4000, 12)).astype(np.float32)
    dataset = ingested(**npz(tmp_path, x=x, y=np.arange(4000) % 2))
    assert dataset.schema.input_shape == (12,)
    assert dataset.test_names() is None

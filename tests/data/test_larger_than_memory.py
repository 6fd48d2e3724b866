"""Arrays, IDX files and series that do not fit into memory: laid out in files, and the same bytes as in memory."""

from __future__ import annotations

import gzip
import resource
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from data import array_files, recordings, scratch, series_files, storage, table_pieces
from data.array_files import read_npz
from data.contract import DataError
from data.ingest import ingest
from data.recording import Recording, Roles
from data.scratch import Scratch
from data.series_files import Gathering, side_by_side
from data.sources import array_columns, idx
from data.sources.array_columns import columns_of
from data.sources.idx import read_idx
from tests.data.conftest import Silence, make_config

GENERATOR = np.random.default_rng(5)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a few hundred bytes count as more than memory holds."""
    for module in (scratch, array_files, array_columns, idx, series_files):
        monkeypatch.setattr(module, "KEPT_IN_MEMORY_BYTES", 64)
    monkeypatch.setattr(scratch, "UNPACKED_BYTES", 1001)
    monkeypatch.setattr(storage, "BLOCK_BYTES", 2000)
    monkeypatch.setattr(series_files, "GATHERED_BYTES", 3000)
    for module in (recordings, table_pieces):
        monkeypatch.setattr(module, "PIECE_BYTES", 4000)


ARRAYS = [
    GENERATOR.normal(size=(40, 3, 5)),
    np.asfortranarray(GENERATOR.normal(size=(40, 7)).astype(np.float32)),
    GENERATOR.integers(0, 9, (40, 6)).astype(">i4"),
    GENERATOR.integers(0, 2, (90, 4)).astype(bool),
    np.array(["one", "zwei", "trois"] * 20),
]


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: str(array.dtype))
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_arrays_are_unpacked_into_files(tmp_path: Path, array: NDArray[Any], save: Callable[..., None]) -> None:
    save(tmp_path / "a.npz", x=array)
    room = Scratch(tmp_path / "room")
    found = read_npz(tmp_path / "a.npz", "x", scratch=room)
    np.testing.assert_array_equal(found, array)
    assert (found.dtype, found.flags.f_contiguous) == (array.dtype, array.flags.f_contiguous)
    assert room.holds(found.T if array.flags.f_contiguous and array.ndim > 1 else found)
    assert not list(room.folder.iterdir())


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_flipped_byte_in_an_npz_is_noticed(tmp_path: Path, method: int) -> None:
    member = tmp_path / "x.npy"
    np.save(member, np.arange(2000.0))
    with zipfile.ZipFile(tmp_path / "a.npz", "w", method) as archive:
        archive.write(member, "x.npy")
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"data\.path: expected a file that numpy\.save or numpy\.savez wrote"):
        read_npz(tmp_path / "a.npz", "x", scratch=Scratch(tmp_path / "room"))


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(("declared", "told"), [(9, "got 7056"), (8, None), (7, "got more")])
def test_gzipped_idx_is_unpacked_into_a_file(tmp_path: Path, declared: int, told: str | None) -> None:
    pixels = GENERATOR.integers(0, 256, (9, 28, 28), np.uint8)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    there = pixels[: 8 if told is None or declared == 7 else 9]
    header = bytes((0, 0, 8, 3)) + struct.pack(">3I", declared if told != "got 7056" else 10, 28, 28)
    path.write_bytes(gzip.compress(header + there.tobytes()))
    room = Scratch(tmp_path / "room")
    if told is not None:
        with pytest.raises(DataError, match=f"as its header declares .* {told}"):
            read_idx(path, 3, room)
        return
    found = read_idx(path, 3, room)
    np.testing.assert_array_equal(found, there)
    assert room.holds(found)


@pytest.mark.usefixtures("tiny")
def test_columns_are_those_of_the_rows(tmp_path: Path) -> None:
    parts = [GENERATOR.normal(size=(50, 2, 3)), GENERATOR.normal(size=(21, 2, 3)).astype(">f4")]
    room = Scratch(tmp_path)
    expected = np.concatenate([part.reshape(-1, 6).astype(np.float32) for part in parts]).T
    for found in (columns_of(parts, room), columns_of(parts, None)):
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == np.float32
    assert room.holds(columns_of(parts, room)[3])


@pytest.mark.usefixtures("tiny")
def test_recordings_are_moved_into_files_and_stay_what_they_are(tmp_path: Path) -> None:
    room = Scratch(tmp_path)
    made = []
    for number in range(30):
        steps = 10 + number
        values = GENERATOR.normal(size=(steps, 3)).astype(np.float32)
        labels = None if number % 3 == 0 else np.arange(steps, dtype=(np.float64, np.int32)[number % 2])
        rows = range(steps) if number % 2 else np.arange(steps)[::-1].astype(np.int64)
        made.append(Recording(f"{number}.csv", None, rows, values, labels, ("a",), number, None))
    gathering = Gathering(room)
    for each in made:
        gathering.add([each])
    found = gathering.all()
    assert [each.file for each in found] == [each.file for each in made]
    for one, other in zip(found, made, strict=True):
        np.testing.assert_array_equal(one.values, other.values)
        np.testing.assert_array_equal(list(one.rows), list(other.rows))
        assert (one.labels is None) == (other.labels is None)
        if one.labels is not None:
            assert one.labels.dtype == other.labels.dtype  # type: ignore[union-attr]
            np.testing.assert_array_equal(one.labels, other.labels)
        assert (one.filled, one.vocabulary) == (other.filled, other.vocabulary)
    assert sum(room.holds(each.values) for each in found) > 20
    together = side_by_side([found[29].values[:, place] for place in range(3)], room)
    np.testing.assert_array_equal(together, made[29].values)


def long_table(rows: int = 600) -> pd.DataFrame:
    frame = pd.DataFrame({"t": np.arange(rows), "a": GENERATOR.normal(size=rows).cumsum(), "b": np.arange(rows) % 7})
    frame = frame.assign(kind=np.array(["up", "down"])[np.arange(rows) // 50 % 2], who=np.arange(rows) * 6 // rows)
    frame.loc[[30, 31, 400], "a"] = np.nan
    return frame


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet", ".jsonl"])
def test_a_long_series_is_the_same_in_pieces(tmp_path: Path, suffix: str, request: pytest.FixtureRequest) -> None:
    path = tmp_path / f"long{suffix}"
    frame = long_table()
    if suffix == ".parquet":
        frame.to_parquet(path, index=False)
    elif suffix == ".jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_csv(path, index=False)
    fields: dict[str, Any] = {"window": 20, "stride": 5, "target": "kind", "group": "who", "time": "t"}
    config = make_config(source="series", path=str(path), missing="interpolate", **fields)
    ingest(config, "classification", tmp_path / "whole", 1, Silence())
    request.getfixturevalue("tiny")
    told = Silence()
    ingest(config, "classification", tmp_path / "pieces", 1, told)
    assert bytes_of(tmp_path / "whole") == bytes_of(tmp_path / "pieces")
    if suffix == ".csv":
        assert sum(label == "read" for label, _, _ in told.steps) > 3


def peak_of(config: Any, folder: Path, task: str = "classification") -> int:
    room = Scratch(folder / "room")
    tracemalloc.start()
    ingest(config, task, folder / "dataset", 1, Silence(), room)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "few.npz", x=GENERATOR.normal(size=(60, 2)), y=np.arange(60) % 3)
    few = make_config(source="arrays", path=str(tmp_path / "few.npz"))
    ingest(few, "classification", tmp_path / "few", 1, Silence())  # what libraries need is no part of the peak
    monkeypatch.setattr(storage, "BLOCK_BYTES", 2**18)
    rows = 8_000
    x = np.zeros((rows, 400), np.float32)
    x[:, ::20] = GENERATOR.integers(0, 50, (rows, 20))
    np.savez_compressed(tmp_path / "a.npz", x=x, y=np.arange(rows) % 3)
    size = x.nbytes
    del x
    # 13 MB: what is held are blocks, a column or two, and some fifty bytes a row.
    assert peak_of(make_config(source="arrays", path=str(tmp_path / "a.npz")), tmp_path / "arrays") < size // 2

    folder, side, count = tmp_path / "idx", 56, 2_500
    folder.mkdir()
    for split in ("train", "t10k"):
        header = bytes((0, 0, 8, 3)) + struct.pack(">3I", count, side, side)
        image = GENERATOR.integers(0, 256, side**2, np.uint8).tobytes()
        (folder / f"{split}-images-idx3-ubyte.gz").write_bytes(gzip.compress(header + image * count, 1))
        labels = bytes((0, 0, 8, 1)) + struct.pack(">I", count) + bytes(range(10)) * (count // 10)
        (folder / f"{split}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    assert peak_of(make_config(source="idx", path=str(folder)), tmp_path / "pictures") < 2 * count * side**2 // 2


@pytest.mark.parametrize("size", [2**25, 10])
def test_column_without_values_is_told_whether_its_file_is_large_or_not(
    tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (recordings, table_pieces):
        monkeypatch.setattr(module, "PIECE_BYTES", size)
    path, room = tmp_path / "a.parquet", Scratch(tmp_path / "room")
    pd.DataFrame({"a": np.full(20, np.nan), "b": np.arange(20.0) % 7}).to_parquet(path)
    roles = Roles(channels=None, time=None, group=None, target=None, missing="interpolate")
    with pytest.raises(DataError, match=r"^data\.channels: expected numbers in column 'a' of 'a', got no value\."):
        recordings.read_recordings(path, "a", roles, scratch=room, progress=Silence())


@pytest.mark.usefixtures("tiny")
def test_disk_without_room_is_no_fault_of_the_file_that_is_unpacked(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.arange(9000.0))
    pixels = bytes((0, 0, 8, 3)) + struct.pack(">3I", 90, 28, 28) + bytes(90 * 28 * 28)
    (tmp_path / "pixels.gz").write_bytes(gzip.compress(pixels))
    room = Scratch(tmp_path / "room")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            read_npz(tmp_path / "a.npz", "x", scratch=room)
        with pytest.raises(OSError, match="File too large"):
            read_idx(tmp_path / "pixels.gz", 3, room)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

"""Digests of raw files: what is remembered, and what makes them be read again."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from data.config import DataConfig
from data.contract import DataError, StoreError
from pipeline.files import canonical_json, sha256_of_json
from pipeline.source_digest import source_digest

LONG_AGO = 1_600_000_000


def config(path: Path, source: str = "table") -> Any:
    fields = {"source": source, "path": str(path)} | ({"target": "y"} if source == "table" else {})
    return TypeAdapter(DataConfig).validate_python(fields)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text("x,y\n1,2\n")
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    (tmp_path / "store").mkdir()
    return tmp_path / "store" / ".memory" / "sources.json"


def change_unseen(path: Path, text: str) -> None:
    """Writes other bytes of the same length in place and puts the time back: nobody could tell without reading."""
    before = path.stat()
    assert len(text) == before.st_size
    path.write_text(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (before.st_size, before.st_mtime_ns, before.st_ino)


def test_builtin_data_has_no_files(memory: Path) -> None:
    builtin = TypeAdapter(DataConfig).validate_python({"source": "builtin", "name": "iris"})
    assert source_digest(builtin, memory) == sha256_of_json({})
    assert not memory.parent.exists()


def test_remembers_by_identity_until_rehash(table: Path, memory: Path) -> None:
    first = source_digest(config(table), memory)
    change_unseen(table, "x,y\n1,3\n")
    assert source_digest(config(table), memory) == first
    fresh = source_digest(config(table), memory, rehash=True)
    assert fresh != first
    assert source_digest(config(table), memory) == fresh


@pytest.mark.parametrize("what", ["size", "time", "inode"])
def test_reads_again_what_looks_different(table: Path, memory: Path, what: str) -> None:
    first = source_digest(config(table), memory)
    if what == "size":
        table.write_text("x,y\n1,3\n4,5\n")
        os.utime(table, (LONG_AGO, LONG_AGO))
    elif what == "time":
        table.write_text("x,y\n1,3\n")
        os.utime(table, (LONG_AGO, LONG_AGO + 1))
    else:
        other = table.with_name("other.csv")
        other.write_text("x,y\n1,3\n")
        os.utime(other, (LONG_AGO, LONG_AGO))
        other.replace(table)
    assert source_digest(config(table), memory) != first


def test_touched_file_of_the_same_bytes_has_the_same_digest(table: Path, memory: Path) -> None:
    first = source_digest(config(table), memory)
    os.utime(table)
    assert source_digest(config(table), memory) == first


def test_file_written_this_moment_is_not_remembered(table: Path, memory: Path) -> None:
    # A second write within the same tick of the filesystem's clock would not show in its times.
    os.utime(table)
    first = source_digest(config(table), memory)
    change_unseen(table, "x,y\n1,3\n")
    assert source_digest(config(table), memory) != first


def test_keeps_one_entry_a_file(table: Path, memory: Path) -> None:
    for second in range(5):
        os.utime(table, (LONG_AGO, LONG_AGO + second))
        source_digest(config(table), memory)
    assert list(json.loads(memory.read_text())["files"]) == [str(table.resolve())]


def test_runs_of_different_data_share_the_memory(table: Path, memory: Path) -> None:
    other = table.with_name("other.csv")
    other.write_text("a")
    os.utime(other, (LONG_AGO, LONG_AGO))
    digests = [source_digest(config(path), memory) for path in (table, other)]
    assert len(json.loads(memory.read_text())["files"]) == 2
    change_unseen(other, "b")
    assert [source_digest(config(path), memory) for path in (table, other)] == digests


def test_damaged_memory_never_gives_a_digest(table: Path, memory: Path) -> None:
    first = source_digest(config(table), memory)
    data = memory.read_bytes()
    for position in range(0, len(data), 5):
        changed = bytearray(data)
        changed[position] ^= 1 << (position % 8)
        memory.write_bytes(changed)
        assert source_digest(config(table), memory) == first, position
    for content in (b"", b"null", b"[]", b"\xff", canonical_json({"files": 3, "digest": ""}).encode()):
        memory.write_bytes(content)
        assert source_digest(config(table), memory) == first


def test_order_and_names_of_files_count(tmp_path: Path, memory: Path) -> None:
    folder = tmp_path / "images"
    for name, content in (("cats/1.png", b"a"), ("cats/2.png", b"b"), ("dogs/1.png", b"c")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    first = source_digest(config(folder, "images"), memory)
    (folder / "cats" / "2.png").rename(folder / "dogs" / "2.png")
    moved = source_digest(config(folder, "images"), memory)
    (folder / "dogs" / "2.png").rename(folder / "cats" / "2.png")
    assert moved != first
    assert source_digest(config(folder, "images"), memory) == first


def test_missing_file_is_bad_data_with_the_nearest_name(table: Path, memory: Path) -> None:
    with pytest.raises(DataError, match=r"expected a file or folder, got '.*rws\.csv', which does not exist .*rows"):
        source_digest(config(table.with_name("rws.csv")), memory)


def test_memory_that_cannot_be_written_is_explained(table: Path, memory: Path) -> None:
    memory.parent.touch()
    with pytest.raises(StoreError, match="workdir: expected to be able to write to"):
        source_digest(config(table), memory)


def test_nothing_is_remembered_where_there_is_no_store(table: Path, tmp_path: Path) -> None:
    memory = tmp_path / "none" / ".memory" / "sources.json"
    assert len(source_digest(config(table), memory)) == 64
    assert not (tmp_path / "none").exists()


def test_remembered_is_fast(tmp_path: Path, memory: Path) -> None:
    path = tmp_path / "large.csv"
    with path.open("wb") as stream:
        stream.truncate(200 << 20)
    os.utime(path, (LONG_AGO, LONG_AGO))
    source_digest(config(path), memory)
    started = time.perf_counter()
    source_digest(config(path), memory)
    assert time.perf_counter() - started < 0.05


def test_files_of_rows_without_labels_count_and_files_of_labels_only_where_they_are_read(
    tmp_path: Path, memory: Path
) -> None:
    folder = tmp_path / "labeled"
    folder.mkdir()
    for name in ("x.npy", "y.npy"):
        (folder / name).write_bytes(name.encode())
    more = tmp_path / "more.npz"
    more.write_bytes(b"1")
    fields = {"source": "arrays", "path": str(folder)}
    alone = TypeAdapter(DataConfig).validate_python(fields)
    both = TypeAdapter(DataConfig).validate_python(fields | {"unlabeled": {"source": "arrays", "path": str(more)}})
    tasks = ("classification", "reconstruction")
    first = [source_digest(alone, memory, task=task) for task in tasks] + [source_digest(both, memory)]
    assert len(set(first)) == 3
    more.write_bytes(b"22")
    (folder / "y.npy").write_bytes(b"other")
    second = [source_digest(alone, memory, task=task) for task in tasks] + [source_digest(both, memory)]
    assert [one == other for one, other in zip(first, second, strict=True)] == [False, True, False]
    more.write_bytes(b"333")
    assert source_digest(both, memory) != second[2]
    more.unlink()
    with pytest.raises(DataError, match=r"^data.unlabeled.path: expected a file or folder, got .*more.npz"):
        source_digest(both, memory)

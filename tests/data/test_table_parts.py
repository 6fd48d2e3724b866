"""A table in a folder of files: the rows of all of them, as one file would have them."""

from __future__ import annotations

import gzip
import pickle
import resource
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data import table_pieces
from data.contract import DataError
from data.scratch import Scratch
from data.source_files import table_files
from data.table_parts import PLACES
from data.table_scan import scan_table
from tests.data.conftest import Silence
from tests.data.test_table_scan import Kept

PARTS = {
    "a.csv": "x,word,when\n1,red,2020-01-01\n2,,2020-01-02\n",
    "b.csv": "x,word,when\n2.5,7,2020-01-03\n",
    "c.csv": 'x,word,when\n-1,"two\nlines",\n4,blue,2020-01-05\n',
}
WHOLE = "x,word,when\n" + "".join(text.split("\n", 1)[1] for text in PARTS.values())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "table").mkdir()
    for name, text in PARTS.items():
        (tmp_path / "table" / name).write_text(text)
    return tmp_path / "table"


def rows(path: Path, scratch: Path) -> dict[str, list[object]]:
    scratch.mkdir(exist_ok=True)
    frame = scan_table(table_files(path), (), (), Scratch(scratch), Silence()).frame
    assert [str(frame[name].dtype) for name in frame.columns] != []
    return {name: [None if value is pa.NA else value for value in pa.array(frame[name]).to_pylist()] for name in frame}


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        rows(path, path.parent / "scratch")
    return str(caught.value)


@pytest.mark.parametrize("size", [1, 7, 2**20])
@pytest.mark.parametrize("packed", [False, True])
def test_files_are_one_table(size: int, packed: bool, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_pieces, "PIECE_BYTES", size)
    one = folder.parent / "whole.csv"
    one.write_text(WHOLE)
    if packed:
        path = folder / "b.csv"
        (folder / "b.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    (folder / "_SUCCESS").write_text("")
    (folder / "_temporary" / "0").mkdir(parents=True)
    (folder / "_temporary" / "0" / "b.csv").write_text("x,word,when\n9,not committed,\n")
    (folder / ".hidden.csv").write_text("y\n1\n")
    found = rows(folder, folder.parent / "s1")
    np.testing.assert_array_equal(found["x"], [1, 2, 2.5, -1, 4])
    assert found["word"] == ["red", None, "7", "two\nlines", "blue"]
    whole = rows(one, folder.parent / "s2")
    assert found.keys() == whole.keys()
    for name in ("word", "when"):
        assert found[name] == whole[name]


def test_parquet_and_json_lines_share_their_types(tmp_path: Path) -> None:
    for place, values in enumerate(([1, 2], [0.5], [None])):
        target = tmp_path / "parquet" / f"day={place}" / "part.parquet"
        target.parent.mkdir(parents=True)
        pq.write_table(pa.table({"x": values, "y": ["a"] * len(values)}), target)
    found = rows(tmp_path / "parquet", tmp_path / "s")
    np.testing.assert_array_equal(found["x"], [1.0, 2.0, 0.5, np.nan])
    assert found["y"] == ["a"] * 4
    (tmp_path / "lines").mkdir()
    (tmp_path / "lines" / "1.jsonl").write_text('{"x": 1, "y": "a"}\n')
    (tmp_path / "lines" / "2.ndjson").write_text('{"x": 1.5, "y": "b"}\n')
    found = rows(tmp_path / "lines", tmp_path / "s2")
    assert (found["x"], found["y"]) == ([1.0, 1.5], ["a", "b"])


def test_reading_goes_on_within_the_file_it_was_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_pieces, "PIECE_BYTES", 20)

    kept = Kept(killed_after=6)
    scratch = folder.parent / "scratch"
    scratch.mkdir()
    with pytest.raises(KeyboardInterrupt):
        scan_table(table_files(folder), (), ("x",), Scratch(scratch, kept.named), Silence())
    assert kept.kept is not None
    assert kept.kept[1]["resumes_at"] == "row 4"  # behind the second file, at the header of the third
    kept.left = None
    (folder / "a.csv").write_text("x,word,when\n")  # not read again
    frame = scan_table(table_files(folder), (), ("x",), Scratch(scratch, kept.named), Silence()).frame
    assert pa.array(frame["word"]).to_pylist() == ["red", None, "7", "two\nlines", "blue"]


def test_line_ends_and_marks_may_differ_and_a_file_may_hold_none(folder: Path) -> None:
    (folder / "a.csv").write_bytes(b"\n")
    (folder / "b.csv").write_bytes(b"\xef\xbb\xbfx,word,when\r\n1,a,b")
    (folder / "c.csv").write_bytes(b"x,word,when\n")
    (folder / "d.csv").write_bytes(b"x,word,when\r" + b"2,c,d\r" * 200_000)  # longer than a header may be
    (folder / "e.csv").write_bytes(b"x,then,when\n")
    assert "the columns of 'b.csv' in every file of the folder" in refusal(folder)
    (folder / "e.csv").unlink()
    found = rows(folder, folder.parent / "s")
    assert [found[name][0] for name in found] == [1, "a", "b"]
    assert [found[name][200_000] for name in found] == [2, "c", "d"]
    assert len(found["x"]) == 200_001


def test_keys_of_json_lines_may_differ_from_file_to_file(tmp_path: Path) -> None:
    (tmp_path / "lines").mkdir()
    for name, text in (("0", ""), ("1", '{"x": 1, "y": "a"}\n'), ("2", '{"y": "b", "x": 1.5}\n'), ("3", '{"z": 3}\n')):
        (tmp_path / "lines" / f"{name}.jsonl").write_text(text)
    found = rows(tmp_path / "lines", tmp_path / "s")
    np.testing.assert_array_equal(found["x"], [1.0, 1.5, np.nan])
    np.testing.assert_array_equal(found["z"], [np.nan, np.nan, 3.0])
    assert found["y"] == ["a", "b", None]


def test_there_may_be_more_files_than_a_process_may_open(tmp_path: Path) -> None:
    (tmp_path / "table").mkdir()
    for number in range(100):
        pq.write_table(pa.table({"x": [number], "y": ["a"]}), tmp_path / "table" / f"{number:03}.parquet")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len([*Path("/proc/self/fd").iterdir()]) + 60, hard))
    try:
        assert rows(tmp_path / "table", tmp_path / "s")["x"] == list(range(100))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_open_quote_is_found_in_a_file_that_is_gone_on_with(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_pieces, "PIECE_BYTES", 20)
    (folder / "a.csv").write_text("x,word\n1,a\n")
    (folder / "b.csv").write_text("x,word\n" + "1,aaaaaaaaaa\n" * 30 + '4,"b\n')
    (folder / "c.csv").write_text('x,word\n4,"b\n')
    kept = Kept(killed_after=6)
    scratch = folder.parent / "scratch"
    with pytest.raises(KeyboardInterrupt):
        scan_table(table_files(folder), (), ("x",), Scratch(scratch, kept.named), Silence())
    assert kept.kept is not None
    assert kept.kept[1]["end"] > PLACES  # within the second file
    kept.left = None
    with pytest.raises(DataError, match=r"quotes in pairs, .* starts in line 32 of 'b\.csv'"):
        scan_table(table_files(folder), (), ("x",), Scratch(scratch, kept.named), Silence())


def pickled(function: Any, items: Sequence[Any]) -> Iterator[Any]:
    """Does work as on other machines: what goes there and what comes back is pickled."""
    for item in items:
        there, it = pickle.loads(pickle.dumps((function, item)))
        for result in there(it):
            yield pickle.loads(pickle.dumps(result))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_files_read_elsewhere_give_the_same_bytes(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_pieces, "PIECE_BYTES", 20)
    if kind == "parquet":
        for path in sorted(folder.iterdir()):
            pandas.read_csv(path, dtype={"word": "str"}).to_parquet(path.with_suffix(".parquet"))
            path.unlink()
    kept = []
    for name, spread in (("here", None), ("there", pickled)):
        scratch = folder.parent / name
        scan_table(table_files(folder), (), ("when",), Scratch(scratch, spread=spread), Silence())
        kept.append({path.name: path.read_bytes() for path in scratch.iterdir()})
    assert kept[0] == kept[1]
    assert len(kept[0]) == 2


def test_what_does_not_belong_together_is_refused(folder: Path) -> None:
    (folder / "b.csv").write_text("x,word,then\n1,a,b\n")
    assert refusal(folder) == (
        "data.path: expected the columns of 'a.csv' in every file of the folder, got others 'then' and none named "
        "'when' in 'b.csv'. Write all files alike."
    )
    (folder / "b.csv").write_text("word,x,when\na,1,\n")
    assert "got them in another order in 'b.csv'" in refusal(folder)
    (folder / "b.csv").write_text("x,word,x\na,1,\n")
    assert "got none named 'when' in 'b.csv'" in refusal(folder)
    (folder / "b.csv").write_bytes(b"x,word,caf\xe9\n1,a,b\n")
    assert "got byte 0xe9 in line 1 of 'b.csv'" in refusal(folder)
    (folder / "b.csv").write_text("x;word;when\n1;a;\n")
    assert "expected columns separated as in 'a.csv' (','), got ';' in 'b.csv'" in refusal(folder)
    (folder / "b.csv").write_text('x,word,when\n1,"open,\n')
    assert "'b.csv'" in refusal(folder)
    (folder / "b.csv").write_text("")
    assert "got 'b.csv', which is empty" in refusal(folder)
    (folder / "b.csv").unlink()
    (folder / "day=1").mkdir()
    (folder / "day=1" / "a.csv").write_text("x,word,then\n1,a,b\n")
    assert "the columns of 'a.csv' in every file" in (told := refusal(folder))
    assert "in 'day=1/a.csv'" in told
    (folder / "day=1" / "a.csv").unlink()
    (folder / "day=1").rmdir()
    (folder / "_delta_log").mkdir()
    assert "with a _delta_log, by which some no longer count" in refusal(folder)
    (folder / "_delta_log").rmdir()
    (folder / "b.parquet").write_bytes(b"")
    assert refusal(folder) == (
        "data.path: expected files of one kind in the folder of a table, got 'a.csv' and 'b.parquet'. Take the others "
        "out."
    )
    (folder / "b.parquet").unlink()
    (folder / "readme.txt").write_text("")
    assert "got 'readme.txt'" in refusal(folder)
    (folder / "readme.txt").unlink()
    (folder / "b.csv").symlink_to(Path(__file__))
    assert "got the link 'b.csv', which leads out of it" in refusal(folder)
    for path in folder.iterdir():
        path.unlink()
    assert "without files" in refusal(folder)

"""A table in a folder of files: the rows of all of them, as one file would have them."""

from __future__ import annotations

import gzip
import pickle
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
        "data.path: expected the columns of 'a.csv' in every file of the folder, got others ('then', 'when') in "
        "'b.csv'. Write all files alike."
    )
    (folder / "b.csv").write_text("word,x,when\na,1,\n")
    assert "got them in another order in 'b.csv'" in refusal(folder)
    (folder / "b.csv").write_text("x;word;when\n1;a;\n")
    assert "expected columns separated as in 'a.csv' (','), got ';' in 'b.csv'" in refusal(folder)
    (folder / "b.csv").write_text('x,word,when\n1,"open,\n')
    assert "'b.csv'" in refusal(folder)
    (folder / "b.csv").unlink()
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

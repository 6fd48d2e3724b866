"""Tables read piece by piece: the same as read at once, whatever the pieces; and read on after a kill."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data import profile, row_blocks, table_pieces, table_text
from data.contract import DataError
from data.ingest import ingest
from data.profile import duplicate_rows
from data.scratch import Scratch
from data.storage import digest_rows
from data.table_files import read_frame
from data.table_scan import scan_table
from data.table_text import whole_records
from tests.data.conftest import Silence, make_config


class Kept:
    """Checkpoints that are kept in memory, and a kill after some of them."""

    def __init__(self, killed_after: int | None = None) -> None:
        self.kept: tuple[dict[str, Any], dict[str, Any]] | None = None
        self.left = killed_after

    def save(self, arrays, state) -> None:
        self.kept = (dict(arrays), dict(state))
        if self.left is not None:
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt

    def load(self):
        return self.kept

    def named(self, name):
        assert name == "table"
        return self


def pieces_of(size: int):
    patch = pytest.MonkeyPatch()
    patch.setattr(table_pieces, "PIECE_BYTES", size)
    return patch


def scanned(path: Path, size: int, folder: Path, text_columns=()):
    patch = pieces_of(size)
    try:
        return scan_table([path], text_columns, (), Scratch(folder), Silence())
    finally:
        patch.undo()


def assert_same(path: Path, size: int, text_columns=()) -> None:
    """Scans a file in pieces and reads it at once: the same columns, or both refuse it."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            whole = read_frame(path, text_columns)
        except DataError:
            with pytest.raises(DataError):
                scanned(path, size, Path(folder), text_columns)
            return
        found = scanned(path, size, Path(folder), text_columns)
        assert list(found.frame.columns) == list(whole.frame.columns)
        assert found.decimal_commas == whole.decimal_commas
        for name in whole.frame.columns:
            ours, theirs = found.frame[name], whole.frame[name]
            kind = theirs.dtype.pyarrow_dtype
            if pa.types.is_integer(kind) or pa.types.is_floating(kind):
                numbers = theirs.to_numpy(dtype=np.float64, na_value=np.nan)
                np.testing.assert_array_equal(ours.to_numpy(dtype=np.float64, na_value=np.nan), numbers)
                assert ours.dtype.pyarrow_dtype == (kind if name in text_columns else pa.float64())
            else:
                assert ours.dtype == theirs.dtype
                assert pa.array(ours).to_pylist() == pa.array(theirs).to_pylist()


CELLS = st.one_of(
    st.sampled_from(["", "1", "0", "-3", "2.5", "1e3", "nan", "?", "true", "False", "12:30:00", "x", "é"]),
    st.sampled_from(
        ["2020-01-02", "2021-12-31", "2020-01-02 10:00:00", "2020-01-02T10:00:00.123", "12345678901234567890"]
    ),
    st.sampled_from(['"a,b"', '"two\nlines"', '"a ""word"""', '""', '5" pipe', 'a"b"c', '"x"y', '" 1 "']),
)
COLUMN = st.lists(CELLS, min_size=1, max_size=3).flatmap(
    lambda pool: st.lists(st.sampled_from([pool[0]] * 6 + pool), min_size=12, max_size=12)
)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(COLUMN, min_size=1, max_size=4),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.integers(1, 120),
    st.booleans(),
    st.sampled_from([",", ";"]),
)
@example([["1"] * 11 + ["true"], ["0"] * 6 + ["true"] * 6], "\n", 8, True, ",")
@example([["2020-01-02"] * 6 + ["7"] * 6, ["1"] * 6 + ["2.5"] * 6], "\n", 8, False, ",")
@example([['5" pipe'] + ['"two\nlines"'] * 11, ["1"] * 12], "\n", 8, True, ",")
@example([["1,5"] * 12, ["?"] * 6 + ["2,25"] * 6], "\n", 8, True, ";")
def test_pieces_of_any_size_make_the_table(columns, newline, size, ends, separator):
    names = separator.join("abcd"[: len(columns)])
    lines = [names, *(separator.join(cells) for cells in zip(*columns, strict=True))]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        path.write_bytes((newline.join(lines) + newline * ends).encode())
        assert_same(path, size)


JSON_CELLS = st.sampled_from(["null", "1", "2.5", '"x"', '"2020-01-02"', "true", "[1]", '{"k": 1}', '{"m": 2}'])


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(JSON_CELLS, min_size=1, max_size=2), min_size=1, max_size=3),
    st.lists(st.integers(0, 11), min_size=10, max_size=10),
    st.integers(1, 80),
)
@example([['"2020-01-02"', '"x"'], ["1", "2.5"]], [0] * 5 + [11] * 5, 16)
def test_pieces_of_json_lines_make_the_table(columns, choices, size):
    rows = []
    for number, choice in enumerate(choices):
        cells = {name: pool[choice % len(pool)] for name, pool in zip("abc", columns, strict=False)}
        if number % 4 == 3:
            cells.pop("a")
        rows.append("{" + ", ".join(f'"{name}": {cell}' for name, cell in cells.items()) + "}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.jsonl"
        path.write_text("\n".join(rows) + "\n")
        assert_same(path, size)


def mixed(count=400):
    generator = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "height": np.where(np.arange(count) % 9 == 0, np.nan, generator.normal(170, 10, count).round(2)),
            "tail": np.exp(generator.normal(0, 2, count)).round(4),
            "rooms": generator.integers(1, 6, count),
            "color": generator.choice(["red", "green", "blue"], count),
            "member": generator.choice(["Yes", "No"], count),
            "note": [f"line one\nand, number {row} of them" for row in range(count)],
            "born": [f"19{70 + row % 30}-01-02" for row in range(count)],
            "group": generator.integers(0, 60, count),
            "y": generator.choice(["cat", "dog"], count),
        }
    )


def bytes_of(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir()) if path.is_file()
    }


def written(frame: pd.DataFrame, folder: Path) -> list[Path]:
    paths = [folder / name for name in ("t.csv", "t.csv.gz", "t.tsv", "t.jsonl", "t.parquet")]
    frame.to_csv(paths[0], index=False)
    paths[1].write_bytes(gzip.compress(paths[0].read_bytes()))
    frame.to_csv(paths[2], index=False, sep="\t")
    frame.to_json(paths[3], orient="records", lines=True)
    table = pa.Table.from_pandas(frame, preserve_index=False)
    pq.write_table(
        table.set_column(3, "color", table.column("color").dictionary_encode()), paths[4], row_group_size=150
    )
    return paths


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_every_format_in_pieces_makes_the_bytes_of_the_whole(tmp_path, monkeypatch, task):
    fields = {"target": "y" if task == "classification" else "tail", "group": "group", "missing": "drop_rows"}
    for path in written(mixed(), tmp_path):
        found = []
        for size in (2**25, 3000, 700):
            monkeypatch.setattr(table_pieces, "PIECE_BYTES", size)
            folder = tmp_path / f"{path.name}-{size}"
            ingest(make_config(source="table", path=str(path), **fields), task, folder, 1, Silence())
            found.append(bytes_of(folder))
        assert found[0] == found[1] == found[2]
        assert len(found[0]) >= 14


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.jsonl", "t.parquet"])
def test_a_killed_reading_goes_on_behind_the_last_piece(tmp_path, monkeypatch, name):
    path = next(path for path in written(mixed(), tmp_path) if path.name == name)
    if name == "t.parquet":
        monkeypatch.setattr(table_pieces, "FEWEST_ROWS", 40)
    monkeypatch.setattr(table_pieces, "PIECE_BYTES", 2500)
    config = make_config(source="table", path=str(path), target="y")
    ingest(config, "classification", tmp_path / "whole", 1, Silence())
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    kept, ends = Kept(), []
    for killed_after in (1, 3, 2):
        kept.left = killed_after
        with pytest.raises(KeyboardInterrupt):
            ingest(config, "classification", tmp_path / "killed", 1, Silence(), Scratch(scratch, kept.named))
        ends.append(kept.load()[1]["rows"])
        (scratch / "column-0.f64").open("ab").write(b"half")  # what the killed process wrote beyond
    assert ends == sorted(set(ends))
    kept.left, read = None, []
    parse = table_pieces.open_pieces(path, ()).__class__.parse
    monkeypatch.setattr(
        table_pieces.open_pieces(path, ()).__class__,
        "parse",
        lambda self, piece, schema: read.append(piece.end) or parse(self, piece, schema),
    )
    ingest(config, "classification", tmp_path / "resumed", 1, Silence(), Scratch(scratch, kept.named))
    assert min(read) > 0
    assert kept.load()[1]["resumes_at"] == "row 401"
    assert bytes_of(tmp_path / "resumed") == bytes_of(tmp_path / "whole")
    before = len(read)
    ingest(config, "classification", tmp_path / "again", 1, Silence(), Scratch(scratch, kept.named))
    assert len(read) == before  # every piece is there
    assert bytes_of(tmp_path / "again") == bytes_of(tmp_path / "whole")
    state = kept.load()[1]
    for forged in ({"boot": state["boot"]}, {**state, "rows": "all"}, {**state, "schema": "no"}, {**state, "end": -1}):
        kept.kept = {}, forged
        rows = scan_table([path], (), ("y",), Scratch(scratch, kept.named), Silence()).frame
        assert len(rows) == 400


def test_after_a_restart_of_the_machine_or_with_a_file_too_short_it_begins_anew(tmp_path, monkeypatch):
    path = written(mixed(), tmp_path)[0]
    monkeypatch.setattr(table_pieces, "PIECE_BYTES", 2500)
    whole = read_frame(path).frame["tail"].to_numpy(dtype=np.float64)
    for damage in ("boot", "short", "gone"):
        scratch = tmp_path / damage
        scratch.mkdir()
        kept = Kept(3)
        with pytest.raises(KeyboardInterrupt):
            scan_table([path], (), (), Scratch(scratch, kept.named), Silence())
        if damage == "boot":
            kept.kept[1]["boot"] = "another"
        elif damage == "short":
            (scratch / "column-1.f64").write_bytes(b"1234")
        else:
            (scratch / "other-columns.arrows").unlink()
        kept.left = None
        table = scan_table([path], (), (), Scratch(scratch, kept.named), Silence())
        np.testing.assert_array_equal(table.frame["tail"].to_numpy(dtype=np.float64), whole)


def test_more_columns_than_files_may_be_open(tmp_path):
    values = np.random.default_rng(0).normal(size=(12, 3000)).round(3)
    frame = pd.DataFrame(values, columns=[f"c{column}" for column in range(3000)])
    frame.to_csv(tmp_path / "t.csv", index=False)
    table = scan_table([tmp_path / "t.csv"], (), (), Scratch(tmp_path), Silence())
    np.testing.assert_array_equal(table.frame.to_numpy(dtype=np.float64), values)


RECORDS = {
    b"a,b\n1,2\n3,": 8,
    b"a,b\r\n1,2\r\n3,4\r": 10,
    b"a\r1\r2": 4,
    b'"x\ny",1\n"z\n': 8,
    b'"x""\n""y",1\n2,"\n': 12,
    b'5" pipe,1\n"a\nb",2\n"c\n': 18,
    b"no end": 0,
    b'"open\nfor ever\n': 0,
}


@pytest.mark.parametrize(("block", "size"), RECORDS.items())
def test_whole_records_end_outside_of_quotes(block, size):
    assert whole_records(block, ",") == size
    rows = list(csv.reader(io.StringIO(block[:size].decode(), newline="")))
    assert all(row.count("") == 0 for row in rows)


def test_a_quote_that_is_left_open_is_refused_before_memory_is_full(tmp_path, monkeypatch):
    (tmp_path / "t.csv").write_text("a,b\n" + "1,2\n" * 30 + '1,"2\n' + "1,2\n" * 4000)
    monkeypatch.setattr(table_pieces, "PIECE_BYTES", 50)
    monkeypatch.setattr(table_text, "MOST_RECORD_BYTES", 2**10)
    with pytest.raises(
        DataError, match=r"^data\.path: expected rows of at most 0 MiB, got a longer one from line 32 of 't\.csv' on\."
    ):
        scan_table([tmp_path / "t.csv"], (), (), Scratch(tmp_path), Silence())


def test_pieces_of_a_small_file_take_little_memory_and_see_what_it_grew_by(tmp_path):
    (tmp_path / "table.csv").write_text("a,b\n" + "1,2\n" * 50)
    pieces = table_pieces.open_pieces(tmp_path / "table.csv", [])
    tracemalloc.start()  # a folder may have thousands of such files: a large buffer for each would take minutes
    assert [bytes(piece.content).count(b"\n") for piece in pieces.starting(0)] == [51]
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < table_pieces.PIECE_BYTES / 16
    with (tmp_path / "table.csv").open("a") as stream:
        stream.write("3,4\n" * 50_000)
    assert sum(bytes(piece.content).count(b"\n") for piece in pieces.starting(0)) == 50_051


def test_figures_of_blocks_are_those_of_the_whole(monkeypatch):
    monkeypatch.setattr(row_blocks, "BLOCK_ROWS", 64)
    values = np.exp(np.random.default_rng(0).normal(size=1000))
    values[::7] = np.nan
    present = values[~np.isnan(values)]
    assert row_blocks.mean_and_deviation(values) == pytest.approx((present.mean(), present.std()), rel=1e-13)
    assert row_blocks.least_and_largest(values) == (present.min(), present.max())
    centered = present - present.mean()
    expected = ((centered**3).mean() / present.std() ** 3, (centered**4).mean() / present.std() ** 4 - 3.0)
    assert row_blocks.moments(values) == pytest.approx(expected, rel=1e-12)
    assert row_blocks.distinct_values(values.round(1)) == len(np.unique(present.round(1)))
    assert row_blocks.distinct_values(np.full(3, np.nan)) == 0
    assert row_blocks.least_and_largest(np.full(3, np.nan)) is None


@pytest.mark.parametrize("distinct", [1, 2, 5_000, 60_000, 100_000, 250_000])
def test_distinct_values_of_a_long_column_are_counted_or_estimated_closely(distinct):
    generator = np.random.default_rng(distinct)
    values = generator.permutation(np.resize(np.arange(distinct) / 7.0 - 3.0, 300_000))
    values[::2] *= -1.0  # -0.0 is no other value than 0.0
    values[::9] = np.nan
    expected = len(np.unique(values[~np.isnan(values)] + 0.0))
    found = row_blocks.distinct_values(values)
    assert found == expected if expected < 50_000 else found == pytest.approx(expected, rel=0.05)
    assert found == float(f"{found:.3g}") or expected < 50_000


def test_long_columns_whose_values_all_differ_are_counted_exactly():
    values = np.random.default_rng(1).permutation(200_001).astype(np.float64)
    assert row_blocks.distinct_values(values) == 200_001
    values[0] = values[1]
    assert row_blocks.distinct_values(values) == 200_000


def test_columns_of_two_values():
    assert row_blocks.takes_two_values(np.float32([2, 2, 5, 5, 2]))
    assert row_blocks.takes_two_values(np.float32([2, 2]))
    assert not row_blocks.takes_two_values(np.float32([2, 3, 5]))


def test_duplicates_of_parts_are_those_of_the_whole(monkeypatch):
    generator = np.random.default_rng(0)
    rows = generator.integers(0, 4, (3000, 4)).astype(np.float32)
    rows[generator.random(rows.shape) < 0.1] = np.nan
    targets, assignment = generator.integers(0, 3, 3000), generator.integers(-1, 4, 3000).astype(np.int8)
    digests = digest_rows(rows)
    distinct = len({row.tobytes() for row in rows})
    assert len(np.unique(digests)) == distinct
    assert len(np.unique(digest_rows(np.where(rows == 0, np.float32(-0.0), rows)))) == distinct
    whole = duplicate_rows(digests, targets, assignment)
    assert whole["rows"] > 500
    monkeypatch.setattr(profile, "ROWS_COMPARED", 100)
    assert duplicate_rows(digests, targets, assignment) == whole

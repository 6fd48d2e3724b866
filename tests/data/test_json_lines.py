from __future__ import annotations

import gzip
import json

import numpy as np
import pyarrow as pa
import pytest

from data.contract import DataError
from data.json_lines import BLOCK_BYTES, parse_json_lines
from data.reading import read_input
from data.shared_types import common_schema


def lines(count=60):
    generator = np.random.default_rng(0)
    return [
        {
            "height": None if row % 9 == 0 else round(float(generator.normal(170, 10)), 2),
            "rooms": row % 5,
            "color": ["red", "green", "blue"][row % 3],
            "member": row % 7 < 3,
            "y": "uv"[row % 2],
        }
        for row in range(count)
    ]


def written(rows) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def as_csv(rows) -> str:
    cells = [["" if value is None else str(value) for value in row.values()] for row in rows]
    return "\n".join(",".join(line) for line in [list(rows[0]), *cells]) + "\n"


def test_json_lines_give_the_dataset_that_csv_gives(table):
    text = written(lines())
    datasets = [
        table(as_csv(lines()), name="t.csv"),
        table(text, name="t.jsonl"),
        table("\ufeff" + text.replace("\n", "\r\n\n"), name="t.ndjson"),
        table(gzip.compress(text.encode()), name="t.ndjson.gz"),
        table(text.replace('"height": null, ', ""), name="absent.JSONL"),
    ]
    found = [dataset.profile["dataset_sha256"] for dataset in datasets[:-1]]
    assert len(set(found)) == 1
    columns = {column["name"]: column for column in datasets[-1].profile["columns"]}
    assert columns["height"]["missing"] == 7
    assert {name: column["kind"] for name, column in columns.items()} == {
        "height": "numeric",
        "rooms": "numeric",
        "color": "categorical",
        "member": "boolean",
    }


def test_predictions_are_read_from_json_lines(table, tmp_path):
    dataset = table(written(lines()), name="t.jsonl")
    path = tmp_path / "new.jsonl"
    path.write_text('{"rooms": 3, "member": true, "color": "violet", "height": 1.5}\n{"rooms": 1, "more": [1]}\n')
    with pytest.raises(DataError, match=r"expected true or false"):
        read_input(dataset.preprocessing, path.with_name(bad(tmp_path, '{"rooms":1,"member":7,"color":"","height":1}')))
    raw = read_input(dataset.preprocessing, path).raw
    np.testing.assert_array_equal(raw, np.float32([[1.5, 3, -1, 1], [np.nan, 1, np.nan, np.nan]]))


def bad(folder, text):
    (folder / "bad.jsonl").write_text(text)
    return "bad.jsonl"


def test_values_that_hold_values_are_left_out_by_name(table):
    rows = [row | {"where": {"x": 1}, "tags": ["a"]} for row in lines()]
    reasons = {item["name"]: item["reason"] for item in table(written(rows), name="t.jsonl").profile["left_out"]}
    assert reasons["where"] == "values of type struct<x: int64>"
    assert reasons["tags"].startswith("values of type list<")


BAD = {
    "no object": (
        written(lines()) + "[1, 2]\n",
        r"^data\.path: expected a JSON object in every line, got a list in line 61 of 't\.jsonl'\. Write each row as ",
    ),
    "cut short": (written(lines())[:-9], r"expected a JSON object in every line, got .* in line 60 of 't\.jsonl'\."),
    "a key twice": ('{"a": 1, "a": 2}\n', r"got the key 'a' twice in line 1 of 't\.jsonl'"),
    "two kinds": (
        '{"a": 1, "y": "u"}\n\n{"a": null, "y": "v"}\n{"a": "x", "y": "u"}\n',
        r"^data\.path: expected values of one kind in every column, got text in 'a' in line 4 of 't\.jsonl', and a "
        r"number in line 1\. Write all of them alike\.$",
    ),
    "latin-1": ('{"a": "ü"}\n'.encode("latin-1"), r"expected UTF-8 text, got byte 0xfc in line 1 of 't\.jsonl'"),
    "empty": ("", r"expected one or more rows, got none in 't\.jsonl'"),
    "blank": ("\n\n", r"expected one or more rows, got none in 't\.jsonl'"),
    "infinite": (
        written(lines()).replace('"rooms": 1', '"rooms": Infinity', 1),
        "expected finite numbers, got 1 infin",
    ),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD.keys())
def test_bad_json_lines(table, text, message):
    with pytest.raises(DataError, match=message):
        table(text, name="t.jsonl")


def test_lines_longer_than_a_block_are_read():
    text = json.dumps({"a": "x" * (3 * BLOCK_BYTES)}) + "\n" + json.dumps({"a": "y"}) + "\n"
    assert [len(word) for word in parse_json_lines(text.encode()).column("a").to_pylist()] == [3 * BLOCK_BYTES, 1]


def test_the_common_schema_holds_all_values():
    schemas = [
        pa.schema([("a", pa.int64()), ("b", pa.null()), ("c", pa.timestamp("s"))]),
        pa.schema([("c", pa.string()), ("a", pa.float64()), ("b", pa.bool_()), ("d", pa.null())]),
    ]
    assert common_schema(schemas) == pa.schema(
        [("a", pa.float64()), ("b", pa.bool_()), ("c", pa.string()), ("d", pa.null())]
    )
    with pytest.raises(pa.ArrowException):
        common_schema([pa.schema([("a", pa.int64())]), pa.schema([("a", pa.string())])])

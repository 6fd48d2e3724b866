"""Changed files of every kind that data is read from: an error of ours or the data, and nothing else."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
import zlib

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.fuzzed_readers import READERS, Kind, npy, try_read
from data import table_files, table_text, unpacking
from tests.mutations import ROUNDS, mutated

KINDS = [pytest.param(kind, id=f"{name}-{kind.file}") for name, make in READERS.items() for kind in make()]


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@ROUNDS
def test_any_bytes_are_read_or_refused(kind, data, tmp_path):
    content = data.draw(mutated(data.draw(st.sampled_from(kind.seeds))))
    refusal = try_read(kind, content, tmp_path)  # whatever else is raised, fails
    assert refusal is None or ("\n" not in refusal and len(refusal) < 3000)


@pytest.mark.parametrize("kind", KINDS)
def test_seeds_are_files_that_are_read(kind, tmp_path):
    """One of them at least: what is changed must begin as something that a reader takes."""
    assert None in [try_read(kind, seed, tmp_path) for seed in kind.seeds]


def kind_of(name: str, file: str) -> Kind:
    return next(kind for kind in READERS[name]() if kind.file == file)


def npy_header(shape: str, descr: str = "'|u1'", version: int = 1) -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY" + bytes((version, 0)) + struct.pack("<H" if version == 1 else "<I", len(text)) + text


def parquet(table: pyarrow.Table, **options: object) -> bytes:
    stream = io.BytesIO()
    pyarrow.parquet.write_table(table, stream, **options)
    return stream.getvalue()


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = [
        (b"IHDR", header),
        *chunks,
        (b"IDAT", zlib.compress(bytes(height * (width + 1) if width < 99 else 9))),
        (b"IEND", b""),
    ]
    body = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


LABELS = np.array(["a", "b", "b", "a"])
BROKEN_LABELS = npy(LABELS).replace(b"a\0\0\0", b"\xff\xff\x7f\x7f")
HALF_LABELS = npy(LABELS).replace(b"a\0\0\0", b"\x00\xd8\0\0")
DEEP_LIST = pyarrow.list_(pyarrow.int64())
for _ in range(120):
    DEEP_LIST = pyarrow.list_(DEEP_LIST)

FOUND: list[tuple[str, str, bytes, str | None]] = [
    (
        "idx",
        "images.idx3-ubyte",
        bytes((0, 0, 8, 200)) + b"\xff" * 800,
        "in 3 dimensions (magic 00000803), got 000008c8",
    ),
    (
        "idx",
        "images.idx3-ubyte",
        bytes((0, 0, 8, 3)) + b"\xff" * 12 + bytes(9),
        "as its header declares (4294967295 x ",
    ),
    ("idx", "images.idx3-ubyte", bytes((3, 8, 0, 0)) + struct.pack("<3I", 1, 1, 1) + b"\0", "got 03080000 in"),
    ("arrays", "y.npz", BROKEN_LABELS, "expected UTF-8 labels in 'y', got others. Save them as text."),
    ("arrays", "x.npy", npy_header(f"({'1,' * 3000})"), "header declares (shape (1, 1, 1, 1, 1, 1, 1, "),
    ("arrays", "x.npy", npy_header(f"({'1,' * 6000})"), "Header info length"),
    ("arrays", "x.npy", npy_header("(-4,)"), "expected -4 bytes of data in 'x.npy' as its header declares"),
    ("arrays", "x.npy", npy_header("(9223372036854775807, 9223372036854775807)"), "got 0. Save the array again."),
    ("arrays", "x.npy", npy_header("(1000000000000000000, 3)", "'<U0'"), "expected numbers in 'x', got <U0"),
    ("arrays", "x.npy", npy_header("(2,)", "[('a', '|O')]"), "got pickled objects in 'x.npy'"),
    ("arrays", "x.npy", npy_header("(2,), 'more': __import__('os').system('x')"), "got 'x.npy' ("),
    ("arrays", "damaged.npz", b"PK\x05\x06" + bytes(18), "expected an array 'x' in 'damaged.npz', got none"),
    ("csv", "table.csv", b"g\xff\n1\n2\n", "got byte 0xff in line 1 of 'table.csv'. Save the file as UTF-8."),
    ("csv", "table.csv", "a,y\n1,2\n".encode("utf-16"), "whose header has zero bytes (UTF-16, or no text)"),
    (
        "csv",
        "table.csv",
        b",".join(b"%d" % i for i in range(30_000)) + b"\n" + b"1," * 29_999 + b"1\n",
        "20,000 columns, got 30,000",
    ),
    ("csv", "table.csv", b"a" * 2**20 + b",b\n1,2\n", "expected a header of at most 1024 KiB"),
    ("csv", "table.csv.gz", b"a" * 2**21, "expected a header of at most 1024 KiB"),
    ("csv", "table.csv", b"a,y\n1," + b"9" * 5000 + b"\n2,3\n", "got 1 infinite in column 'y' (first in row 1)"),
    ("json_lines", "table.jsonl", b'{"a":' + b"[" * 20_000 + b"]" * 20_000 + b"}\n", "in line 1 of 'table.jsonl'"),
    (
        "json_lines",
        "table.jsonl",
        b'{"a":1}\n{"a":' + b"[" * 40 + b"]" * 40 + b"}\n",
        "at most 32 levels of nesting, got more in line 2",
    ),
    ("json_lines", "table.jsonl", b'{"a":\n' * 5_000 + b"1" + b"}" * 5_000, "expected a JSON object in every line"),
    ("json_lines", "table.jsonl", b'{"a": "' + b"[" * 90 + b'"}\n' * 1, None),
    (
        "json_lines",
        "table.jsonl",
        b"".join(b'{"k%d":1}\n' % i for i in range(8_000)),
        "(8000 different keys in 8001 lines: 512064000 bytes of cells)",
    ),
    ("json_lines", "table.jsonl", b'{"a": ' + b"9" * 5000 + b"}\n", "got 1 infinite in column 'a' (first in row 1)"),
    (
        "parquet",
        "table.parquet",
        parquet(pyarrow.table({"a": pyarrow.nulls(1, DEEP_LIST)})),
        "schema too deeply nested",
    ),
    ("parquet", "table.parquet", b"PAR1" + bytes(20) + b"\xff\xff\xff\x7fPAR1", "expected a whole Parquet file"),
    ("images", "damaged.png", png(50_000, 50_000), "more than the 64 million that are decoded"),
    ("images", "damaged.png", png(2**31 - 1, 2**31 - 1), "more than the 64 million that are decoded"),
    (
        "images",
        "damaged.png",
        png(3, 3, (b"zTXt", b"a\0\0" + zlib.compress(bytes(2**24)))),
        "Decompressed data too large",
    ),
    ("images", "damaged.png", b"GIF89a" + bytes(40), "no PNG, JPEG or BMP image"),
    ("images", "damaged.png", b"II*\0" + b"\xff" * 40, "no PNG, JPEG or BMP image"),
]


@pytest.mark.parametrize(("reader", "file", "content", "message"), FOUND)
def test_malformed_files(reader, file, content, message, tmp_path):
    refusal = try_read(kind_of(reader, file), content, tmp_path)
    assert (refusal is None) == (message is None), refusal
    assert message is None or message in str(refusal)


@pytest.mark.parametrize("labels", [BROKEN_LABELS, HALF_LABELS])
def test_labels_that_are_no_text(labels, tmp_path):
    from data.config import ArraysData
    from data.contract import DataError
    from data.sources.arrays import load_arrays

    (tmp_path / "x.npy").write_bytes(npy(np.zeros((4, 2))))
    (tmp_path / "y.npy").write_bytes(labels)
    with pytest.raises(DataError, match=r"^data\.y: expected UTF-8 labels in 'y', got others\. Save them as text\.$"):
        load_arrays(ArraysData(source="arrays", path=str(tmp_path)), "classification")


@pytest.mark.parametrize(
    ("reader", "file"), [("csv", "table.csv.gz"), ("json_lines", "table.ndjson.gz"), ("series", "recording.csv.gz")]
)
def test_what_unpacks_to_far_more_than_its_size_is_not_read_whole(reader, file, tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "UNPACKED_FREELY_BYTES", 2**20)
    kind = kind_of(reader, file)
    row = b"1,1,1,1,1\n" if reader != "json_lines" else b'{"a":1}\n'
    head = b"t,who,a,b,y\n" if reader != "json_lines" else b""
    refusal = try_read(kind, head + row * 200_000, tmp_path)
    assert refusal is not None
    assert refusal.startswith(
        "data.path: expected a file that takes 20 times its size in memory, or 1 MiB, at most, got "
    )
    assert refusal.endswith(f"in '{file}'. Unpack the file, if you trust it.")


def test_a_parquet_of_few_bytes_and_many_rows_is_not_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "UNPACKED_FREELY_BYTES", 2**20)
    content = parquet(pyarrow.table({"a": np.zeros(2**18, np.int8)}), compression="zstd")
    assert "at most, got 2097152 bytes out of" in str(try_read(kind_of("parquet", "table.parquet"), content, tmp_path))
    content = parquet(pyarrow.table({"a": ["a" * 2**21]}), compression="zstd", use_dictionary=False)
    assert "smaller row groups, if you trust it" in str(
        try_read(kind_of("parquet", "table.parquet"), content, tmp_path)
    )


@pytest.mark.parametrize("place", ["npz", "idx"])
def test_zip_and_gzip_bombs_are_refused_before_they_are_unpacked(place, tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "UNPACKED_FREELY_BYTES", 2**20)
    size = 8 * 2**20
    if place == "npz":
        with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            archive.writestr("y.npy", npy(np.zeros(size // 2**20)))
            with archive.open("x.npy", "w") as stream:
                stream.write(npy_header(f"({size // 2**20}, {2**20})"))
                for _ in range(size // 2**20):
                    stream.write(bytes(2**20))
        kind, expected = kind_of("arrays", "x.npz"), rf"got {size + 76} bytes out of"
    else:
        with gzip.open(tmp_path / "zipped.idx3-ubyte.gz", "wb", 1) as stream:
            stream.write(bytes((0, 0, 8, 3)) + struct.pack(">3I", size // 2**20, 2**10, 2**10))
            for _ in range(size // 2**20):
                stream.write(bytes(2**20))
        kind, expected = kind_of("idx", "zipped.idx3-ubyte.gz"), f"got {size} bytes out of"
    with pytest.raises(Exception, match=expected):
        kind.read(tmp_path / kind.file)


def test_a_record_that_never_ends_is_refused_when_it_is_looked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(table_text, "MOST_RECORD_BYTES", 2**12)
    (tmp_path / "t.csv").write_bytes(b"a,b\n1," + b"x" * 2**13 + b"\xff\n")
    with pytest.raises(Exception, match=r"rows of at most 0 MiB, got a longer one from line 2 of 't\.csv' on"):
        table_files.read_frame(tmp_path / "t.csv")

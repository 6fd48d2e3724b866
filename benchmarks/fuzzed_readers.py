"""The readers of what comes from outside, each with small valid files to begin from: for fuzz.py and the tests.

A fuzzer that changes bytes of a zip, of a PNG or of what carries a digest finds checksums and nothing else. So a kind
of file may have a `pack`: what is changed is its inside, and `pack` makes a file with right sums of it.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from data.contract import PenjingError
from data.pictures import UnreadablePicture

REFUSALS = (PenjingError, UnreadablePicture)
"""What a reader may raise, whatever the bytes are."""


@dataclass(frozen=True)
class Kind:
    """A kind of file that a reader takes.

    Attributes:
        file: name that the file is given, which says how it is read.
        seeds: contents to begin from, valid ones.
        read: reads such a file to its end; raises `REFUSALS` alone.
        pack: content -> bytes of the file.
    """

    file: str
    seeds: tuple[bytes, ...]
    read: Callable[[Path], object]
    pack: Callable[[bytes], bytes] = bytes


class Silence:
    """A progress that says nothing."""

    def step(self, label: str, done: int, total: int, figures: Mapping[str, float | str]) -> None:
        """Says nothing."""

    def note(self, text: str) -> None:
        """Says nothing."""


def try_read(kind: Kind, content: bytes, folder: Path) -> str | None:
    """Writes a file and reads it.

    Args:
        kind: of file.
        content: before it is packed.
        folder: an existing one.

    Returns:
        The message of the refusal; None where the file was read.

    Raises:
        Exception: whatever else came out of the reader: a fault of it.
    """
    path = folder / kind.file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(kind.pack(content))
    try:
        kind.read(path)
    except REFUSALS as error:
        return str(error)
    return None


def zipped(name: str, content: bytes, others: Mapping[str, bytes] | None = None) -> bytes:
    """Returns a zip of one file and others, not packed."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for other, inside in {**(others or {}), name: content}.items():
            archive.writestr(zipfile.ZipInfo(other), inside)
    return stream.getvalue()


def npy(array: np.ndarray[Any, Any]) -> bytes:
    """Returns the bytes of an .npy file."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, allow_pickle=False)
    return stream.getvalue()


def gzipped(content: bytes) -> bytes:
    """Returns the bytes of a .gz file."""
    return gzip.compress(content, 1, mtime=0)


# ------------------------------------------------------------------------------------------- arrays


def _idx() -> list[Kind]:
    from data.sources.idx import read_idx

    images = bytes((0, 0, 8, 3)) + struct.pack(">3I", 4, 3, 2) + bytes(range(24))
    labels = bytes((0, 0, 8, 1)) + struct.pack(">I", 5) + bytes(5)

    def read(path: Path, dimensions: int) -> None:
        read_idx(path, dimensions).sum()

    return [
        Kind("images.idx3-ubyte", (images,), partial(read, dimensions=3)),
        Kind("labels.idx1-ubyte", (labels,), partial(read, dimensions=1)),
        Kind("zipped.idx3-ubyte.gz", (images,), partial(read, dimensions=3), gzipped),
        Kind("damaged.idx3-ubyte.gz", (gzipped(images),), partial(read, dimensions=3)),
    ]


def _arrays() -> list[Kind]:
    from data.config import ArraysData
    from data.sources.arrays import load_arrays

    rows: list[np.ndarray[Any, Any]] = [
        np.arange(12, dtype=np.float32).reshape(4, 3),
        np.arange(48, dtype=np.uint8).reshape(4, 3, 4),
        np.array([0, 1, 1, 0]),
        np.array(["a", "b", "b", "a"]),
    ]
    seeds = tuple(map(npy, rows))
    others = {f"{name}.npy": npy(array) for name, array in (("x", rows[0]), ("y", rows[2]))}

    def read(path: Path) -> None:
        place = str(path if path.suffix == ".npz" else path.parent)
        for task in ("classification", "regression"):
            load_arrays(ArraysData(source="arrays", path=place), task)

    def beside(path: Path) -> None:
        (path.parent / "y.npy").write_bytes(others["y.npy"])
        read(path)

    return [
        Kind("x.npy", seeds, beside),
        Kind("x.npz", seeds, read, lambda content: zipped("x.npy", content, others)),
        Kind("y.npz", seeds, read, lambda content: zipped("y.npy", content, others)),
        Kind("damaged.npz", (zipped("x.npy", others["x.npy"], others),), read),
    ]


# ------------------------------------------------------------------------------------------- tables

CSV = (
    b'a,b,y\n1,x,0\n2.5,"q ""r"" s",1\n?,z,1\n4e3,,0\n',
    b"a;b\n1,5;2\n2,5;3\n",
    b"when\tn\n2026-01-31 12:00:00\t1\n2026-02-01 12:00:00\t2\n",
)
JSON_LINES = (b'{"a": 1, "b": "x", "y": null}\n{"a": 2.5, "b": "z", "y": true}\n\n{"a": -3e5}\n',)


def _table(path: Path) -> None:
    """Reads a table whole, as input of a prediction, and piece by piece, as training data; then its columns."""
    import tempfile

    from data.columns import recognise
    from data.scratch import Scratch
    from data.table_files import read_frame
    from data.table_scan import scan_table

    refusal: Exception | None = None
    try:
        frame = read_frame(path).frame
    except REFUSALS as error:
        refusal = error
    else:
        for name in frame.columns:
            recognise(str(name), frame[name], None, asked_for=False)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        scan_table([path], [], [], Scratch(Path(folder)), Silence())
    if refusal is not None:
        raise refusal


def _csv() -> list[Kind]:
    return [
        Kind("table.csv", CSV, _table),
        Kind("table.tsv", CSV[2:], _table),
        Kind("table.csv.gz", CSV[:2], _table, gzipped),
        Kind("damaged.csv.gz", (gzipped(CSV[0]),), _table),
    ]


def _json_lines() -> list[Kind]:
    return [Kind("table.jsonl", JSON_LINES, _table), Kind("table.ndjson.gz", JSON_LINES, _table, gzipped)]


def _parquet() -> list[Kind]:
    import pyarrow.parquet

    seeds = []
    for compression in ("none", "snappy", "zstd", "gzip"):
        stream = io.BytesIO()
        words = pyarrow.array(["x", None, "x", "z"]).dictionary_encode()
        columns = {"a": [1, 2, None, 4], "b": words, "c": [1.5, 2.5, 3.5, 4.5], "d": [[1], [2, 3], [], None]}
        pyarrow.parquet.write_table(pyarrow.table(columns), stream, compression=compression)
        seeds.append(stream.getvalue())
    return [Kind("table.parquet", tuple(seeds), _table)]


def _series() -> list[Kind]:
    from data.recording import Roles
    from data.recordings import read_recordings

    rows = b"t,who,a,b,y\n1,k,0.5,1,x\n2,k,0.25,2,x\n1,m,0.5,3,z\n2,m,,4,z\n"
    roles = (Roles(None, None, None, None, "interpolate"), Roles(("a", "b"), "t", "who", "y", "interpolate"))

    def read(path: Path) -> None:
        refusals = []
        for role in roles:
            try:
                read_recordings(path, path.name, role)
            except PenjingError as error:
                refusals.append(error)
        if refusals:
            raise refusals[0]

    return [Kind("recording.csv", (rows,), read), Kind("recording.csv.gz", (rows,), read, gzipped)]


# ------------------------------------------------------------------------------------------- images


def _with_right_sums(content: bytes) -> bytes:
    """Corrects the CRC of each chunk of a PNG, and the lengths that lead out of it."""
    out, position = [content[:8]], 8
    while position + 8 <= len(content):
        declared = int.from_bytes(content[position : position + 4], "big")
        kind = content[position + 4 : position + 8]
        inside = content[position + 8 : position + 8 + min(declared, len(content))]
        out += [struct.pack(">I", len(inside)), kind, inside, struct.pack(">I", zlib.crc32(kind + inside))]
        position += 12 + len(inside)
    return b"".join(out)


def _images() -> list[Kind]:
    import PIL.Image

    from data.pictures import read_picture

    pixels = np.arange(5 * 4 * 4, dtype=np.uint8).reshape(5, 4, 4)
    modes: dict[str, Any] = {
        "L": pixels[..., 0],
        "RGB": pixels[..., :3],
        "RGBA": pixels,
        "LA": pixels[..., :2],
        "I;16": pixels[..., 0].astype(np.uint16) * 257,
    }

    def saved(mode: str, kind: str) -> bytes:
        stream = io.BytesIO()
        image = PIL.Image.fromarray(np.ascontiguousarray(modes[mode]))
        exif = PIL.Image.Exif()
        exif[0x0112] = 6
        image.save(stream, kind, **({} if kind == "BMP" else {"exif": exif}))
        return stream.getvalue()

    png = tuple(saved(mode, "PNG") for mode in modes)

    def read(path: Path) -> None:
        for channels in (1, 3):
            read_picture(path, (3, 3, channels))

    return [
        Kind("image.png", png, read, _with_right_sums),
        Kind("damaged.png", png, read),
        Kind("image.jpg", (saved("L", "JPEG"), saved("RGB", "JPEG")), read),
        Kind("image.bmp", (saved("L", "BMP"), saved("RGB", "BMP")), read),
    ]


def with_digest(content: bytes) -> bytes:
    """Returns a checkpoint whose digest fits what is in it."""
    return content + hashlib.sha256(content).digest()


READERS: dict[str, Callable[[], list[Kind]]] = {
    "idx": _idx,
    "arrays": _arrays,
    "csv": _csv,
    "json_lines": _json_lines,
    "parquet": _parquet,
    "series": _series,
    "images": _images,
}
"""Name of a reader -> the kinds of files that it takes."""

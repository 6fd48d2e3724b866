"""Writes arrays, IDX files and series of a stated size, and ingests them: for `benchmarks.memory`."""

from __future__ import annotations

import gzip
import struct
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

KINDS = ("arrays", "idx", "series")
BLOCK_ROWS = 10_000
NUM_FEATURES = 100
SIDE = 28
NUM_CHANNELS = 8
WINDOW = 100


def write_source(kind: str, size: int, folder: Path) -> Path:
    """Writes a source of about `size` bytes, unpacked, in blocks; returns the path that a config names.

    Args:
        kind: `arrays`: a compressed .npz of vectors; `idx`: MNIST's four files, gzipped; `series`: one CSV.
        size: bytes.
        folder: where.
    """
    folder.mkdir(parents=True)
    writers: dict[str, Callable[[int, Path], Path]] = {"arrays": _arrays, "idx": _idx, "series": _series}
    return writers[kind](size, folder)


def ingest_source(kind: str, path: str, folder: str) -> dict[str, float]:
    """Ingests what `write_source` wrote; returns the seconds."""
    from data.config import ArraysData, IdxData, SeriesData
    from data.ingest import ingest
    from data.scratch import Scratch

    configs: dict[str, Any] = {
        "arrays": lambda: ArraysData(source="arrays", path=path),
        "idx": lambda: IdxData(source="idx", path=path),
        "series": lambda: SeriesData(source="series", path=path, window=WINDOW, target="kind", group="who"),
    }
    started = time.perf_counter()
    ingest(configs[kind](), "classification", Path(folder), 1, _Silence(), Scratch(Path(folder) / "scratch"))
    return {"seconds": time.perf_counter() - started}


class _Silence:
    def step(self, *told: Any) -> None:
        """Says nothing."""

    def note(self, text: str) -> None:
        """Says nothing."""


def _blocks(rows: int) -> Iterator[int]:
    for start in range(0, rows, BLOCK_ROWS):
        yield min(BLOCK_ROWS, rows - start)


def _arrays(size: int, folder: Path) -> Path:
    generator, rows = np.random.default_rng(1), size // (4 * NUM_FEATURES)
    path = folder / "arrays.npz"

    def features(count: int) -> Any:
        return generator.integers(0, 999, (count, NUM_FEATURES)).astype(np.float32) / 7

    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("x.npy", "w", force_zip64=True) as stream:
            _write_npy(stream, (rows, NUM_FEATURES), np.dtype(np.float32), map(features, _blocks(rows)))
        with archive.open("y.npy", "w", force_zip64=True) as stream:
            labels = (generator.integers(0, 10, count) for count in _blocks(rows))
            _write_npy(stream, (rows,), np.dtype(np.int64), labels)
    return path


def _write_npy(stream: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any], blocks: Iterator[Any]) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)
    for block in blocks:
        stream.write(np.ascontiguousarray(block).data)


def _idx(size: int, folder: Path) -> Path:
    generator, rows = np.random.default_rng(1), size // SIDE**2
    for split, count in (("train", rows - rows // 7), ("t10k", rows // 7)):
        with gzip.open(folder / f"{split}-images-idx3-ubyte.gz", "wb", compresslevel=1) as stream:
            stream.write(bytes((0, 0, 8, 3)) + struct.pack(">3I", count, SIDE, SIDE))
            for block in _blocks(count):
                pixels = generator.integers(0, 256, (block, SIDE, SIDE), np.uint8)
                stream.write((pixels * (pixels > 200)).tobytes())
        with gzip.open(folder / f"{split}-labels-idx1-ubyte.gz", "wb", compresslevel=1) as stream:
            stream.write(bytes((0, 0, 8, 1)) + struct.pack(">I", count))
            stream.write(generator.integers(0, 10, count, np.uint8).tobytes())
    return folder


def _series(size: int, folder: Path) -> Path:
    import pyarrow
    import pyarrow.csv

    generator, path, step = np.random.default_rng(1), folder / "long.csv", 0
    with path.open("wb") as stream:
        while stream.tell() < size:
            steps = np.arange(step, step + BLOCK_ROWS)
            columns: dict[str, Any] = {
                f"channel_{place}": generator.normal(0.0, 10.0, BLOCK_ROWS).round(5) for place in range(NUM_CHANNELS)
            }
            columns["kind"] = pyarrow.array(["up", "down"]).take(pyarrow.array(steps // 1000 % 2))
            columns["who"] = steps // 50_000
            options = pyarrow.csv.WriteOptions(include_header=step == 0, quoting_style="none")
            pyarrow.csv.write_csv(pyarrow.table(columns), stream, options)
            step += BLOCK_ROWS
    return path

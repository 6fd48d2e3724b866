"""Peak memory and seconds of ingest on files of a stated size, and of training from them.

Run from the root of the repository:

    .venv/bin/python -m benchmarks.memory ingest [--gigabytes 5] [--shape wide] [--formats csv parquet jsonl]
    .venv/bin/python -m benchmarks.memory images [--count 200000]
    .venv/bin/python -m benchmarks.memory sources [--gigabytes 1] [--kinds arrays idx series]
    .venv/bin/python -m benchmarks.memory training [--rows 20000] [--repeats 3]

`ingest` writes a table of that size (wide: 300 columns of numbers, that become one feature each; narrow: 20, that
become some ten each with their bins), then reads it with pyarrow alone and ingests it, each in a process of its own.
`images` ingests as many PNG files. `sources` ingests a compressed .npz, gzipped IDX files and one CSV of a series, each
of a tenth of that size, unpacked, and of all of it. `training` trains 784-300-100-10 for two epochs on pictures, on ten
times as many, and on the latter as they lie in memory, in turn. Every 20 ms the memory of the measured process and of
those that it started is summed up: RssAnon is what they hold; Rss counts pages of files too that the system would take
back at once. Imports are left out of the seconds, not of the memory; `cpu` is what all threads worked, imports too.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.memory_sources import KINDS, ingest_source, write_source

SHAPES = {"wide": 300, "narrow": 20}
ROWS_WRITTEN = 20_000
EPOCHS = 2
SAMPLED_EVERY_SECONDS = 0.02
LIMIT_BYTES = 1.5e9


def main() -> None:
    """Measures what the command line asks for, and prints it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    commands = parser.add_subparsers(dest="command", required=True)
    ingests = commands.add_parser("ingest")
    ingests.add_argument("--gigabytes", type=float, default=5.0)
    ingests.add_argument("--shape", choices=SHAPES, default="wide")
    ingests.add_argument("--formats", nargs="+", choices=("csv", "parquet", "jsonl"), default=["csv", "parquet"])
    pictures = commands.add_parser("images")
    pictures.add_argument("--count", type=int, default=200_000)
    others = commands.add_parser("sources")
    others.add_argument("--gigabytes", type=float, default=1.0)
    others.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    trains = commands.add_parser("training")
    trains.add_argument("--rows", type=int, default=20_000)
    trains.add_argument("--repeats", type=int, default=3)
    for name in _CHILDREN:
        commands.add_parser(name).add_argument("arguments", nargs="*")
    given = parser.parse_args()
    if given.command in _CHILDREN:
        started = time.perf_counter()
        figures = _CHILDREN[given.command](*given.arguments)
        used = resource.getrusage(resource.RUSAGE_SELF)
        cpu = used.ru_utime + used.ru_stime
        print(json.dumps({"seconds": time.perf_counter() - started, "cpu": cpu} | (figures or {})))
        return
    with tempfile.TemporaryDirectory(dir=".") as folder:
        if given.command == "ingest":
            measure_ingest(given.gigabytes, given.shape, given.formats, Path(folder))
        elif given.command == "images":
            measure_images(given.count, Path(folder))
        elif given.command == "sources":
            measure_sources(given.gigabytes, given.kinds, Path(folder))
        else:
            measure_training(given.rows, given.repeats, Path(folder))


def measure_ingest(gigabytes: float, shape: str, formats: list[str], folder: Path) -> None:
    """Prints, for each format, what pyarrow alone and ingest need for a table of that size."""
    print(f"{gigabytes:g} GB, {SHAPES[shape]} columns of numbers, 2 of words; {len(os.sched_getaffinity(0))} cores")
    for kind in formats:
        path = folder / f"table.{kind}"
        rows = write_table(path, int(gigabytes * 1e9), SHAPES[shape])
        print(f"{kind}: {path.stat().st_size / 1e9:.2f} GB, {rows:,} rows")
        alone = measured("pyarrow", str(path))
        print(f"  pyarrow alone  {_line(alone)}")
        whole = measured("ingest-child", str(path), str(folder / "dataset"))
        print(f"  ingest         {_line(whole)}  {whole['seconds'] / alone['seconds']:.2f} x pyarrow")
        print(f"  limit of {LIMIT_BYTES / 1e9} GB: {'met' if whole['anonymous'] <= LIMIT_BYTES else 'missed'}")
        path.unlink()
        subprocess.run(["rm", "-r", str(folder / "dataset")], check=True)


def measure_images(count: int, folder: Path) -> None:
    """Prints what ingest needs for a folder of pictures of 64x64 pixels."""
    from PIL import Image

    generator = np.random.default_rng(1)
    for number in range(count):
        place = folder / "pictures" / f"class {number % 10}" / f"{number // 1000}"
        if number % 1000 < 10:
            place.mkdir(parents=True)
        pixels = generator.integers(0, 256, (8, 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
        Image.fromarray(pixels).save(place / f"{number}.png", compress_level=1)
    whole = measured("images-child", str(folder / "pictures"), str(folder / "dataset"))
    print(f"{count:,} images  {_line(whole)}  {count / whole['seconds']:,.0f} images a second")


def measure_sources(gigabytes: float, kinds: list[str], folder: Path) -> None:
    """Prints what ingest needs for each kind of source, of a tenth of that size and of all of it."""
    for kind in kinds:
        held = []
        for size in (gigabytes / 10, gigabytes):
            path = write_source(kind, int(size * 1e9), folder / kind)
            found = measured("source-child", kind, str(path), str(folder / "dataset"))
            held.append(found["anonymous"])
            print(f"{kind:7} {size:5.2f} GB  {_line(found)}")
            subprocess.run(["rm", "-r", str(folder / kind), str(folder / "dataset")], check=True)
        print(f"{kind:7} RssAnon at ten times the size: {held[1] / held[0]:.2f} x")


def measure_training(rows: int, repeats: int, folder: Path) -> None:
    """Prints memory and speed of training on rows, on ten times as many, and on these in memory."""
    for count in (rows, 10 * rows):
        measured("pictures", str(count), str(folder / f"dataset-{count}"))
    sides = {"mapped, 1 x": (rows, "mapped"), "mapped, 10 x": (10 * rows, "mapped")}
    sides["in memory, 10 x"] = (10 * rows, "memory")
    found: dict[str, list[dict[str, float]]] = {}
    for _ in range(repeats):
        for name, (count, where) in sides.items():
            found.setdefault(name, []).append(measured("train-child", str(folder / f"dataset-{count}"), where))
    for name, figures in found.items():
        speeds = [each["samples_a_second"] for each in figures]
        spread = f"{statistics.median(speeds):9,.0f} samples a second ({min(speeds):,.0f} to {max(speeds):,.0f})"
        print(f"{name:16} {_line(max(figures, key=lambda each: each['anonymous']))}  {spread}")
    held = {name: max(each["anonymous"] for each in figures) for name, figures in found.items()}
    speed = {name: statistics.median(each["samples_a_second"] for each in figures) for name, figures in found.items()}
    print(
        f"RssAnon at ten times the rows: {held['mapped, 10 x'] / held['mapped, 1 x']:.3f} x; "
        f"speed of mapped rows: {speed['mapped, 10 x'] / speed['in memory, 10 x']:.3f} x those in memory"
    )


def measured(command: str, *arguments: str) -> dict[str, float]:
    """Runs a child of this script; returns what it printed, and peak RssAnon and Rss of its processes in bytes."""
    child = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.memory", command, *arguments], stdout=subprocess.PIPE, text=True
    )
    anonymous = resident = 0
    while child.poll() is None:
        figures = [_memory(process) for process in _family(child.pid)]
        anonymous = max(anonymous, sum(each["RssAnon"] for each in figures))
        resident = max(resident, sum(each["VmRSS"] for each in figures))
        time.sleep(SAMPLED_EVERY_SECONDS)
    if child.returncode != 0 or child.stdout is None:
        raise SystemExit(f"{command} ended with {child.returncode}")
    printed: dict[str, float] = json.loads(child.stdout.read().splitlines()[-1])
    return printed | {"anonymous": float(anonymous), "resident": float(resident)}


def _family(process: int) -> list[int]:
    """Returns a process and those that it started."""
    try:
        tasks = list(Path(f"/proc/{process}/task").iterdir())
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:  # it ended meanwhile
        return []
    return [process, *(each for child in children for each in _family(child))]


def _memory(process: int) -> dict[str, int]:
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:  # it ended meanwhile
        lines = []
    fields = dict(line.split(":", 1) for line in lines)
    return {name: 1024 * int(fields.get(name, "0 kB").split()[0]) for name in ("RssAnon", "VmRSS")}


def _line(figures: Mapping[str, float]) -> str:
    anonymous, resident = figures["anonymous"] / 1e6, figures["resident"] / 1e6
    times = f"{figures['seconds']:7.1f} s  cpu {figures['cpu']:6.1f} s"
    return f"{times}  RssAnon {anonymous:6,.0f} MB  Rss {resident:6,.0f} MB"


def write_table(path: Path, size: int, num_columns: int) -> int:
    """Writes a table of about `size` bytes; returns its rows."""
    import pyarrow
    import pyarrow.csv
    import pyarrow.parquet

    generator, rows, writer = np.random.default_rng(1), 0, None
    words = pyarrow.array([f"shop {number}" for number in range(50)])
    with path.open("wb") as stream:
        while stream.tell() < size:
            columns = {f"x{place}": generator.normal(0.0, 10.0, ROWS_WRITTEN).round(5) for place in range(num_columns)}
            table = pyarrow.table(columns | {"shop": words.take(generator.integers(0, 50, ROWS_WRITTEN))})
            table = table.append_column(
                "y", pyarrow.array(["good", "bad"]).take(generator.integers(0, 2, ROWS_WRITTEN))
            )
            if path.suffix == ".csv":
                options = pyarrow.csv.WriteOptions(include_header=rows == 0, quoting_style="none")
                pyarrow.csv.write_csv(table, stream, options)
            elif path.suffix == ".jsonl":
                stream.write(table.to_pandas().to_json(orient="records", lines=True).encode())
            else:
                writer = pyarrow.parquet.ParquetWriter(stream, table.schema) if writer is None else writer
                writer.write_table(table)
            rows += ROWS_WRITTEN
        if writer is not None:
            writer.close()
    return rows


def _read_with_pyarrow(path: str) -> dict[str, float]:
    import pyarrow.csv
    import pyarrow.json
    import pyarrow.parquet

    started = time.perf_counter()
    readers = {".csv": pyarrow.csv.read_csv, ".jsonl": pyarrow.json.read_json}
    readers[".parquet"] = pyarrow.parquet.read_table
    table = readers[Path(path).suffix](path)
    return {"seconds": time.perf_counter() - started, "rows": float(table.num_rows)}


def _ingest(path: str, folder: str) -> dict[str, float]:
    from data.config import TableData
    from data.ingest import ingest
    from data.scratch import Scratch

    started = time.perf_counter()
    scratch = Scratch(Path(folder) / "scratch")
    ingest(TableData(source="table", path=path, target="y"), "classification", Path(folder), 1, _Silence(), scratch)
    return {"seconds": time.perf_counter() - started}


def _pictures(rows: str, folder: str) -> None:
    """Writes the data set that ingest makes of 28x28 pictures of ten classes, each one noisy pattern, and a model."""
    from benchmarks.training_speed import prepare

    Path(folder).mkdir()
    prepare("mlp", int(rows), Path(folder))


def _whole(dataset: Any, file_name: str) -> Any:
    return np.load(dataset.folder / file_name)


def _train(folder: str, where: str) -> dict[str, float]:
    from benchmarks.training_speed import run_stage
    from data.dataset import Dataset

    if where == "memory":
        setattr(Dataset, "_array", _whole)  # noqa: B010 - what a user with much memory would patch
    seconds = run_stage(Path(folder), EPOCHS)
    rows = len(np.load(Path(folder) / "dataset" / "train_y.npy", mmap_mode="r"))
    return {"samples_a_second": rows * EPOCHS / seconds["loop"]}


def _ingest_images(path: str, folder: str) -> dict[str, float]:
    from data.config import ImagesData
    from data.ingest import ingest
    from data.scratch import Scratch

    started = time.perf_counter()
    scratch = Scratch(Path(folder) / "scratch")
    ingest(ImagesData(source="images", path=path), "classification", Path(folder), 1, _Silence(), scratch)
    return {"seconds": time.perf_counter() - started}


class _Silence:
    """Where a child measures, nobody looks."""

    def step(self, label: str, done: int, total: int, figures: Mapping[str, float | str]) -> None:
        """Says nothing."""

    def note(self, text: str) -> None:
        """Says nothing."""


_CHILDREN: dict[str, Any] = {
    "pyarrow": _read_with_pyarrow,
    "ingest-child": _ingest,
    "images-child": _ingest_images,
    "source-child": ingest_source,
    "pictures": _pictures,
    "train-child": _train,
}


if __name__ == "__main__":
    main()

"""Feeds changed files to a reader of what comes from outside, guided by the code that they reach (atheris).

Run from the root of the repository:

    .venv/bin/python -m benchmarks.fuzz READER [--seconds 60] [--findings FOLDER]
    .venv/bin/python -m benchmarks.fuzz all [--seconds 10]
    .venv/bin/python -m benchmarks.fuzz READER --again FILE

A finding is: an exception that is none of Penjing's own, a crash, one file that takes more than 20 seconds, or a
process that holds more than 2.5 GB. Such a file is kept in the folder of findings, one for each place that raised;
`--again` reads one once more. A round goes on behind an exception, and ends with a crash, a hang, or too much memory.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

from benchmarks.fuzzed_readers import Kind, try_read
from benchmarks.fuzzed_texts import ALL_READERS, WITH_TENSORFLOW

READERS = ALL_READERS | WITH_TENSORFLOW

PACKAGES = ("data", "models", "pipeline", "numpy.lib", "zipfile", "gzip", "PIL", "ruamel", "json", "h5py", "csv")
"""Packages whose Python code tells the fuzzer what it reached; libraries in C are fed without telling."""

ROOT = Path(__file__).resolve().parents[1]

LONGEST_SECONDS = 20
MOST_MEGABYTES = 2560
LONGEST_INPUT_BYTES = 4096


def main() -> None:
    """Fuzzes what the command line asks for; exit code 1 where something was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("reader", choices=[*READERS, "all"])
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"))
    parser.add_argument("--again", type=Path)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.again is not None:
        kinds = READERS[given.reader]()
        with tempfile.TemporaryDirectory() as folder:
            content = given.again.read_bytes()
            kind = _kind(kinds, content)
            print(kind.file, "->", try_read(kind, content[1:], Path(folder)))
        return
    if given.inside:
        _fuzz(given.reader, given.seconds, given.findings)
        return
    names = list(READERS) if given.reader == "all" else [given.reader]
    found = [name for name in names if not _round(name, given.seconds, given.findings)]
    sys.exit(1 if found else 0)


def _round(name: str, seconds: int, findings: Path) -> bool:
    """Fuzzes one reader in a process of its own; says how it went, and whether nothing was found."""
    place = findings / name
    place.mkdir(parents=True, exist_ok=True)
    before = set(place.iterdir())
    command = [sys.executable, "-m", "benchmarks.fuzz", name, "--inside", f"--seconds={seconds}"]
    started = time.perf_counter()
    done = subprocess.run(
        [*command, f"--findings={place}"], capture_output=True, text=True, errors="replace", check=False
    )
    told = done.stdout + done.stderr
    counts = [
        int(count) for count in re.findall(r"^#(\d+)\s|Done (\d+) runs", told, re.MULTILINE) for count in count if count
    ]
    memory = max((int(size) for size in re.findall(r"rss: (\d+)Mb", told)), default=0)
    found = sorted(set(place.iterdir()) - before)
    verdict = "nothing found" if done.returncode == 0 and not found else f"FOUND {len(found)} (exit {done.returncode})"
    print(
        f"{name:12} {max(counts, default=0):>9,} files in {time.perf_counter() - started:4.0f} s, "
        f"{memory:>5} MB held at most: {verdict}",
        flush=True,
    )
    for path in found:
        print(f"  {path}", flush=True)
    if done.returncode != 0:
        print(told[-4000:], flush=True)
    return done.returncode == 0 and not found


def _kind(kinds: list[Kind], content: bytes) -> Kind:
    return kinds[content[0] % len(kinds)]


def _fuzz(name: str, seconds: int, findings: Path) -> None:
    import atheris

    with atheris.instrument_imports(include=list(PACKAGES), enable_loader_override=False):
        kinds = READERS[name]()
    with tempfile.TemporaryDirectory() as place:
        corpus, folder = Path(place) / "corpus", Path(place) / "read"
        corpus.mkdir()
        folder.mkdir()
        for number, kind in enumerate(kinds):
            for position, seed in enumerate(kind.seeds):
                (corpus / f"{number}-{position}").write_bytes(bytes((number,)) + seed)
                try_read(kind, seed, folder)  # what is imported late is imported now

        known: set[str] = set()

        def one(content: bytes) -> None:
            if not content:
                return
            try:
                try_read(_kind(kinds, content), content[1:], folder)
            except Exception as error:  # noqa: BLE001 - whatever comes out is the finding
                _keep(error, content, findings, known)

        options = [
            f"-max_total_time={seconds}",
            f"-timeout={LONGEST_SECONDS}",
            f"-rss_limit_mb={MOST_MEGABYTES}",
            f"-max_len={LONGEST_INPUT_BYTES}",
            f"-artifact_prefix={findings}/",
            "-print_final_stats=1",
            "-seed=1",
        ]
        atheris.Setup([sys.argv[0], *options, str(corpus)], one)
        atheris.Fuzz()


def _keep(error: Exception, content: bytes, findings: Path, known: set[str]) -> None:
    """Keeps the first file that makes a line raise, and what it raised."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(ROOT) and ".venv" not in frame.filename]
    name = f"{type(error).__name__}-{Path(ours[-1].filename).stem}-{ours[-1].lineno}"
    if name not in known:
        known.add(name)
        (findings / name).write_bytes(content)
        (findings / f"{name}.txt").write_text("".join(traceback.format_exception(error)))


if __name__ == "__main__":
    main()

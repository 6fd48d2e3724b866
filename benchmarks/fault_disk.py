"""Runs on a disk that is full at one write after the other: small filesystems in memory, of many sizes.

Two things fill up: space, in pages of 4 KiB, and the number of files. Besides, a limit on the size of each file
(RLIMIT_FSIZE), which needs no root. A run must end with exit code 1 and one line that says so; what was finished before
is whole; and with room it goes on, to the bytes of a run that always had it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.fault_runs import bundle_bytes, committed, damaged
from benchmarks.warm_runs import warm_run

PAGE = 4096
ROOM = "size=256m,nr_inodes=100000"
FULL = (
    "got no space left on the device. Make room",
    "got a limit on the size of files (ulimit -f). Raise it",
    "Make room for temporary files",  # of the C compiler
)


@dataclass(frozen=True)
class Filled:
    """What a run did on one small filesystem.

    Attributes:
        limit: its mount option.
        told: standard error of the run; empty where there was room enough.
        reached: stages that were finished.
        wrong: what was not as it must be.
    """

    limit: str
    told: str
    reached: int
    wrong: tuple[str, ...]


class MountRefusedError(Exception):
    """The system lets nobody mount a small filesystem here."""


@contextmanager
def mounted(place: Path, options: str) -> Iterator[Path]:
    """Mounts a filesystem in memory.

    Raises:
        MountRefusedError: only root may, or not here.
    """
    place.mkdir(parents=True, exist_ok=True)
    _mount(place, options)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def _mount(place: Path, options: str) -> None:
    if shutil.which("mount") is None:
        raise MountRefusedError("there is no mount here")
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    if told.returncode != 0:
        raise MountRefusedError(told.stderr.strip())


def fill_disks(config: Path, folder: Path, count: int) -> Iterator[Filled]:
    """Runs a config under `count` limits of file size, on as many filesystems with too little space, and too few files.

    Args:
        config: whose run is named `small`.
        folder: scratch.
        count: sizes of each kind.

    Raises:
        MountRefusedError: the system lets nobody mount a small filesystem here.
    """
    whole = warm_run("run", config, "--workdir", folder / "whole")
    if whole.code != 0:
        sys.exit(f"the run does not end well with all the room there is:\n{whole.err}")
    expected = bundle_bytes(folder / "whole", "small")
    files = [path for path in (folder / "whole").rglob("*") if path.is_file()]
    largest = max(path.stat().st_size for path in files)
    for size in _spread(0, 20_000, count // 2) + _spread(20_000, largest, count - count // 2):
        place = folder / "limited"
        yield _fill(config, place, f"fsize={size}", expected, lambda: None, size)
        shutil.rmtree(place)
    pages = (_pages(folder / "whole" / "store"), _pages(folder / "whole"))
    inodes = 2 + sum(1 for _ in (folder / "whole").rglob("*"))
    shutil.rmtree(folder / "whole")
    # Most of a run's bytes are its report; most of its writes are not.
    sizes = [f"size={4 * each}k" for each in _spread(1, pages[0], count - count // 4) + _spread(*pages, count // 4)]
    for limit in sizes + [f"nr_inodes={each}" for each in _spread(2, inodes, count)]:
        with mounted(folder / "full", limit) as place:
            yield _fill(config, place, limit, expected, lambda place=place: _mount_again(place))  # type: ignore[misc]


def _spread(low: int, high: int, count: int) -> list[int]:
    return sorted({low + (high - low) * (2 * number + 1) // (2 * count) for number in range(count)})


def _pages(folder: Path) -> int:
    return sum(-(-path.stat().st_size // PAGE) or 1 for path in folder.rglob("*"))


def _fill(
    config: Path,
    place: Path,
    limit: str,
    expected: dict[str, str],
    make_room: Callable[[], None],
    most_bytes: int | None = None,
) -> Filled:
    """Lets one run meet the limit, then another go on with room."""
    wrong = []
    workdir = place / "runs"
    first = warm_run("run", config, "--workdir", workdir, most_bytes=most_bytes)
    before = committed(workdir)
    if first.code not in (0, 1):
        wrong.append(f"exit code {first.code}")
    if first.code == 1 and (first.err.count("\n") != 1 or not any(each in first.err for each in FULL)):
        wrong.append(f"not one clear line: {first.err!r}")
    log = workdir / "small" / "run.log"
    if log.exists() and "Traceback" in log.read_text(encoding="utf-8", errors="replace"):
        wrong.append("a traceback in run.log")
    wrong += damaged(workdir)
    make_room()
    second = warm_run("run", config, "--workdir", workdir)
    if second.code != 0:
        wrong.append(f"with room: exit code {second.code}: {second.err!r}")
    elif bundle_bytes(workdir, "small") != expected:
        wrong.append("with room: other bytes")
    after = committed(workdir)
    wrong += [f"made again: {each}" for each, identity in before.items() if after.get(each) != identity]
    left = [path.name for path in workdir.rglob("*.tmp")]
    wrong += [f"left behind: {', '.join(left)}"] if left else []
    return Filled(limit, first.err, len(before), tuple(wrong))


def _mount_again(place: Path) -> None:
    subprocess.run(["mount", "-o", f"remount,{ROOM}", str(place)], check=True)

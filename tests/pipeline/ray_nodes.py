"""A Ray cluster of node processes on this machine, for tests, and what runs on it."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from data.contract import DataError

# A node that is gone is noticed in a second instead of half a minute.
QUICK = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 2000,
    "health_check_failure_threshold": 2,
}


@contextmanager
def cluster_of_three(folder: Path) -> Iterator[Any]:
    """Lends a cluster of three nodes, each of one processor; its workers keep their copies in `folder`."""
    from ray.cluster_utils import Cluster

    with _variables(folder):
        head = {"num_cpus": 1, "include_dashboard": False, "_system_config": QUICK}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        for _ in range(2):
            cluster.add_node(num_cpus=1)
    try:
        yield cluster
    finally:
        cluster.shutdown()


@contextmanager
def _variables(folder: Path) -> Iterator[None]:
    # Ray's sockets lie below its own folder: their paths may not be longer than 107 bytes.
    during = {"TMPDIR": str(folder), "RAY_TMPDIR": tempfile.gettempdir(), "RAY_USAGE_STATS_ENABLED": "0"}
    before = {name: os.environ.get(name) for name in during}
    os.environ.update(during)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def workers(folder: Path, module: str = "worker") -> list[int]:
    """Process ids of the workers that are alive on a cluster with that folder; `member`: of those of a training."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command, variables = ((process / name).read_bytes().split(b"\0") for name in ("cmdline", "environ"))
            state = (process / "stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        runs, its_folder = f"pipeline.executors.{module}".encode(), f"TMPDIR={folder}".encode()
        if runs in command and its_folder in variables and state != "Z":
            found.append(int(process.name))
    return found


def until(holds: Callable[[], object], seconds: float) -> bool:
    """Waits until something holds; whether it came to that."""
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(holds())


def read_twice(item: int) -> Iterator[tuple[int, int]]:
    """Work for a node: refuses what is negative."""
    for count in (1, 2):
        if item < 0:
            raise DataError(f"data.path: expected no {item}.")
        yield item, count

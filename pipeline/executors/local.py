"""Trials in worker processes of this machine: how its cores are divided among them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from data.contract import Progress
from pipeline.engine_config import LocalEngineConfig
from pipeline.executors.handle import Setup
from pipeline.executors.placement import cores_of
from pipeline.executors.pool import WorkerPool
from pipeline.executors.process import WorkerProcess


def shares_of(engine: LocalEngineConfig, most_at_once: int, cores: Sequence[int]) -> list[tuple[int, ...]]:
    """Divides the cores among as many processes as an engine has.

    Args:
        engine: the section.
        most_at_once: trials that are out at a time, at most.
        cores: numbers of those that may be used.

    Returns:
        The cores of each process; empty for one that has all.

    Example:
        >>> shares_of(LocalEngineConfig(workers=2), 8, range(5))
        [(0, 1), (2, 3, 4)]
    """
    size = min(len(cores), most_at_once) if engine.workers == "auto" else engine.workers
    if size == 1:
        return [()]
    return [cores_of(number, size, cores) for number in range(size)]


@contextmanager
def local_pool(
    engine: LocalEngineConfig, most_at_once: int, root: Path, seed: int, progress: Progress
) -> Iterator[WorkerPool]:
    """Lends a pool of processes, and ends them whatever happens.

    Args:
        engine: the section.
        most_at_once: trials that are out at a time, at most.
        root: folder of the store.
        seed: the run's seed.
        progress: told what workers tell.
    """
    shares = shares_of(engine, most_at_once, sorted(os.sched_getaffinity(0)))
    start = partial(WorkerProcess, memory_bytes=engine.memory_bytes_per_trial)
    pool = WorkerPool(Setup(root, seed), shares, engine.silence_seconds, progress, start)
    try:
        yield pool
    finally:
        pool.close()

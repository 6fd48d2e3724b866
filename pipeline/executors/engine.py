"""The engine that a config asks for, lent for one run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from data.contract import Progress
from pipeline.config import RunConfig
from pipeline.engine_config import RayEngineConfig
from pipeline.executors.local import local_pool
from pipeline.executors.pooled import Engine, SharedFolder
from pipeline.executors.ray_pool import ray_engine
from pipeline.ray_cluster import RayConnection
from pipeline.store import Store


@contextmanager
def lent_engine(config: RunConfig, store: Store, progress: Progress) -> Iterator[Engine | None]:
    """Lends what runs trials, and ends all its workers whatever happens; None where there is no section `engine`.

    Args:
        config: the run's config.
        store: the run's store.
        progress: told what workers tell.

    Raises:
        PenjingError: the cluster that is asked for does not answer, or the place where artifacts are to pass is none.
    """
    section, most = config.engine, config.trials_at_once
    if section is not None and most == 1 and config.search is None:
        progress.note("engine: one trial runs at a time; `tune: {batch_trials: N}` lets N of them run at once")
    with ExitStack() as stack:
        if section is None:
            yield None
        elif isinstance(section, RayEngineConfig):
            connection = stack.enter_context(RayConnection(section.address, progress.note))
            yield stack.enter_context(ray_engine(section, connection, most, store, config.seed, progress))
        else:
            pool = stack.enter_context(local_pool(section, most, store.root, config.seed, progress))
            yield Engine(pool, SharedFolder())

"""Trials on the nodes of a Ray cluster."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from data.contract import Progress
from data.parallel import Spread
from pipeline.engine_config import RayEngineConfig
from pipeline.executors.exchange import ArtifactExchange
from pipeline.executors.handle import Exchange, Setup
from pipeline.executors.placement import Placement
from pipeline.executors.pool import WorkerPool
from pipeline.executors.pooled import Engine, Passage, SharedFolder
from pipeline.executors.ray_data import RayDataSpread
from pipeline.executors.ray_room import Nodes, Waiting
from pipeline.executors.ray_team import RayPlacement
from pipeline.executors.ray_worker import RayWorker
from pipeline.lineage import forebears
from pipeline.ray_cluster import RayConnection
from pipeline.stages.catalog import STAGES
from pipeline.store import Artifact, Store

_READING = next(stage.libraries for stage in STAGES if stage.reads == "data")


@dataclass(frozen=True)
class ExchangePassage:
    """Passes artifacts through a place that all machines reach; see `pipeline.executors.pooled.Passage`.

    Attributes:
        exchange: the place.
        store: the run's store.
    """

    exchange: ArtifactExchange
    store: Store
    _sent: set[tuple[str, str]] = field(default_factory=set)

    def send(self, artifacts: Iterable[Artifact]) -> None:
        """Copies artifacts there, and the models that they were made from, each once; see `Passage.send`."""
        for artifact in artifacts:
            name = (artifact.manifest.stage, artifact.manifest.key)
            if name not in self._sent:
                self.exchange.push(artifact)
                self._sent.add(name)
                self.send(self._there(forebears(artifact.manifest)))

    def _there(self, names: Iterable[tuple[str, str]]) -> Iterator[Artifact]:
        """Yields those artifacts that the store has; they are verified where they arrive."""
        for stage, key in names:
            manifest = self.store.manifest(stage, key)
            if manifest is not None:
                yield Artifact(self.store.folder(stage, key), manifest)

    def bring(self, stage: str, key: str) -> None:
        """Copies an artifact from there, if it is there and whole; see `Passage.bring`."""
        if self.exchange.pull(stage, key, self.store) is not None:
            self._sent.add((stage, key))

    def forget(self, stage: str, key: str) -> None:
        """Removes an artifact there; see `Passage.forget`."""
        self.exchange.forget(stage, key)


@contextmanager
def ray_engine(
    engine: RayEngineConfig,
    connection: RayConnection,
    most_at_once: int,
    store: Store,
    seed: int,
    progress: Progress,
    module: str = "pipeline.executors.worker",
) -> Iterator[Engine]:
    """Lends workers on a Ray cluster, and ends them whatever happens.

    Args:
        engine: the section.
        connection: to the cluster.
        most_at_once: trials that are out at a time, at most.
        store: the run's store.
        seed: the run's seed.
        progress: told what workers tell.
        module: what a worker runs.

    Raises:
        StoreError: the place where artifacts are to pass cannot be opened.
    """
    exchange: Exchange | None = None
    passage: Passage = SharedFolder()
    spread: Spread | None = RayDataSpread(connection, _READING)
    nodes, threads = Nodes(engine, connection), len(os.sched_getaffinity(0))
    placement: Placement | None = RayPlacement(nodes, threads, progress.note)
    if engine.store_url is not None:
        exchange = Exchange(engine.store_url, engine.checkpoint_seconds)
        passage = ExchangePassage(ArtifactExchange(engine.store_url, progress.note), store)
        # Nodes that do not see the work directory need not see what is read either, nor a training's checkpoints.
        spread = placement = None
    # As many threads as here, whatever a node has: see `pipeline.executors.worker`.
    setup = Setup(store.root.absolute(), seed, threads=threads, exchange=exchange)
    size = most_at_once if engine.workers == "auto" else engine.workers
    waiting = Waiting(f"a trial ({nodes.asked})", engine.wait_seconds, progress.note)

    def start(setup: Setup) -> RayWorker:
        ray = nodes.ray()
        nodes.require()
        return RayWorker(ray, nodes.order(setup, module), nodes.options, waiting)

    pool = WorkerPool(setup, [()] * size, engine.silence_seconds, progress, start)
    try:
        yield Engine(pool, passage, spread, placement)
    finally:
        pool.close()

"""Trials on the nodes of a Ray cluster."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from data.contract import PenjingError, Progress
from data.parallel import Spread
from pipeline.engine_config import RayEngineConfig
from pipeline.executors.exchange import ArtifactExchange
from pipeline.executors.handle import Exchange, Setup
from pipeline.executors.pool import WorkerPool
from pipeline.executors.pooled import Engine, Passage, SharedFolder
from pipeline.executors.ray_data import RayDataSpread
from pipeline.executors.ray_relay import Order
from pipeline.executors.ray_worker import RayWorker, Waiting
from pipeline.planner import versions_of
from pipeline.ray_cluster import RayConnection, shaping_environment
from pipeline.stages.catalog import STAGES
from pipeline.store import Artifact, Store


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
        """Copies artifacts there, each once; see `Passage.send`."""
        for artifact in artifacts:
            name = (artifact.manifest.stage, artifact.manifest.key)
            if name not in self._sent:
                self.exchange.push(artifact)
                self._sent.add(name)

    def bring(self, stage: str, key: str) -> None:
        """Copies an artifact from there, if it is there and whole; see `Passage.bring`."""
        if self.exchange.pull(stage, key, self.store) is not None:
            self._sent.add((stage, key))

    def forget(self, stage: str, key: str) -> None:
        """Removes an artifact there; see `Passage.forget`."""
        self.exchange.forget(stage, key)


class _Nodes:
    """Starts workers on the nodes of a cluster, which is looked for when the first of them is.

    Args:
        engine: the section.
        connection: to the cluster.
        progress: told where there is no room.
        module: what a worker runs.
    """

    def __init__(self, engine: RayEngineConfig, connection: RayConnection, progress: Progress, module: str) -> None:
        self._connection, self._module = connection, module
        self._engine = engine
        self._waiting = Waiting(_in_words(resources_of(engine)), engine.wait_seconds, progress.note)

    def start(self, setup: Setup) -> RayWorker:
        """Starts a worker as soon as a node has room for it.

        Raises:
            PenjingError: there is no cluster, or no node of it could ever have room.
        """
        ray = self._connection.ray()
        needed = resources_of(self._engine)
        _check_nodes(needed, [node["Resources"] for node in ray.nodes() if node["Alive"]])
        libraries = tuple(sorted({name for stage in STAGES for name in stage.libraries}))
        order = Order(
            setup,
            cpus=self._engine.cpus_per_trial,
            gpus=self._engine.gpus_per_trial,
            shaping=shaping_environment(),
            versions=versions_of(libraries),
            module=self._module,
        )
        options = {"num_cpus": needed["CPU"], "num_gpus": needed.get("GPU", 0), "memory": needed.get("memory")}
        return RayWorker(ray, order, options, self._waiting)


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
    spread: Spread | None = RayDataSpread(connection)
    if engine.store_url is not None:
        exchange = Exchange(engine.store_url, engine.checkpoint_seconds)
        passage = ExchangePassage(ArtifactExchange(engine.store_url, progress.note), store)
        spread = None  # nodes that do not see the work directory need not see what is read either
    # As many threads as here, whatever a node has: see `pipeline.executors.worker`.
    setup = Setup(store.root.absolute(), seed, threads=len(os.sched_getaffinity(0)), exchange=exchange)
    size = most_at_once if engine.workers == "auto" else engine.workers
    nodes = _Nodes(engine, connection, progress, module)
    pool = WorkerPool(setup, [()] * size, engine.silence_seconds, progress, nodes.start)
    try:
        yield Engine(pool, passage, spread)
    finally:
        pool.close()


def resources_of(engine: RayEngineConfig) -> dict[str, float]:
    """Returns what a trial needs, under Ray's names."""
    needed: dict[str, float] = {"CPU": engine.cpus_per_trial}
    if engine.gpus_per_trial > 0:
        needed["GPU"] = engine.gpus_per_trial
    if engine.memory_bytes_per_trial is not None:
        needed["memory"] = engine.memory_bytes_per_trial
    return needed


_FIELDS = {"CPU": "cpus_per_trial", "GPU": "gpus_per_trial", "memory": "memory_bytes_per_trial"}


def _check_nodes(needed: Mapping[str, float], nodes: list[dict[str, Any]]) -> None:
    """Makes sure that some node could run a trial, were it idle.

    Raises:
        PenjingError: none could; says what the largest has of the first resource that is short.
    """
    if any(all(node.get(name, 0) >= amount for name, amount in needed.items()) for node in nodes):
        return
    for name, amount in needed.items():
        most = max((node.get(name, 0) for node in nodes), default=0)
        if most < amount:
            raise PenjingError(
                f"engine.{_FIELDS[name]}: expected at most {most:g}, what the largest of {len(nodes)} nodes has, got "
                f"{amount:g}. Ask for less, or add a node."
            )
    raise PenjingError(
        f"engine: expected a node with {_in_words(needed)}, got {len(nodes)} nodes of which none has it all. Ask for "
        "less, or add a node."
    )


def _in_words(needed: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {amount:g}" for name, amount in needed.items())

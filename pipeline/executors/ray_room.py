"""Room on the nodes of a Ray cluster: what a worker needs of it, whether a node could have it, and waiting for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from data.contract import PenjingError
from pipeline.engine_config import RayEngineConfig
from pipeline.executors.handle import Setup
from pipeline.executors.ray_relay import Order
from pipeline.planner import versions_of
from pipeline.ray_cluster import RayConnection, shaping_environment
from pipeline.stages.catalog import STAGES


@dataclass(frozen=True)
class Nodes:
    """The nodes of a cluster, and what is asked of them for each worker.

    Attributes:
        engine: the section.
        connection: to the cluster, which is looked for when something is to start there.
    """

    engine: RayEngineConfig
    connection: RayConnection

    def ray(self) -> Any:
        """Returns the module `ray`, connected.

        Raises:
            PenjingError: there is no cluster.
        """
        return self.connection.ray()

    @property
    def needed(self) -> dict[str, float]:
        """What a worker needs, under Ray's names."""
        return resources_of(self.engine)

    @property
    def asked(self) -> str:
        """What a worker needs, in words."""
        return _in_words(self.needed)

    @property
    def options(self) -> dict[str, Any]:
        """What a worker needs, as options of an actor."""
        needed = self.needed
        return {"num_cpus": needed["CPU"], "num_gpus": needed.get("GPU", 0), "memory": needed.get("memory")}

    def require(self) -> None:
        """Makes sure that some node could have a worker, were it idle.

        Raises:
            PenjingError: none could.
        """
        _check_nodes(self.needed, self._alive())

    def most(self) -> int:
        """Returns how many workers all nodes together could have, were they idle."""
        needed = self.needed.items()
        return sum(int(min(node.get(name, 0) // amount for name, amount in needed)) for node in self._alive())

    def order(self, setup: Setup, module: str, *, meets: bool = False) -> Order:
        """Returns what is started for a worker.

        Args:
            setup: of the worker.
            module: what it runs.
            meets: whether others are told where to meet it.
        """
        libraries = tuple(sorted({name for stage in STAGES for name in stage.libraries}))
        return Order(
            setup,
            cpus=self.engine.cpus_per_trial,
            gpus=self.engine.gpus_per_trial,
            shaping=shaping_environment(),
            versions=versions_of(libraries),
            module=module,
            meets=meets,
        )

    def _alive(self) -> list[dict[str, Any]]:
        return [node["Resources"] for node in self.ray().nodes() if node["Alive"]]


@dataclass
class Waiting:
    """What the workers of a run know together of the room for them.

    Attributes:
        wanted: what room is asked for, in words.
        seconds: how long too few of them may be placed; None for ever.
        note: told one line where none is for a while.
        least: how many of them must be placed for any to be of use.
        out: workers there are, placed or not.
        placed: how many of them are.
        since: when one last was.
    """

    wanted: str
    seconds: float | None
    note: Callable[[str], object]
    least: int = 1
    out: int = 0
    placed: int = 0
    since: float = field(default_factory=time.monotonic)
    _told: bool = False

    _PATIENCE_SECONDS = 15.0

    def join(self) -> None:
        """Counts one worker more."""
        if self.out == 0:
            self.since = time.monotonic()
        self.out += 1

    def leave(self, *, placed: bool) -> None:
        """Counts one worker less."""
        self.out -= 1
        if placed:
            self.placed -= 1
            self.since = time.monotonic()

    @property
    def over(self) -> bool:
        """Whether enough of them are placed."""
        return self.placed >= self.least

    def check(self) -> None:
        """Tells a user, once, what is waited for: room, or a busy node to start a process; and gives up in the end.

        Raises:
            PenjingError: too few were placed for too long.
        """
        waited = time.monotonic() - self.since
        if self.over or waited < self._PATIENCE_SECONDS:
            return
        if not self._told:
            self._told = True
            self.note(f"engine: waiting for the cluster to place {self.wanted}")
        if self.seconds is not None and waited > self.seconds:
            raise PenjingError(
                f"engine.wait_seconds: expected the cluster to place {self.wanted} within {self.seconds:g} s, "
                "got none. Add a node, end what else runs there, or ask for less."
            )


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

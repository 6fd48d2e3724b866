"""Runs on a Ray cluster of node processes that lose one of them, for tests."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.config_reading.file import load_config
from pipeline.executors.engine import lent_engine
from pipeline.planner import Scope, make_plan
from pipeline.runner import Runner
from pipeline.store import Artifact, Store
from tests.pipeline.ray_nodes import workers
from tests.pipeline.test_training_workers import SMALL
from tests.pipeline.test_worker_processes import Listener

TEAM = f"{SMALL}train: {{workers: 2, epochs: 20, batch_size: 200, optimizer: {{learning_rate: 0.01}}}}\n"


class NodeKiller(Listener):
    """Kills a node that is not the head, once a checkpoint of a trial that runs there is in the exchange."""

    def __init__(self, cluster: Any, exchange: Path, copies: Path) -> None:
        super().__init__()
        self.cluster, self.exchange, self.copies = cluster, exchange, copies
        self.killed: str | None = None
        self.lost_at = 0

    def note(self, text: str) -> None:
        super().note(text)
        if "was lost with its node" in text:
            self.lost_at = len(self.steps)

    def step(self, label: str, done: int, total: int, figures: Mapping[str, float | str]) -> None:
        super().step(label, done, total, figures)
        for node in list(self.cluster.worker_nodes) if self.killed is None else ():
            there = self.copies / f"penjing-{os.getuid()}" / "copies" / node.node_id / ".scratch" / "train"
            at_work = {path.parent.name for path in there.glob("*/*.checkpoint")}
            safe = {path.parent.name for path in (self.exchange / ".scratch" / "train").glob("*/*.checkpoint")}
            if at_work & safe:
                self.killed = node.node_id
                self.cluster.remove_node(node, allow_graceful=False)
                return


class HostKiller(Listener):
    """Kills the node of one of two workers that train; another comes for it once they are to start again."""

    def __init__(self, cluster: Any, folder: Path) -> None:
        super().__init__()
        self.cluster, self.folder = cluster, folder
        self.groups: list[Any] = []
        self.at_work: list[int] = []

    def note(self, text: str) -> None:
        super().note(text)
        if "start again" in text:
            self.cluster.add_node(num_cpus=1)

    def step(self, label: str, done: int, total: int, figures: Mapping[str, float | str]) -> None:
        super().step(label, done, total, figures)
        if label != "train" or "loss" not in figures or done != 4 or self.at_work:
            return
        self.at_work = workers(self.folder, "member")
        (group,) = (each for each in groups() if each["state"] == "CREATED")
        hosts = [group["bundles_to_node_id"][index] for index in (1, 0)]
        node = min(
            (each for each in self.cluster.worker_nodes if each.node_id in hosts),
            key=lambda each: hosts.index(each.node_id),
        )
        self.cluster.remove_node(node, allow_graceful=False)


def groups() -> list[dict[str, Any]]:
    """The placement groups that this run's cluster knows of."""
    from ray.util.placement_group import placement_group_table

    return list(placement_group_table().values())


def trained(folder: Path, engine: str, listener: Listener) -> Artifact:
    folder.mkdir()
    (folder / "small.yaml").write_text(TEAM)
    config = load_config(folder / "small.yaml", [f"engine={engine}"]).config
    scope, store = Scope(last="train"), Store(folder / "store", listener.note)
    with lent_engine(config, store, listener) as lent:
        plan = make_plan(config, store, scope, {}, rehash=False)
        made = Runner(store, listener, config.seed, lent).execute(plan, scope)["train"][0]
        if lent is not None:
            assert {each["state"] for each in groups()} == {"REMOVED"}
    return made

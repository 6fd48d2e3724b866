"""The workers of one training on the nodes of a Ray cluster: there is room for all of them, or none starts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from data.contract import PenjingError
from pipeline.executors.handle import Setup, Worker
from pipeline.executors.placement import MEMBER, share
from pipeline.executors.ray_relay import Order
from pipeline.executors.ray_room import Nodes, Waiting
from pipeline.executors.ray_worker import RayWorker
from pipeline.executors.steps import PlannedStep

_STRATEGY = "PACK"
"""On as few nodes as have room: every step exchanges all gradients, which is quickest within a node, and each node more
is one more whose loss ends all. A worker has what it is promised on either."""


@dataclass
class Meeting:
    """Where the workers of a training find one another: known once each has said where it listens.

    Attributes:
        step: the stage that trains.
        count: its workers.
        addresses: number of a worker -> `host:port`.
        guests: number of a worker -> hands its share to it.
    """

    step: PlannedStep
    count: int
    addresses: dict[int, str] = field(default_factory=dict)
    guests: dict[int, Callable[[tuple[PlannedStep, ...]], None]] = field(default_factory=dict)

    def come(self, index: int, address: str) -> None:
        """Takes note of where a worker listens; the last one to come has all begin."""
        self.addresses[index] = address
        if len(self.addresses) == self.count:
            addresses = tuple(self.addresses[each] for each in range(self.count))
            for each, give in self.guests.items():
                # Ray shows a worker its own GPUs alone, whoever else is on its node.
                give((share(self.step, addresses, each, workers_here=1),))


class RayMember(RayWorker):
    """A worker of a training on a node that Ray chooses; it begins once all others are there.

    Args:
        ray: the module, connected.
        order: what is started there.
        resources: what Ray is to set apart for it: the options of an actor.
        waiting: what all workers of the training know of the room for them.
        meeting: where it meets them.
        index: its number.
    """

    def __init__(
        self, ray: Any, order: Order, resources: Mapping[str, Any], waiting: Waiting, meeting: Meeting, index: int
    ) -> None:
        super().__init__(ray, order, resources, waiting)
        self._meeting, self._index = meeting, index
        meeting.guests[index] = self.give

    def _settle(self, address: str | None) -> None:
        if address is not None:
            self._meeting.come(self._index, address)


class RayPlacement:
    """Each worker on a node that has room for it, by a placement group; see `pipeline.executors.placement.Placement`.

    Args:
        nodes: the cluster, and what a worker needs of it.
        threads: of each of TensorFlow's pools, whatever a node has: as many as a local worker's.
        note: told one line where there is no room.
    """

    def __init__(self, nodes: Nodes, threads: int, note: Callable[[str], object]) -> None:
        self._nodes, self._threads, self._note = nodes, threads, note
        self._known = False

    @contextmanager
    def workers(self, setup: Setup, step: PlannedStep, count: int) -> Iterator[Mapping[int, Worker]]:
        """Lends all workers; where there is no room for them yet, they are placed later.

        Raises:
            PenjingError: there is no cluster, or no room on it that could ever do.
        """
        ray = self._nodes.ray()
        if not self._known:  # what had room when the run began may come again
            self._require_room(count)
            self._known = True
        waiting = Waiting(
            f"{count} workers of a training at once ({self._nodes.asked} each)",
            self._nodes.engine.wait_seconds,
            self._note,
            count,
        )
        meeting, started = Meeting(step, count), dict[int, Worker]()
        order = self._nodes.order(replace(setup, root=setup.root.absolute(), threads=self._threads), MEMBER, meets=True)
        with _room_at_once(self._nodes.needed, count) as places:
            try:
                for index, place in enumerate(places):
                    options = {**self._nodes.options, "scheduling_strategy": place}
                    started[index] = RayMember(ray, order, options, waiting, meeting, index)
                yield started
            finally:
                for worker in started.values():
                    worker.end()

    def _require_room(self, count: int) -> None:
        """Makes sure that there could be room.

        Raises:
            PenjingError: no node could have a worker; or the cluster is this run's own, which does not grow.
        """
        self._nodes.require()
        most = self._nodes.most()
        if self._nodes.connection.started_here and most < count:
            raise PenjingError(
                f"train.workers: expected at most {most}, for whom the cluster that was started for this run has room "
                f"({self._nodes.asked} each), got {count}. Start a larger one (`ray start`), or ask for less."
            )


@contextmanager
def _room_at_once(needed: Mapping[str, float], count: int) -> Iterator[list[Any]]:
    """Asks for room for several actors, for all or for none, and gives it back.

    Args:
        needed: by each.
        count: actors.

    Returns:
        The scheduling strategy of each; an actor waits as long as there is no room.
    """
    from ray.util.placement_group import placement_group, remove_placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    group = placement_group([dict(needed) for _ in range(count)], strategy=_STRATEGY)
    try:
        yield [PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=index) for index in range(count)]
    finally:
        remove_placement_group(group)

"""What a worker process runs: it makes trials, one after the other, until its socket is closed.

`python -m pipeline.executors.worker DESCRIPTOR`; started by `pipeline.executors.process`.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from data.contract import PenjingError
from pipeline.executors.courier import Courier
from pipeline.executors.handle import Setup
from pipeline.executors.steps import PlannedStep
from pipeline.planner import PlannedStage
from pipeline.runner import Runner
from pipeline.store import Artifact, Store


class Teller:
    """Tells the run what happens here; see `pipeline.runner.Listener`.

    Args:
        connection: to the run.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._one_at_a_time = threading.Lock()

    def tell(self, *message: Any) -> None:
        """Sends one message; from any thread."""
        with self._one_at_a_time:
            self._connection.send(message)

    def step(self, label: str, done: int, total: int, figures: Mapping[str, float | str]) -> None:
        """Says how far a stage is."""
        self.tell("step", label, done, total, dict(figures))

    def note(self, text: str) -> None:
        """Says one line that stays."""
        self.tell("note", text)

    def begin(self, planned: PlannedStage) -> None:
        """Says nothing: stages of a plan are the run's own."""

    def end(self, planned: PlannedStage, artifact: Artifact, cached: bool) -> None:
        """Says nothing, as `begin`."""


def main() -> None:
    """Makes what it is told to make."""
    serve(_prepared)


class Maker(Protocol):
    """What makes the steps of trials; see `pipeline.runner.Runner.make_step`."""

    def make_step(self, planned: PlannedStep, begun: Callable[[], object]) -> object:
        """Makes the artifact of a step, or finds it."""


def _prepared(setup: Setup, teller: Teller) -> Maker:
    compute_with(setup.threads)
    keep_to(setup.cores)
    store = Store(setup.root, teller.note)
    runner = Runner(store, teller, setup.seed)
    return runner if setup.exchange is None else Courier(runner, store, setup.exchange, teller.note)


def serve(prepare: Callable[[Setup, Teller], Maker]) -> None:
    """Makes one trial after the other for the process at the other end of the socket.

    Args:
        prepare: makes ready for work, and returns what makes steps.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection: Connection = Connection(int(sys.argv[1]))
    setup: Setup = connection.recv()
    orders: queue.SimpleQueue[tuple[PlannedStep, ...]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, orders), daemon=True).start()
    teller = Teller(connection)
    maker = prepare(setup, teller)
    teller.tell("ready")
    while True:
        _make(maker, orders.get(), teller)


def _listen(connection: Connection, orders: queue.SimpleQueue[tuple[PlannedStep, ...]]) -> None:
    """Hands on what the run asks for; ends this process and its children as soon as the run is gone."""
    while True:
        try:
            orders.put(connection.recv())
        except (EOFError, OSError):
            os.killpg(os.getpgrp(), signal.SIGKILL)


def compute_with(threads: int | None) -> None:
    """Imports TensorFlow, and makes its pools.

    How many threads they have shapes how sums are split, and so the last bits of what a convolution learns. They have
    as many as in the run's own process, whatever cores they share afterwards.

    Args:
        threads: of each pool; as many as this process may use cores where it is None.
    """
    allow_threads(threads)
    from models.legacy_keras import tf

    tf.config.list_logical_devices()  # the pools are made here


def allow_threads(threads: int | None) -> None:
    """Tells TensorFlow how many threads its pools are to have, once they are made; see `compute_with`."""
    from models.legacy_keras import tf

    if threads is not None:
        tf.config.threading.set_inter_op_parallelism_threads(threads)
        tf.config.threading.set_intra_op_parallelism_threads(threads)


def keep_to(cores: tuple[int, ...]) -> None:
    """Has this process compute on some cores, after TensorFlow's pools were made; on all where there are none."""
    if cores:
        for thread in Path("/proc/self/task").iterdir():
            os.sched_setaffinity(int(thread.name), cores)


def _make(maker: Maker, steps: tuple[PlannedStep, ...], teller: Teller) -> None:
    """Makes the artifacts of one trial; ends this process where that crashes."""
    try:
        for step in steps:
            teller.tell("waits")
            maker.make_step(step, lambda: teller.tell("makes"))
    except PenjingError as error:
        kind = next(each for each in type(error).__mro__ if each.__module__ == PenjingError.__module__)
        teller.tell("refused", kind.__name__, str(error))
    except Exception as error:
        traceback.print_exc()  # into the run's log, or that of the node
        teller.tell("crashed", " ".join(f"{type(error).__name__}: {error}".split()), traceback.format_exc())
        raise SystemExit(1) from error
    else:
        teller.tell("made")


if __name__ == "__main__":
    main()

"""What runs on a node of a Ray cluster for each worker: it starts a worker process there, and passes messages on.

The work is not done in Ray's own process: one that imports TensorFlow anew, in an environment that Ray has not
altered, computes the same bits as the run's own; and one that crashes or hangs is a child that can be looked at.
"""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import socket
import stat
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from pathlib import Path
from typing import IO, Any

from data.contract import ConfigError, PenjingError, StoreError
from pipeline.executors.handle import Setup
from pipeline.executors.process import WorkerProcess
from pipeline.executors.steps import PlannedStep
from pipeline.planner import versions_of
from pipeline.ray_cluster import environment_of_workers

_LISTEN_SECONDS = 5.0
"""How long one call listens; the caller then calls again."""


@dataclass(frozen=True)
class Order:
    """What a relay is to start.

    Attributes:
        setup: of the worker; its cores, and its store where that is one of copies, are found out on the node.
        cpus: cores it may compute on.
        gpus: GPUs that Ray has set apart for it.
        shaping: variables of the run's environment that shape how numbers are computed.
        versions: library -> version, on the machine of the run.
        module: what the worker runs.
        meets: whether others are told where to meet the worker: a port of its node is found for it.
    """

    setup: Setup
    cpus: int
    gpus: float
    shaping: Mapping[str, str]
    versions: Mapping[str, str]
    module: str = "pipeline.executors.worker"
    meets: bool = False


class Relay:
    """One worker process on this node; an actor of Ray.

    Args:
        order: what to start.
    """

    def __init__(self, order: Order) -> None:
        import ray

        self._host, node = socket.gethostname(), ray.get_runtime_context().get_node_id()
        self._held = ExitStack()
        self._order, self._node = order, str(node)
        self._process: WorkerProcess | None = None
        self._port = ExitStack()

    def begin(self) -> list[tuple[Any, ...]]:
        """Starts the worker; returns the first messages, `unfit` among them where nothing can be made here."""
        placed: list[tuple[Any, ...]] = [("placed", self._node, self._host, self._address())]
        try:
            require_fitness(self._order.versions)
            setup = replace(self._order.setup, cores=self._cores(self._order.cpus))
            if setup.exchange is not None:
                setup = replace(setup, root=self._folder_of_copies())
            elif not setup.root.is_dir():
                return [*placed, ("unfit", _unseen(setup.root, self._host))]
        except PenjingError as error:
            return [*placed, ("unfit", str(error))]
        environment = environment_of_workers(os.environ, self._order.shaping, self._order.gpus)
        self._process = WorkerProcess(setup, self._order.module, environment)
        return placed

    def hear(self) -> list[tuple[Any, ...]]:
        """Returns what the worker says, as soon as it says something; the last message is `gone` once it has ended."""
        messages: list[tuple[Any, ...]] = []
        process = self._process
        if process is None or not wait([process.connection], timeout=_LISTEN_SECONDS):
            return messages
        while process.connection.poll():
            message = process.hear()
            if message is None:
                return [*messages, ("gone", process.gone())]
            messages.append(message)
        return messages

    def give(self, steps: tuple[PlannedStep, ...]) -> None:
        """Hands a trial to the worker, or its share of a training: it listens at its port itself from now on."""
        self._port.close()
        if self._process is not None:
            self._process.give(steps)

    def _address(self) -> str | None:
        """Returns `host:port` of this node where nobody listens, held until the worker is to; None where none is."""
        if not self._order.meets:
            return None
        import ray

        held = self._port.enter_context(socket.socket())
        held.bind(("", 0))  # TensorFlow listens on all interfaces, whatever it is told
        return f"{ray.util.get_node_ip_address()}:{held.getsockname()[1]}"

    def _cores(self, count: int) -> tuple[int, ...]:
        """Picks cores of this node that no other worker has; none in particular where too few are left."""
        free: list[IO[bytes]] = []
        cores: list[int] = []
        folder = _private_folder("cores")
        for core in sorted(os.sched_getaffinity(0)):
            lock: IO[bytes] = (folder / f"{core}.lock").open("ab")
            if len(cores) < count and _taken(lock, fcntl.LOCK_EX):
                free.append(lock)
                cores.append(core)
            else:
                lock.close()
        if len(cores) < count:
            for each in free:
                each.close()
            return ()
        for each in free:
            self._held.enter_context(each)
        return tuple(cores)

    def _folder_of_copies(self) -> Path:
        """Returns the store of copies that the workers on this node share; those of nodes that are gone are removed."""
        root = _private_folder("copies")
        with (root / "sweep.lock").open("ab") as sweep:
            fcntl.flock(sweep, fcntl.LOCK_EX)
            for folder in (each for each in root.iterdir() if each.is_dir() and each.name != self._node):
                with (root / f"{folder.name}.lock").open("ab") as lock:
                    if _taken(lock, fcntl.LOCK_EX):
                        shutil.rmtree(folder, ignore_errors=True)
                        Path(lock.name).unlink()
            used = self._held.enter_context((root / f"{self._node}.lock").open("ab"))
            fcntl.flock(used, fcntl.LOCK_SH)
            (root / self._node).mkdir(exist_ok=True)
        return root / self._node


def require_fitness(versions: Mapping[str, str]) -> None:
    """Checks that the libraries of this node are those of the run: what is made with others has another key.

    Args:
        versions: library -> version, on the machine of the run.

    Raises:
        PenjingError: some are not.
    """
    here: dict[str, str] = {}
    for name in versions.keys() - {"python"}:
        try:
            here |= versions_of((name,))
        except ConfigError:
            here[name] = "nothing"
    here["python"] = versions_of(())["python"]
    wrong = sorted(name for name in versions if here[name] != versions[name])
    if not wrong:
        return
    told = ", ".join(f"{name} {here[name]} in place of {versions[name]}" for name in wrong[:3])
    more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
    raise PenjingError(
        f"engine: expected nodes with the libraries of this machine, got {told}{more} on {socket.gethostname()}. "
        "Install requirements.txt of this version there."
    )


def _unseen(root: Path, host: str) -> str:
    return (
        f"engine.store_url: expected it, or a work directory that every node sees under the same path, got {host} "
        f"without {root}. Say a URL that all of them reach."
    )


def _private_folder(name: str) -> Path:
    """Returns a folder for temporary files that this user alone can write to.

    Raises:
        StoreError: somebody else has laid a folder of its name there.
    """
    folder = Path(tempfile.gettempdir()) / f"penjing-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if status.st_uid != os.getuid() or not stat.S_ISDIR(status.st_mode) or status.st_mode & 0o022:
        raise StoreError(
            f"engine: expected {folder} on {platform.node()} to be this user's alone, got one that others write to. "
            "Remove it, or set TMPDIR for Ray there."
        )
    (folder / name).mkdir(exist_ok=True)
    return folder / name


def _taken(lock: IO[bytes], kind: int) -> bool:
    """Takes a lock if nobody holds it."""
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

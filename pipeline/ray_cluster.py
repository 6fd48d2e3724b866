"""The one door to Ray: connects to a cluster or starts one, and has its nodes run this project's code.

Ray is imported here, where a run needs it; neither `plan` nor `validate` gets that far.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from data.contract import PenjingError
from pipeline.code_digest import ROOMS, ROOT
from pipeline.ray_messages import messages_of_ray_to_stderr

CONNECT_SECONDS = 5.0
"""How long a cluster may take to answer the first call: it is there, or it is not."""

_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_SCHEDULER_EVENTS": "0"}
"""Nothing is sent to Ray's makers, and what its scheduler does is not printed."""

_SHAPING = ("TF_", "OMP_", "KMP_", "MKL_", "OPENBLAS_", "XLA_")
_PLACED_BY_OTHERS = ("TF_CONFIG",)


class RayConnection:
    """This process's connection to a cluster: made when first needed, and ended with the run.

    Args:
        address: `engine.address`.
        note: told one line where a cluster is started.
        rooms: folders of this project that its nodes are given.

    Attributes:
        started_here: whether the cluster is one that was started for this run; known once it is connected.

    Raises:
        PenjingError: at an address that is named, nothing answers.

    Example:
        >>> with RayConnection("auto", print) as connection:
        ...     ray = connection.ray()
        ...     ray.get(ray.remote(work).remote())
    """

    def __init__(self, address: str, note: Callable[[str], object], rooms: Iterable[str] = ROOMS) -> None:
        self._address, self._note, self._rooms = address, note, tuple(rooms)
        self._ray: Any = None
        self.started_here = False
        self._closing = ExitStack()

    def __enter__(self) -> RayConnection:
        if self._address != "auto":
            _probe(self._address)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.close()
        self._ray = None

    def ray(self) -> Any:
        """Returns the module `ray`, connected.

        Raises:
            PenjingError: there is no such cluster, or it is of another version of Ray or Python.
        """
        if self._ray is None:
            self._ray = self._connected()
        return self._ray

    def _connected(self) -> Any:
        self._closing.enter_context(_environment(_QUIET))
        self._closing.enter_context(messages_of_ray_to_stderr())
        import ray

        address = self._address if self._address != "auto" else _running_cluster()
        own: dict[str, Any] = {} if address is not None else {
            "num_cpus": len(os.sched_getaffinity(0)),
            "include_dashboard": False,
        }  # fmt: skip
        if address is None:
            self.started_here = True
            self._note("engine: no Ray cluster runs on this machine; one is started for this run")
        with tempfile.TemporaryDirectory() as name:
            code = _copy_of_code(self._rooms, Path(name) / "code")
            try:
                ray.init(
                    address="local" if address is None else address,
                    runtime_env={"working_dir": str(code)},
                    log_to_driver=False,
                    logging_level="error",
                    **own,
                )
            except (ConnectionError, RuntimeError, ValueError, TimeoutError, OSError) as error:
                where = (
                    "a Ray cluster that starts" if address is None else f"the Ray cluster at {address} to take this run"
                )
                told = " ".join(str(error).split())
                raise PenjingError(f"engine.address: expected {where}, got: {told}") from error
        self._closing.callback(ray.shutdown)
        return ray


def environment_of_workers(node: Mapping[str, str], shaping: Mapping[str, str], gpus: float) -> dict[str, str]:
    """Returns the environment of a process on a node that is to compute the same bits as the run's own.

    Ray sets OMP_NUM_THREADS in what it starts, which may alter how many threads TensorFlow splits sums over. It hides
    other GPUs from a process that it gives some, and none from one that it gives none.

    Args:
        node: the environment that Ray gives.
        shaping: `shaping_environment()` of the run.
        gpus: how many Ray has set apart for it.
    """
    kept = {name: value for name, value in node.items() if not name.startswith(_SHAPING)}
    if gpus == 0.0:
        kept["CUDA_VISIBLE_DEVICES"] = ""
    elif gpus < 1.0:  # TensorFlow would take all memory of it
        kept["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
    return {**kept, **shaping}


def shaping_environment() -> dict[str, str]:
    """Returns this process's variables that shape how numbers are computed; not those that place it in a cluster."""
    return {
        name: value for name, value in os.environ.items() if name.startswith(_SHAPING) and name not in _PLACED_BY_OTHERS
    }


def _running_cluster() -> str | None:
    """Returns the address that RAY_ADDRESS or `ray start` left on this machine, if something answers there.

    Ray's own `auto` would also take the private cluster of another run for one, which ends with that run.
    """
    from ray._private.utils import read_ray_address

    address = os.environ.get("RAY_ADDRESS")
    if address:
        _probe(address)
        return address
    left: str | None = read_ray_address()
    try:
        return left if left and _answers(left) is None else None
    except ValueError:  # what another version has left
        return None


def _probe(address: str) -> None:
    """Makes sure that something answers at an address.

    Raises:
        PenjingError: nothing does.
    """
    try:
        trouble = _answers(address)
    except ValueError:
        trouble = "no host and port"
    if trouble is not None:
        raise PenjingError(
            f"engine.address: expected a Ray cluster that answers at {address}, got: {trouble}. Start it (`ray start "
            "--head`), or take address out to run on this machine."
        )


def _answers(address: str) -> str | None:
    """Returns what stands against a connection to an address; None where something answers.

    Raises:
        ValueError: the address is not of the form `host:port` or `ray://host:port`.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    except OverflowError as error:
        return str(error)
    except OSError as error:
        return error.strerror or str(error)
    return None


def _copy_of_code(rooms: Iterable[str], folder: Path) -> Path:
    """Copies some folders of this project, and nothing that lies beside them, to be sent to the nodes."""
    for room in rooms:
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Sets variables that this process does not have, for a while."""
    added = [name for name in values if name not in os.environ]
    os.environ.update({name: values[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)

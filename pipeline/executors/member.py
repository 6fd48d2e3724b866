"""What a worker of a training runs: it joins the others, takes its share, and waits to be ended.

`python -m pipeline.executors.member DESCRIPTOR`; started by `pipeline.executors.team`.
"""

from __future__ import annotations

import ctypes
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from data.contract import Checkpoints, PenjingError, Progress, StoreError, derive_seed
from pipeline.checkpoints import FileCheckpoints
from pipeline.executors.handle import Setup
from pipeline.executors.placement import TeamStep
from pipeline.executors.worker import Teller, allow_threads, keep_to, serve
from pipeline.lineage import allows_code, load_role, refuse_planted_models
from pipeline.store import Artifact, Store

if TYPE_CHECKING:
    from models.replicas import Replicas
    from pipeline.executors.steps import PlannedStep

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Takes the share it is told to take."""
    _end_with_parent()
    serve(Member)


@dataclass(frozen=True)
class MemberDesk:
    """What a training is lent here; see `pipeline.workspace.Desk`."""

    scratch: Path
    seed: int
    progress: Progress

    def seed_for(self, *names: str) -> int:
        """Returns the seed of one use, as it is in the run's own process."""
        return derive_seed(self.seed, *names)

    def checkpoints(self, name: str) -> Checkpoints:
        """Returns where the training keeps its state."""
        return FileCheckpoints(self.scratch / f"{name}.checkpoint")


class Member:
    """One worker of a training.

    Args:
        setup: the store, the run's seed and this worker's cores.
        teller: tells the run.
    """

    def __init__(self, setup: Setup, teller: Teller) -> None:
        self._setup, self._teller = setup, teller
        self._store = Store(setup.root, teller.note)

    def make_step(self, planned: PlannedStep, begun: Callable[[], object]) -> None:
        """Trains with the others to the end; the first of them keeps what comes out in the stage's checkpoints.

        Raises:
            PenjingError: the training was refused.
        """
        if not isinstance(planned, TeamStep):
            raise TypeError(f"step: expected a TeamStep, got {type(planned).__name__}. Start it by a team.")
        from models.replicas import keep_to_gpus, missing_workers, replicas_of_workers

        keep_to_gpus(planned.index, planned.workers_here)
        allow_threads(self._setup.threads)
        try:
            with missing_workers():
                replicas = replicas_of_workers(planned.addresses, planned.index)
                keep_to(self._setup.cores)
                replicas.require_agreement(f"training {planned.key}")
                begun()
                self._learn(planned, replicas)
        except ConnectionError:
            self._teller.tell("alone")  # whoever looks for the cause is to look at another
            raise

    def _learn(self, planned: TeamStep, replicas: Replicas) -> None:
        from pipeline.stages.train import Inputs, learn

        inputs = Inputs(*(load_role(self._store, role, self.input_of(planned, role)) for role in ("dataset", "start")))
        desk = MemberDesk(self._store.scratch(planned.stage, planned.key), self._setup.seed, self._teller)
        learn(inputs, planned.config["train"], desk, replicas)

    def input_of(self, planned: TeamStep, role: str) -> Artifact:
        """Finds what the training starts from.

        Raises:
            PenjingError: it is not there.
            StoreError: a model of it would run code as it is loaded.
        """
        stage, key = planned.inputs[role]
        found = self._store.find(stage, key)
        if found is None:
            raise PenjingError(
                f"store.{stage}: expected {key[:12]} to be in {self._setup.root}, got none. Let all workers share one "
                "work directory."
            )
        if not planned.allow_code and allows_code(self._store, found.manifest):
            raise StoreError(
                f"store.{stage}: expected a model that brings no code along, as the config says, got the key of one "
                "that may. Nothing of it was run. Who may write to the work directory? Take one of your own."
            )
        refuse_planted_models(self._store, found)
        return found


def _end_with_parent() -> None:
    """Has the system end this process with the one that started it.

    While TensorFlow joins the others, and waits for one that never comes, it keeps Python's lock: no thread here could
    find out that the run is gone.

    Raises:
        OSError: the system refuses.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")


if __name__ == "__main__":
    main()

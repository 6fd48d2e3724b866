"""What a stage is lent while it works: folders, seeds, checkpoints, progress, and other stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from data.contract import Checkpoints, Progress, derive_seed
from pipeline.checkpoints import FileCheckpoints
from pipeline.ledger import AnyRow

if TYPE_CHECKING:
    from pipeline.store import Artifact


@dataclass(frozen=True)
class Outcome:
    """What a stage says of what it wrote into `workspace.output`.

    Attributes:
        ledger: measurements of each model it made.
        details: what the report tells of the stage; JSON.
        parents: (stage, key) of artifacts it used besides its inputs (trials).
    """

    ledger: tuple[AnyRow, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    parents: tuple[tuple[str, str], ...] = ()


class Trials(Protocol):
    """Runs a stage of the flow with another config, on the inputs of the stage that asks."""

    def run(self, stage: str, roles: Mapping[str, str | tuple[str, str]], config: Mapping[str, Any]) -> Artifact:
        """Returns the artifact of `stage` under `config`, made now or found in the store.

        Args:
            stage: name of the stage.
            roles: role of the stage's input -> role of the asking stage's input it is taken from, or (stage, key) of
                an earlier trial's artifact.
            config: section name -> config object.

        Raises:
            PenjingError: what the stage raised.
        """


@dataclass(frozen=True)
class Workspace:
    """A stage's surroundings; it reads no global and no environment.

    Attributes:
        output: empty folder; what is left in it is committed.
        scratch: folder that survives kills, for checkpoints.
        seed: the run's seed.
        progress: tells the user how far it is.
        trials: runs other stages; results are kept in the store like any artifact.
    """

    output: Path
    scratch: Path
    seed: int
    progress: Progress
    trials: Trials

    def seed_for(self, *names: str) -> int:
        """Returns the seed of one use, derived from the run's seed by name."""
        return derive_seed(self.seed, *names)

    def checkpoints(self, name: str) -> Checkpoints:
        """Returns where a training of that name keeps its state."""
        return FileCheckpoints(self.scratch / f"{name}.checkpoint")

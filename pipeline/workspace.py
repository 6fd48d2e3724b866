"""What a stage is lent while it works: folders, seeds, checkpoints, progress, and other stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from data.contract import Checkpoints, Progress, derive_seed
from data.parallel import Spread
from pipeline.checkpoints import FileCheckpoints
from pipeline.ledger import AnyRow

if TYPE_CHECKING:
    from pipeline.executors.team import Team
    from pipeline.trials import Trials


class Desk(Protocol):
    """What a training is lent, wherever it runs: the part of a `Workspace` that its workers have too."""

    @property
    def progress(self) -> Progress:
        """Tells the user how far it is."""

    def seed_for(self, *names: str) -> int:
        """Returns the seed of one use."""

    def checkpoints(self, name: str) -> Checkpoints:
        """Returns where a training of that name keeps its state."""


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


@dataclass(frozen=True)
class Workspace:
    """A stage's surroundings; it reads no global and no environment.

    Attributes:
        output: empty folder; what is left in it is committed.
        scratch: folder that survives kills, for checkpoints.
        seed: the run's seed.
        progress: tells the user how far it is.
        trials: runs other stages; results are kept in the store like any artifact.
        spread: has files read on many machines; None: on this one.
        team: trains on several workers; None where a stage is tried out of a run, which has one worker.
    """

    output: Path
    scratch: Path
    seed: int
    progress: Progress
    trials: Trials
    spread: Spread | None = None
    team: Team | None = None

    def seed_for(self, *names: str) -> int:
        """Returns the seed of one use, derived from the run's seed by name."""
        return derive_seed(self.seed, *names)

    def checkpoints(self, name: str) -> Checkpoints:
        """Returns where a training of that name keeps its state."""
        return FileCheckpoints(self.scratch / f"{name}.checkpoint")

"""What a run does on a machine that does not lead: it waits for the training, takes part in it, and makes nothing.

The run that leads makes every artifact, in a work directory that all share. This one reads there which training it
is, finds what that starts from, and starts its worker.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from data.contract import PenjingError, Progress, StoreError
from pipeline.checkpoints import FileCheckpoints, resumption
from pipeline.cluster import Cluster
from pipeline.config import RunConfig
from pipeline.executors.handle import Setup
from pipeline.executors.placement import ClusterPlacement
from pipeline.executors.steps import PlannedStep
from pipeline.executors.team import Losses, Team, is_finished
from pipeline.lineage import config_allows_code
from pipeline.runs import RunFile, Workdir
from pipeline.stages.catalog import STAGES, producer

PATIENCE_SECONDS = 300.0
"""How long the leading run may be missing: it starts at another moment, or is started again."""

GRACE_SECONDS = 60.0
"""How much later than another the leading run may be started."""

_GLANCE_SECONDS = 1.0


@dataclass(frozen=True)
class Participation:
    """A worker's part in a run that another machine leads.

    Attributes:
        workdir: the work directory that all share.
        config: the run's config.
        text: its resolved text, which the leading run was started with too.
        cluster: all workers, and this one.
        progress: told what happens here.
        patience_seconds: how long the leading run may be missing.
        grace_seconds: how long what was in the work directory before is not believed.
        pause: waits for some seconds.
        anew: whether an earlier training may be repeated (`--force`): one that is there already is no answer as long as
            the leading run is at work, or may be about to start.
    """

    workdir: Workdir
    config: RunConfig
    text: str
    cluster: Cluster
    progress: Progress
    patience_seconds: float = PATIENCE_SECONDS
    grace_seconds: float = GRACE_SECONDS
    pause: Callable[[float], object] = time.sleep
    anew: bool = False
    _earlier: dict[str, int] = field(default_factory=dict)

    def run(self) -> str:
        """Takes part until the training is over.

        Returns:
            A sentence that says so.

        Raises:
            StoreError: no run of this config is at work in the work directory.
            PenjingError: the leading run failed, or workers were lost again and again.
        """
        me = f"worker {self.cluster.index} of {len(self.cluster.addresses)}"
        self.progress.note(f"{me}: takes part in the training; {self.cluster.addresses[0]} leads, and makes the rest")
        seen, since, sure, losses = self._written(), time.monotonic(), False, Losses("train")
        while True:
            waited = time.monotonic() - since
            # What an earlier run left there is not what the leading one, started a little later, is going to say.
            grace = self.patience_seconds if self.anew else self.grace_seconds
            sure = sure or self._written() != seen or waited > grace
            run = self._leading()
            if run is None:
                self._require_patience(waited)
            elif self._is_made(run) and sure:  # in this order: what is there at first is looked at
                return f"{me}: the training is over, and nothing else is to be done here"
            elif sure and run.state != "running":
                raise PenjingError(
                    f"train: expected the leading run to go on, got one that {_ended(run)}. See its log."
                )
            elif run.state == "running" and self._has_begun(run):
                lost = self._work(run)
                if lost is not None:
                    losses.count(lost, resumption(self._scratch(run)))
                    self.progress.note(f"{me}: {lost}; it starts again")
                since, sure = time.monotonic(), True
            self.pause(_GLANCE_SECONDS)

    def _is_made(self, run: RunFile) -> bool:
        """Whether the training came to its end, and is not going to be repeated."""
        folder = self.workdir.store().folder("train", run.keys["train"])
        try:
            identity = folder.stat().st_ino
        except FileNotFoundError:
            identity = 0
        earlier = self._earlier.setdefault(run.keys["train"], identity) if self.anew else 0
        return identity != 0 and (identity != earlier or run.state != "running")

    def _written(self) -> int | None:
        """Returns when the run's file was last written, by whose clock ever; None where there is none."""
        try:
            return (self.workdir.run_folder(self.config.name) / "run.json").stat().st_mtime_ns
        except FileNotFoundError:
            return None

    def _leading(self) -> RunFile | None:
        """Returns what the leading run says of itself; None while there is none of this config."""
        run = self.workdir.read(self.config.name)
        return run if run is not None and run.config_text == self.text and "train" in run.keys else None

    def _require_patience(self, waited: float) -> None:
        if waited > self.patience_seconds:
            raise StoreError(
                f"--workdir: expected a folder that all workers share, with the run {self.config.name!r} of this "
                f"config in it, got none in {self.workdir.root} for {waited:.0f} s. Mount one work directory on "
                "all machines, and start the same command there."
            )

    def _has_begun(self, run: RunFile) -> bool:
        """Whether the leading run has come to the training."""
        step = self._step(run)
        store, scratch = self.workdir.store(), self._scratch(run)
        there = scratch.is_dir() and all(store.folder(*source).exists() for source in step.inputs.values())
        return there and not is_finished(FileCheckpoints(scratch / "train.checkpoint"))

    def _scratch(self, run: RunFile) -> Path:
        return self.workdir.store().scratch("train", run.keys["train"])

    def _step(self, run: RunFile) -> PlannedStep:
        stage = next(each for each in STAGES if each.name == "train")
        inputs = {}
        for role in stage.takes:
            name = producer(role, self.config)
            if name is not None:
                inputs[role] = (name, run.keys[name])
        return PlannedStep("train", run.keys["train"], {}, {"train": self.config.train}, inputs)

    def _work(self, run: RunFile) -> str | None:
        """Has this machine's worker take its share; see `Team.work`."""
        allow_code = config_allows_code(self.config)
        placement = ClusterPlacement(self.cluster.addresses, self.cluster.index, allow_code)
        setup = Setup(self.workdir.store().root, run.seed)
        team = Team(placement, setup, self._step(run), self._scratch(run), self.progress)
        return team.work(len(self.cluster.addresses), lambda: self._is_over(run))

    def _is_over(self, run: RunFile) -> bool:
        """Whether the leading run is not at that training any more."""
        now = self._leading()
        return self._is_made(run) or now is None or (now.keys["train"], now.state) != (run.keys["train"], "running")


def _ended(run: RunFile) -> str:
    return {"failed": "failed", "interrupted": "was interrupted"}.get(run.state, "ended without a training")

"""What one trial of `tune` runs: `build` and `pretrain` where its network differs, `train`, and pruning at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

from data.contract import ConfigError
from pipeline.trials import Pending, Source, Step
from pipeline.tuning_space import network_section, training_section
from pipeline.workspace import Workspace

if TYPE_CHECKING:
    from pipeline.oracles import Proposal
    from pipeline.stages.tune import Config
    from pipeline.store import Artifact

TRIED_STAGES = ("pipeline.stages.build", "pipeline.stages.pretrain", "pipeline.stages.train", "pipeline.stages.prune")
"""Modules that trials run: named here, their code is in the key of the search."""


@dataclass(frozen=True)
class Trained:
    """What came of a trial.

    Attributes:
        trained: the artifact of `train`.
        built: the artifact of `build`; None where the network is the run's own.
        pruned_score: validation score after pruning at once; None where that is not what is asked.
        seconds: wall-clock seconds of all its stages.
        parents: (stage, key) of all its artifacts.
        losses: what became of processes that worked at it before it was done.
    """

    trained: Artifact
    built: Artifact | None
    pruned_score: float | None
    seconds: float
    parents: list[tuple[str, str]]
    losses: tuple[str, ...]


@dataclass(frozen=True)
class Out:
    """A trial that is out.

    Attributes:
        trial: its stages at work; or why it could not even be put out.
    """

    trial: Pending | ConfigError

    def result(self) -> Trained:
        """Waits for its end.

        Raises:
            ConfigError: its network cannot be built, or pruned as far as the run asks.
            TrainingError: its loss is not finite any more.
            TrialLostError: its process was lost twice.
        """
        if isinstance(self.trial, ConfigError):
            raise self.trial
        made = self.trial.result()
        by_stage = {each.manifest.stage: each for each in made.artifacts}
        pruned = by_stage.get("prune")
        return Trained(
            by_stage["train"],
            by_stage.get("build"),
            None if pruned is None else pruned.manifest.ledger[-1].score,
            round(sum(each.manifest.seconds for each in made.artifacts), 3),
            made.keys,
            made.losses,
        )


@dataclass(frozen=True)
class Chain:
    """Puts trials out; every stage's artifact is kept in the store, and found there again."""

    config: Config
    workspace: Workspace

    def start(self, proposal: Proposal, epochs: int, label: str) -> Out:
        """Has a proposal trained from the start.

        Args:
            proposal: what is tried.
            epochs: of the training.
            label: what a user knows the trial by.
        """
        try:
            steps = self._network(proposal)
        except ConfigError as error:
            return Out(error)
        start: Source = len(steps) - 1 if steps else "start"
        section = training_section(self.config.train, proposal.values, proposal.regularization, epochs)
        sections = {"train": section, "clustering": self.config.clustering}
        steps.append(Step("train", {"dataset": "dataset", "start": start}, sections))
        if self.config.at_once is not None:
            steps.append(self._pruned(len(steps) - 1))
        return Out(self.workspace.trials.start(steps, label))

    def pruned_score(self, dense: str) -> tuple[float | None, list[tuple[str, str]]]:
        """Prunes a model at once, without training, and scores it.

        Args:
            dense: role of the asking stage's input.

        Returns:
            Score and (stage, key) of the pruned model; (None, []) where the score itself decides.
        """
        if self.config.at_once is None:
            return None, []
        made = self.workspace.trials.start([self._pruned(dense)], "trial 0").result()
        return made.artifacts[0].manifest.ledger[-1].score, made.keys

    def _pruned(self, dense: Source) -> Step:
        return Step("prune", {"dataset": "dataset", "dense": dense}, {"prune": self.config.at_once})

    def _network(self, proposal: Proposal) -> list[Step]:
        """Steps to what training starts from: the proposal's network, after its layers' own training; none where the
        network is the run's own.

        Raises:
            ConfigError: the family's own rules refuse the network.
        """
        config = self.config
        if config.tune.space is None or not config.tune.space.changes_model:
            return []
        try:
            model = network_section(config.model, proposal.values)
        except ValidationError as error:
            raise ConfigError(f"tune.space: expected a network that the family can have, got {error}.") from error
        clusters = None if config.clustering is None else config.clustering.num_clusters
        built = {"task": config.task, "metric": config.metric, "model": model, "clustering.num_clusters": clusters}
        steps = [Step("build", {"dataset": "dataset"}, built)]
        if config.train.mode == "layer_wise":
            train = config.train if config.pretrain is None else config.train.as_pretraining_reads(config.pretrain)
            sections = {
                "pretrain": config.pretrain,
                "train.class_weights": train.class_weights,
                "train.loss": train.loss,
            }
            steps.append(Step("pretrain", {"dataset": "dataset", "built": 0}, sections))
        return steps

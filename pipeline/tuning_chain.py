"""What one trial of `tune` runs: `build` and `pretrain` where its network differs, `train`, and pruning at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from data.contract import ConfigError
from pipeline.tuning_space import network_section, training_section
from pipeline.workspace import Workspace

if TYPE_CHECKING:
    from pipeline.oracles import Proposal
    from pipeline.stages.tune import Config
    from pipeline.store import Artifact

TRIED_STAGES = ("pipeline.stages.build", "pipeline.stages.pretrain", "pipeline.stages.train", "pipeline.stages.prune")
"""Modules that trials run: named here, their code is in the key of the search."""

Source = str | tuple[str, str]


@dataclass(frozen=True)
class Trained:
    """What came of a trial.

    Attributes:
        trained: the artifact of `train`.
        built: the artifact of `build`; None where the network is the run's own.
        pruned_score: validation score after pruning at once; None where that is not what is asked.
        seconds: wall-clock seconds of all its stages.
        parents: (stage, key) of all its artifacts.
    """

    trained: Artifact
    built: Artifact | None
    pruned_score: float | None
    seconds: float
    parents: list[tuple[str, str]]


@dataclass(frozen=True)
class Chain:
    """Runs trials; every stage's artifact is kept in the store, and found there again."""

    config: Config
    workspace: Workspace
    _made: list[Artifact] = field(default_factory=list)

    def run(self, proposal: Proposal, epochs: int) -> Trained:
        """Trains a proposal from the start.

        Raises:
            ConfigError: its network cannot be built, or pruned as far as the run asks.
            TrainingError: its loss is not finite any more.
        """
        self._made.clear()
        built = self._built(proposal)
        start = "start" if built is None else self._pretrained(built)
        section = training_section(self.config.train, proposal.values, proposal.regularization, epochs)
        sections = {"train": section, "clustering": self.config.clustering}
        trained = self._run("train", {"dataset": "dataset", "start": start}, sections)
        pruned, _ = self.pruned_score((trained.manifest.stage, trained.manifest.key))
        return Trained(
            trained,
            built,
            pruned,
            round(sum(each.manifest.seconds for each in self._made), 3),
            [(each.manifest.stage, each.manifest.key) for each in self._made],
        )

    def pruned_score(self, dense: Source) -> tuple[float | None, list[tuple[str, str]]]:
        """Prunes a model at once, without training, and scores it.

        Args:
            dense: role of the asking stage's input, or (stage, key) of an artifact.

        Returns:
            Score and (stage, key) of the pruned model; (None, []) where the score itself decides.
        """
        if self.config.at_once is None:
            return None, []
        made = self._run("prune", {"dataset": "dataset", "dense": dense}, {"prune": self.config.at_once})
        return made.manifest.ledger[-1].score, [(made.manifest.stage, made.manifest.key)]

    def _built(self, proposal: Proposal) -> Artifact | None:
        """The network of a proposal; None where it is the run's own."""
        config = self.config
        if config.tune.space is None or not config.tune.space.changes_model:
            return None
        try:
            model = network_section(config.model, proposal.values)
        except ValidationError as error:
            raise ConfigError(f"tune.space: expected a network that the family can have, got {error}.") from error
        clusters = None if config.clustering is None else config.clustering.num_clusters
        sections = {"task": config.task, "metric": config.metric, "model": model, "clustering.num_clusters": clusters}
        return self._run("build", {"dataset": "dataset"}, sections)

    def _pretrained(self, built: Artifact) -> Source:
        """What training starts from: the network as built, or after its layers' own training."""
        config, source = self.config, (built.manifest.stage, built.manifest.key)
        if config.train.mode != "layer_wise":
            return source
        train = config.train if config.pretrain is None else config.train.as_pretraining_reads(config.pretrain)
        sections = {
            "pretrain": config.pretrain,
            "train.class_weights": train.class_weights,
            "train.loss": train.loss,
        }
        made = self._run("pretrain", {"dataset": "dataset", "built": source}, sections)
        return made.manifest.stage, made.manifest.key

    def _run(self, stage: str, roles: Mapping[str, Source], sections: Mapping[str, Any]) -> Artifact:
        made = self.workspace.trials.run(stage, roles, sections)
        self._made.append(made)
        return made

"""Removes nodes in steps, with training between them and after."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from numpy.typing import NDArray

from data.contract import Batches, Checkpoints, ConfigError, Progress
from models.compression_config import PruneConfig
from models.legacy_keras import clone
from models.pruning.graph import NodeGraph, node_graph
from models.pruning.importance import comparable, node_importance
from models.pruning.nodes import choose, global_counts, least_counts, node_counts, rounded_counts
from models.pruning.surgery import remove_nodes
from models.pruning.weights import cubic_sparsity, refuse_empty
from models.training import EpochRecord, Objective, TrainingSettings, predict, train


@dataclass(frozen=True)
class Removal:
    """One step of pruning nodes.

    Attributes:
        step: counted from 1.
        epoch: epochs of training before it.
        nodes: nodes of all layers together that stay.
        score: validation score right after, before any training.
    """

    step: int
    epoch: int
    nodes: int
    score: float


@dataclass
class NodePruning:
    """What came of pruning nodes.

    Attributes:
        model: the smaller model.
        before: nodes of each group of layers at the start, by name.
        after: nodes that stayed.
        left_out: why other layers stayed whole, by name.
        removals: the steps.
        history: every epoch of training, numbered through.
        best_epoch: whose weights the model has; 0: none was trained.
    """

    model: Any
    before: dict[str, int]
    after: dict[str, int]
    left_out: dict[str, str]
    removals: list[Removal] = field(default_factory=list)
    history: list[EpochRecord] = field(default_factory=list)
    best_epoch: int = 0


def removable_nodes(model: Any, where: str = "prune.unit") -> NodeGraph:
    """Finds the nodes of a model that can be removed.

    Args:
        model: a built Keras model.
        where: field of the config that asks for it.

    Raises:
        ConfigError: there is none; why, layer by layer.
    """
    graph = node_graph(model)
    if not node_counts(graph):
        why = "; ".join(f"{name}: {reason}" for name, reason in graph.left_out.items()) or "it has no hidden layer"
        raise ConfigError(
            f"{where}: expected a model with nodes that can be removed, got none ({why}). Set it to weight."
        )
    return graph


def prune_nodes(
    model: Any,
    batches: Batches,
    validation: tuple[Any, NDArray[Any]],
    objective: Objective,
    config: PruneConfig,
    settings: TrainingSettings,
    *,
    sparsities: Mapping[str, float] | None = None,
    checkpoints: Callable[[str], Checkpoints] | None = None,
    progress: Progress | None = None,
) -> NodePruning:
    """Removes nodes in `config.num_steps` steps, sparsity rising as Zhu & Gupta's cubic does, training after each.

    Between steps the learning rate is constant; after the last one, `config.recovery_epochs` follow the schedule.
    Given the same arguments the same bits come out, also where a killed pruning was resumed from its checkpoints.

    Args:
        model: a built Keras model; it is not changed.
        batches: training rows.
        validation: (x, y) as `train` takes them.
        objective: loss and score.
        config: the section `prune`; its `sparsity` is the fraction of nodes, unless `sparsities` are given.
        settings: of every training but for epochs and schedule.
        sparsities: fraction of nodes to remove by name of the group, in place of scope and sparsity.
        checkpoints: where the trainings keep their states, by name.
        progress: told of each epoch.

    Raises:
        ConfigError: there is nothing to remove, or not so much.
        TrainingError: as `train`.
    """
    graph = removable_nodes(model)
    before = node_counts(graph)
    targets = _Targets(config, before, sparsities)
    targets.check(graph)
    result = NodePruning(clone(model), before, before, dict(graph.left_out))
    for step in range(1, config.num_steps + 1):
        _remove(result, step, targets, batches, validation, objective)
        ramp = replace(
            settings,
            epochs=_share(config.epochs, config.num_steps, step),
            optimizer=config.optimizer.model_copy(update={"schedule": "constant"}),
        )
        _train(result, f"nodes-{step}", ramp, batches, validation, objective, checkpoints, progress)
    recovery = replace(settings, epochs=config.recovery_epochs, optimizer=config.optimizer)
    _train(result, "nodes-recovery", recovery, batches, validation, objective, checkpoints, progress)
    return result


def _share(epochs: int, steps: int, step: int) -> int:
    """Epochs of one step, earlier steps taking what does not divide."""
    return epochs // steps + (step <= epochs % steps)


@dataclass(frozen=True)
class _Targets:
    """How many nodes of each group stay after each step."""

    config: PruneConfig
    before: Mapping[str, int]
    sparsities: Mapping[str, float] | None

    @property
    def least(self) -> dict[str, int]:
        return least_counts(self.before, self.config.min_layer_density)

    def check(self, graph: NodeGraph) -> None:
        """Refuses what no step could reach, before any training."""
        if self.sparsities is not None:
            return
        if self.config.scope == "local":
            for name, count in self.before.items():
                refuse_empty(name, count, self._sparsity, "nodes")
        else:
            equal = {int(node): 0.0 for group in graph.groups for node in group.nodes}
            global_counts(graph, equal, self._removed(self.config.num_steps), self.least)

    def keep(self, graph: NodeGraph, scores: dict[int, float], step: int) -> dict[str, int]:
        """Returns how many nodes of each group stay after a step."""
        present = node_counts(graph)
        if self.sparsities is None and self.config.scope == "global":
            gone = sum(self.before.values()) - sum(present.values())
            keep = global_counts(graph, scores, self._removed(step) - gone, self.least)
        else:
            keep = {
                name: max(1, count - round(self._fraction(step) * self._final(name) * count))
                for name, count in self.before.items()
            }
        # At every step, not the last alone: widths that a device's kernels like train faster, too.
        return rounded_counts(keep, present, self.config.multiple)

    def _fraction(self, step: int) -> float:
        return cubic_sparsity(step, 0, self.config.num_steps, 0.0, 1.0)

    def _final(self, name: str) -> float:
        return self._sparsity if self.sparsities is None else self.sparsities[name]

    @property
    def _sparsity(self) -> float:
        if self.config.sparsity == "auto":
            raise ValueError("prune.sparsity: expected sparsities with auto, got none. Pass those of the analysis.")
        return self.config.sparsity

    def _removed(self, step: int) -> int:
        return round(self._fraction(step) * self._sparsity * sum(self.before.values()))


def _remove(
    result: NodePruning,
    step: int,
    targets: _Targets,
    batches: Batches,
    validation: tuple[Any, NDArray[Any]],
    objective: Objective,
) -> None:
    config = targets.config
    graph = node_graph(result.model)
    scores = node_importance(result.model, graph, config.criterion, batches, objective, config.criterion_rows)
    if config.criterion != "taylor":  # Taylor's is a change of the loss, the same unit in every layer
        scores = comparable(graph, scores)
    removed = choose(graph, scores, targets.keep(graph, scores, step))
    result.model = remove_nodes(result.model, graph, removed)
    result.after = node_counts(node_graph(result.model))
    score = objective.score(validation[1], predict(result.model, validation[0]))
    result.removals.append(Removal(step, len(result.history), sum(result.after.values()), score))


def _train(
    result: NodePruning,
    name: str,
    settings: TrainingSettings,
    batches: Batches,
    validation: tuple[Any, NDArray[Any]],
    objective: Objective,
    checkpoints: Callable[[str], Checkpoints] | None,
    progress: Progress | None,
) -> None:
    if settings.epochs == 0:
        return
    done = len(result.history)
    trained = train(
        result.model,
        batches,
        validation,
        objective,
        replace(settings, label=f"{settings.label} {name}"),
        checkpoints=None if checkpoints is None else checkpoints(name),
        progress=progress,
    )
    result.history += [replace(record, epoch=done + record.epoch) for record in trained.history]
    result.best_epoch = done + trained.best_epoch

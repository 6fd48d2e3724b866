"""How much each layer can spare: it is pruned alone, at several levels, and the network scored, without training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from data.contract import Batches, Progress
from models.compression_config import PruneConfig
from models.legacy_keras import clone
from models.pruning.graph import node_graph
from models.pruning.importance import node_importance
from models.pruning.kernels import prunable_kernels
from models.pruning.nodes import choose, node_counts
from models.pruning.surgery import remove_nodes
from models.pruning.weights import local_mask
from models.training import Objective, predict

Score = Callable[[Any], float]


@dataclass(frozen=True)
class Sensitivity:
    """What a layer (a group of nodes) is worth: scores of the network with a part of it alone removed.

    Attributes:
        name: of the layer or group.
        levels: fractions that were removed, ascending.
        scores: validation score at each level, without training.
    """

    name: str
    levels: tuple[float, ...]
    scores: tuple[float, ...]

    def sparsity(self, score: float, max_drop: float) -> float:
        """Returns the sparsity up to which the score falls by no more than `max_drop`, linear between levels.

        Args:
            score: of the whole network.
            max_drop: how far the score may fall, in units of the score.
        """
        level, before, floor = 0.0, score, score - max_drop
        for next_level, after in zip(self.levels, self.scores, strict=True):
            if after < floor:
                return level + (before - floor) / (before - after) * (next_level - level)
            level, before = next_level, after
        return level


def node_sensitivity(
    model: Any, batches: Batches, objective: Objective, score: Score, config: PruneConfig, progress: Progress
) -> list[Sensitivity]:
    """Removes the least important nodes of each group alone.

    Args:
        model: a built Keras model; it is not changed.
        batches: training rows, for the criterion.
        objective: whose loss the criterion looks at.
        score: gives a model's validation score.
        config: the section `prune`: criterion and levels.
        progress: told of each group.
    """
    graph = node_graph(model)
    importance = node_importance(model, graph, config.criterion, batches, objective, config.criterion_rows)
    whole = node_counts(graph)

    def without(name: str, level: float) -> Any:
        keep = whole | {name: max(1, whole[name] - round(level * whole[name]))}
        return remove_nodes(model, graph, choose(graph, importance, keep))

    return _tried(list(whole), without, score, config, progress)


def weight_sensitivity(model: Any, score: Score, config: PruneConfig, progress: Progress) -> list[Sensitivity]:
    """Zeroes the smallest weights of each layer alone; arguments as for `node_sensitivity`."""

    def without(name: str, level: float) -> Any:
        twin = clone(model)
        kernel = prunable_kernels(twin).kernels[name]
        kernel.assign(kernel.numpy() * local_mask(kernel.numpy(), level))
        return twin

    return _tried(list(prunable_kernels(model).kernels), without, score, config, progress)


def _tried(
    names: list[str], without: Callable[[str, float], Any], score: Score, config: PruneConfig, progress: Progress
) -> list[Sensitivity]:
    found = []
    for position, name in enumerate(names, start=1):
        reached = tuple(score(without(name, level)) for level in config.sensitivity.levels)
        found.append(Sensitivity(name, config.sensitivity.levels, reached))
        progress.step("sensitivity", position, len(names), {"layer": name, "least": min(reached)})
    return found


def scorer(validation: tuple[Any, NDArray[Any]], objective: Objective) -> Score:
    """Returns a function that scores a model on the validation rows (x, y)."""
    x, y = validation
    return lambda model: float(objective.score(y, predict(model, x)))

"""Chooses the nodes that go: so many of the least important, within each layer or over the whole network."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from data.contract import ConfigError
from models.pruning.graph import NodeGraph, NodeGroup, Nodes
from models.pruning.importance import Scores


def node_counts(graph: NodeGraph) -> dict[str, int]:
    """Returns the number of removable nodes of each group by its name."""
    return {group.name: len(group.nodes) for group in graph.groups}


def choose(graph: NodeGraph, scores: Scores, keep: Mapping[str, int]) -> Nodes:
    """Chooses the least important nodes of each group.

    Args:
        graph: of the model.
        scores: importance of every removable node.
        keep: how many nodes stay, by name of the group.

    Returns:
        Numbers of the nodes that go.
    """
    return _numbers([_least(group, scores, len(group.nodes) - keep[group.name]) for group in graph.groups])


def global_counts(graph: NodeGraph, scores: Scores, removed: int, least: Mapping[str, int]) -> dict[str, int]:
    """Says how many nodes of each group stay if the least important of all groups go.

    Args:
        graph: of the model.
        scores: importance of every removable node, comparable between groups.
        removed: how many nodes go in all.
        least: how many nodes of each group stay in any case: the most important ones.

    Raises:
        ConfigError: fewer nodes can go.
    """
    spare = sum(max(0, len(group.nodes) - least[group.name]) for group in graph.groups)
    if removed > spare:
        total = sum(len(group.nodes) for group in graph.groups)
        raise ConfigError(
            f"prune.sparsity: expected no more than {spare} of {total} nodes to go where each layer keeps its share, "
            f"got {removed}. Lower it, or prune.min_layer_density."
        )
    ranked = sorted(
        (scores[int(node)], position, int(node))
        for position, group in enumerate(graph.groups)
        for node in _least(group, scores, max(0, len(group.nodes) - least[group.name]))
    )
    keep = node_counts(graph)
    for _, position, _ in ranked[:removed]:
        keep[graph.groups[position].name] -= 1
    return keep


def rounded_counts(keep: Mapping[str, int], present: Mapping[str, int], multiple: int) -> dict[str, int]:
    """Rounds the number of nodes that stay to a multiple, halves up; never to none, nor to more than there are.

    Args:
        keep: nodes that are to stay, by name of the group.
        present: nodes that are there.
        multiple: 1 rounds nothing.
    """
    return {
        name: min(present[name], max(multiple, multiple * math.floor(count / multiple + 0.5)))
        for name, count in keep.items()
    }


def least_counts(present: Mapping[str, int], min_layer_density: float) -> dict[str, int]:
    """Returns `ceil(density * nodes)` of each group, at least 1."""
    # The product is rounded first: 0.07 * 100 is a little above 7 in floating point.
    return {name: max(1, math.ceil(round(min_layer_density * count, 9))) for name, count in present.items()}


def _least(group: NodeGroup, scores: Scores, count: int) -> list[int]:
    """The least important nodes of a group; of equal ones, those with the lowest numbers."""
    return sorted(group.nodes.tolist(), key=lambda node: (scores[node], node))[: max(0, count)]


def _numbers(parts: list[list[int]]) -> Nodes:
    return np.array(sorted(node for part in parts for node in part), np.int64)

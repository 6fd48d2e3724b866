"""The plots of clusters: how many rows still change theirs, and where they lie in the embedding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.bundle_layout import cluster_name
from pipeline.report import wording
from pipeline.report.figures import BLUE, PALETTE, SYMBOLS, Figure, axis, layout


def changed_figure(changed: Sequence[float]) -> Figure:
    """Draws the fraction of training rows that changed their cluster, at each look of the refinement."""
    looks = list(range(1, len(changed) + 1))
    trace = {
        "type": "scatter",
        "mode": "lines+markers",
        "x": looks,
        "y": [round(value, 5) for value in changed],
        "line": {"color": BLUE, "width": 2},
        "hovertemplate": "look %{x}: %{y:.2%}<extra></extra>",
    }
    alt = (
        f"Line of the rows that changed their cluster: {wording.fraction(changed[0])} at the first of {len(changed)} "
        f"looks, {wording.fraction(changed[-1])} at the last."
    )
    settings = layout(axis("Look at the target distribution"), axis("Rows that changed", tickformat=".1%"))
    return Figure("changed", "Rows that changed their cluster", alt, [trace], settings)


def map_figure(points: Mapping[str, Sequence[Any]]) -> Figure:
    """Draws test rows in the plane of the embedding's two principal components, by cluster."""
    clusters = sorted(set(points["cluster"]))
    traces = []
    for place, cluster in enumerate(clusters):
        rows = [i for i, each in enumerate(points["cluster"]) if each == cluster]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": cluster_name(cluster),
                "x": [points["x"][i] for i in rows],
                "y": [points["y"][i] for i in rows],
                "marker": {
                    "size": 7,
                    "color": PALETTE[place % len(PALETTE)],
                    "symbol": SYMBOLS[(place // len(PALETTE)) % len(SYMBOLS)],
                    "opacity": 0.75,
                },
                "hovertemplate": "%{fullData.name}<extra></extra>",
            }
        )
    rows_shown = wording.plural(len(points["x"]), "row")
    alt = f"Scatter plot of {rows_shown} of the test split in {wording.plural(len(clusters), 'cluster')}."
    settings = layout(axis("First principal component"), axis("Second principal component"), showlegend=True)
    note = f"{rows_shown} of the test split, spread evenly; the embedding has more dimensions than the two drawn."
    return Figure("clusters", "The embedding", alt, traces, settings, 460, note)

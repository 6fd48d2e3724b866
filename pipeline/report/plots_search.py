"""The plot of the search: every candidate by bytes and score, the front as a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from pipeline.candidates import Candidate, named
from pipeline.report.figures import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILION, Figure, axis, decades, layout, padded

_DENSE = "the dense model"
_LOOKS = {
    _DENSE: (_DENSE, PURPLE, "square"),
    "one_shot": ("pruned at once", GREY, "circle-open"),
    "short": ("short recovery", ORANGE, "diamond"),
    "full": ("whole pruning", BLUE, "circle"),
}


def search_figure(trials: Sequence[Mapping[str, Any]], front: Sequence[int], best: int, metric: str) -> Figure:
    """Draws the candidates; a click on a point of the front opens its config below.

    Args:
        trials: all of them, those that failed too.
        front: numbers of those that no other beats.
        best: number of the chosen one.
        metric: name of the score.
    """
    done = [(number, trial) for number, trial in enumerate(trials) if trial["state"] == "done"]
    traces = [_points([pair for pair in done if _look(pair[1]) == look], *drawn) for look, drawn in _LOOKS.items()]
    line = _staircase([(trials[number]["max_model_bytes"], trials[number]["min_score"]) for number in front])
    traces.append(
        {
            "type": "scatter",
            "mode": "lines",
            "name": "front",
            "x": [size for size, _ in line],
            "y": [score for _, score in line],
            "line": {"color": GREEN, "width": 1.5, "dash": "dot"},
            "hoverinfo": "skip",
        }
    )
    chosen = trials[best]
    traces.append(
        {
            "type": "scatter",
            "mode": "markers",
            "name": "chosen",
            "x": [chosen["max_model_bytes"]],
            "y": [chosen["min_score"]],
            "marker": {"size": 22, "symbol": "circle-open", "color": VERMILION, "line": {"width": 2}},
            "hoverinfo": "skip",
        }
    )
    sizes = [float(trial["max_model_bytes"]) for _, trial in done]
    settings = layout(
        axis("Bytes of the .tflite file (log scale)", type="log", range=decades(sizes), tickformat=",d"),
        axis(f"Validation {metric}", range=padded([trial["min_score"] for _, trial in done])),
        showlegend=True,
    )
    ends = "; ".join(f"{trials[n]['max_model_bytes']:,d} bytes {trials[n]['min_score']:.4f}" for n in front)
    note = "Score against bytes; a click on a point of the front opens its config."
    return Figure("search", "Every candidate", f"Scatter plot; on the front: {ends}.", traces, settings, 420, note)


def _look(trial: Mapping[str, Any]) -> str:
    return str(trial["look"]) if _candidate(trial).changed else _DENSE


def _candidate(trial: Mapping[str, Any]) -> Candidate:
    return Candidate(**{field.name: trial[field.name] for field in fields(Candidate)})


def _staircase(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Returns the points, the smallest first, that score higher than every smaller one."""
    kept: list[tuple[int, float]] = []
    for size, score in sorted(points, key=lambda point: (point[0], -point[1])):
        if not kept or score > kept[-1][1]:
            kept.append((size, score))
    return kept


def _points(pairs: Sequence[tuple[int, Mapping[str, Any]]], name: str, color: str, symbol: str) -> dict[str, Any]:
    texts = [named(_candidate(trial)) for _, trial in pairs]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [trial["max_model_bytes"] for _, trial in pairs],
        "y": [trial["min_score"] for _, trial in pairs],
        "text": texts,
        "customdata": [f"candidate-{number}" for number, _ in pairs],
        "marker": {"color": color, "symbol": symbol, "size": 10},
        "hovertemplate": "%{text}: %{x:,} bytes, %{y:.4f}<extra></extra>",
    }

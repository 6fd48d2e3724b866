"""The plots of a reconstruction's errors: normal and abnormal rows, and the trade between them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.report import wording
from pipeline.report.figures import BLUE, GREY, VERMILION, Figure, axis, decades, layout, log_ticks

_COLORS = {"all": BLUE, "normal": BLUE, "abnormal": VERMILION}
_NAMES = {"all": "rows of the test split", "normal": "normal rows", "abnormal": "abnormal rows"}


def errors_figure(edges: Sequence[float], rows: Mapping[str, Sequence[int]], threshold: float) -> Figure:
    """Draws how many test rows have which error, by kind, as fractions of their kind, with the threshold.

    Args:
        edges: of the bins, rising.
        rows: kind (`normal` and `abnormal`, or `all`) -> rows in each bin.
        threshold: error above which a row is abnormal.
    """
    centers = [(low * high) ** 0.5 for low, high in itertools.pairwise(edges)]
    traces: list[dict[str, Any]] = [
        {
            "type": "bar",
            "name": _NAMES[kind],
            "x": [float(f"{center:.6g}") for center in centers],
            "y": [round(count / max(1, sum(counts)), 5) for count in counts],
            "customdata": list(counts),
            "width": [float(f"{high - low:.6g}") for low, high in itertools.pairwise(edges)],
            "marker": {"color": _COLORS[kind]},
            "opacity": 0.6,
            "hovertemplate": "error about %{x:.3g}: %{customdata:,} rows (%{y:.1%})<extra>%{fullData.name}</extra>",
        }
        for kind, counts in rows.items()
    ]
    highest = max(share for trace in traces for share in trace["y"])
    drawn = max(threshold, edges[0])
    traces.append(
        {
            "type": "scatter",
            "mode": "lines",
            "name": "threshold",
            "x": [drawn, drawn],
            "y": [0, highest],
            "line": {"color": GREY, "dash": "dash", "width": 2},
            "hoverinfo": "skip",
        }
    )
    alt = f"Histogram of the errors of {wording.listed([_NAMES[kind] for kind in rows])}; threshold {threshold:.4g}."
    ends = decades([edges[0], edges[-1], drawn])
    ticks = log_ticks(10 ** ends[0], 10 ** ends[1])
    settings = layout(
        axis("Error of a row (log scale)", type="log", range=ends, **ticks),
        axis("Share of the rows of its kind", tickformat=".0%", rangemode="tozero"),
        barmode="overlay",
        showlegend=True,
    )
    note = "Right of the dashed line a row is called abnormal."
    return Figure("errors", "Errors on the test split", alt, traces, settings, 360, note)


def roc_figure(
    false_alarms: Sequence[float], detected: Sequence[float], area: float, chosen: Sequence[float]
) -> Figure:
    """Draws the fraction of abnormal rows that are found against the fraction of false alarms, for every threshold.

    Args:
        false_alarms: fractions of the normal rows, rising.
        detected: fractions of the abnormal rows, rising.
        area: under the curve.
        chosen: both fractions at the threshold that is exported.
    """
    curve = {
        "type": "scatter",
        "mode": "lines",
        "name": "model.tflite",
        "x": list(false_alarms),
        "y": list(detected),
        "line": {"color": BLUE, "width": 2},
        "hovertemplate": "false alarms %{x:.1%}, found %{y:.1%}<extra></extra>",
    }
    guess = {
        "type": "scatter",
        "mode": "lines",
        "name": "guessing",
        "x": [0, 1],
        "y": [0, 1],
        "line": {"color": GREY, "dash": "dash", "width": 1.5},
        "hoverinfo": "skip",
    }
    point = {
        "type": "scatter",
        "mode": "markers",
        "name": "the threshold",
        "x": [chosen[0]],
        "y": [chosen[1]],
        "marker": {"size": 12, "color": VERMILION},
        "hovertemplate": "false alarms %{x:.1%}, found %{y:.1%}<extra>the threshold</extra>",
    }
    alt = (
        f"ROC curve, area {area:.4f}; at the threshold {wording.fraction(chosen[1])} of the abnormal rows are "
        f"found, with {wording.fraction(chosen[0])} false alarms."
    )
    settings = layout(
        axis("Normal rows called abnormal", tickformat=".0%", range=[-0.02, 1.02]),
        axis("Abnormal rows found", tickformat=".0%", range=[-0.02, 1.02]),
        showlegend=True,
    )
    return Figure("roc", "ROC curve", alt, [guess, curve, point], settings, 360, f"Area under it: {area:.4f}.")

"""The plots of pruning: what became of each layer, how sparsity rose, what each layer can spare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.report import wording
from pipeline.report.figures import BLUE, GREY, PALETTE, SYMBOLS, VERMILION, Figure, axis, layout, padded, plot_text


def sparsity_figure(layers: Sequence[Mapping[str, Any]], asked: float | None) -> Figure:
    """Draws the fraction of each layer's weights that are zero, with the fraction asked for as a line."""
    names = [str(layer["name"]) for layer in layers]
    values = [float(layer["sparsity"]) for layer in layers]
    trace = {
        "type": "bar",
        "orientation": "h",
        "x": values,
        "y": [plot_text(name) for name in names],
        "marker": {"color": BLUE},
        "text": [f"{value * 100:.0f} %" for value in values],
        "textposition": "auto",
        "textangle": 0,
        "insidetextanchor": "start",
        "customdata": [[layer["weights"] - layer["nonzero"], layer["weights"]] for layer in layers],
        "hovertemplate": "%{y}: %{customdata[0]:,} of %{customdata[1]:,} weights are zero<extra></extra>",
    }
    settings = layout(
        axis("Weights that are zero", range=[0, 1], tickformat=".0%", dtick=0.2, ticklabeloverflow="allow"),
        axis("", autorange="reversed", type="category", showgrid=False),
        bargap=0.35,
    )
    note = ""
    if asked is not None:
        line = {"color": VERMILION, "width": 2, "dash": "dash"}
        settings["shapes"] = [
            {"type": "line", "x0": asked, "x1": asked, "yref": "paper", "y0": 0, "y1": 1, "line": line}
        ]
        note = f"Dashed: the {wording.fraction(asked)} asked for."
    ends = ", ".join(f"{name} {value * 100:.0f} %" for name, value in zip(names, values, strict=True))
    height = max(280, 120 + 34 * len(names))
    return Figure("sparsity", "Zeros in each layer", f"Bar chart of zeros: {ends}.", [trace], settings, height, note)


def schedule_figure(schedule: Sequence[Mapping[str, Any]]) -> Figure:
    """Draws the sparsity that was asked for at each update of the masks."""
    steps = [point["step"] for point in schedule]
    trace = {
        "type": "scatter",
        "mode": "lines+markers" if len(steps) <= 40 else "lines",
        "x": steps,
        "y": [point["sparsity"] for point in schedule],
        "line": {"color": BLUE, "width": 2, "shape": "hv"},
        "marker": {"size": 5},
        "hovertemplate": "step %{x:,}: %{y:.1%}<extra></extra>",
    }
    x = axis("Training step", tickformat=",d", rangemode="tozero")
    y = axis("Weights that are zero", tickformat=".0%", rangemode="tozero")
    alt = f"Step curve: sparsity rises to {wording.fraction(schedule[-1]['sparsity'])} at step {steps[-1]:,d}."
    return Figure("schedule", "How sparsity rose", alt, [trace], layout(x, y), 280)


def nodes_figure(layers: Sequence[Mapping[str, Any]]) -> Figure:
    """Draws the nodes of each layer: those that stayed and those that were removed."""
    names = [plot_text(str(layer["name"])) for layer in layers]
    kept = [int(layer["after"]) for layer in layers]
    gone = [int(layer["before"]) - int(layer["after"]) for layer in layers]
    traces = [
        {
            "type": "bar",
            "orientation": "h",
            "name": name,
            "x": counts,
            "y": names,
            "marker": {"color": color},
            "hovertemplate": f"%{{y}}: %{{x:,}} {name}<extra></extra>",
        }
        for name, counts, color in (("stayed", kept, BLUE), ("removed", gone, GREY))
    ]
    settings = layout(
        axis("Nodes", tickformat=",d"),
        axis("", autorange="reversed", type="category", showgrid=False),
        barmode="stack",
        bargap=0.35,
        showlegend=True,
    )
    ends = ", ".join(f"{layer['name']} {layer['after']} of {layer['before']}" for layer in layers)
    height = max(280, 140 + 34 * len(names))
    return Figure("nodes", "Nodes of each layer", f"Stacked bars: {ends} nodes stayed.", traces, settings, height)


def removals_figure(removals: Sequence[Mapping[str, Any]], history: Sequence[Mapping[str, Any]], metric: str) -> Figure:
    """Draws the validation score along the epochs of pruning, with the score right after each removal."""
    trained = {
        "type": "scatter",
        "mode": "lines+markers",
        "name": "after an epoch",
        "x": [record["epoch"] for record in history],
        "y": [record["score"] for record in history],
        "line": {"color": BLUE, "width": 2},
        "hovertemplate": "epoch %{x}: %{y:.4f}<extra></extra>",
    }
    cut = {
        "type": "scatter",
        "mode": "markers",
        "name": "right after nodes were removed",
        "x": [removal["epoch"] for removal in removals],
        "y": [removal["score"] for removal in removals],
        "customdata": [removal["nodes"] for removal in removals],
        "marker": {"color": VERMILION, "size": 10, "symbol": "x"},
        "hovertemplate": "%{customdata:,} nodes stay: %{y:.4f}<extra></extra>",
    }
    alt = "Curve of the score: " + "; ".join(f"{r['nodes']} nodes {r['score']:.4f}" for r in removals) + "."
    settings = layout(axis("Epoch", rangemode="tozero"), axis(f"Validation {metric}"), showlegend=True)
    return Figure("removals", "Removing and recovering", alt, [trained, cut], settings, 320)


def sensitivity_figure(unit: str, found: Sequence[Mapping[str, Any]], metric: str) -> Figure:
    """Draws the score of the network with one layer pruned alone, level by level, untrained."""
    traces = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": plot_text(str(each["name"])),
            "x": list(each["levels"]),
            "y": list(each["scores"]),
            "line": {"color": PALETTE[i % len(PALETTE)], "width": 2},
            "marker": {"symbol": SYMBOLS[i % len(SYMBOLS)], "size": 8},
            "hovertemplate": "%{x:.0%}: %{y:.4f}<extra></extra>",
        }
        for i, each in enumerate(found)
    ]
    scores = [score for each in found for score in each["scores"]]
    settings = layout(
        axis(f"Part of the layer’s {unit}s that is removed", tickformat=".0%", range=[0, 1]),
        axis(f"Validation {metric}", range=padded(scores)),
        showlegend=True,
    )
    ends = (
        f"{each['name']} {min(each['scores']):.4f} with {wording.fraction(each['levels'][-1])} removed"
        for each in found
    )
    alt = f"Curves: {'; '.join(ends)}"
    note = "Each layer alone, without training: the flatter, the more it can spare."
    height = 320 + 12 * len(found)
    return Figure(f"sensitivity-{unit}", "Sensitivity of each layer", f"{alt}.", traces, settings, height, note)

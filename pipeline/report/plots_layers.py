"""The plots of layer-wise pretraining: each layer's loss, what a linear probe makes of it, and the control."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.report import wording
from pipeline.report.figures import BLUE, GREEN, GREY, PALETTE, SYMBOLS, VERMILION, Figure, axis, layout, plot_text
from pipeline.report.plots_training import curve, epoch_axis

_PROBE_COLORS = {"untrained": GREY, "pretrained": BLUE, "fine-tuned": GREEN, "end to end": VERMILION}


def layerwise_figure(layers: Sequence[Mapping[str, Any]]) -> Figure:
    """Draws each layer's loss over the epochs of its pretraining."""
    hover = "epoch %{x}: %{y:.5f}<extra>%{fullData.name}</extra>"
    traces = [
        curve(
            str(layer["layer"]),
            range(1, len(layer["loss"]) + 1),
            layer["loss"],
            PALETTE[i % len(PALETTE)],
            SYMBOLS[i % len(SYMBOLS)],
            hover,
        )
        for i, layer in enumerate(layers)
    ]
    ends = [f"{layer['layer']} {layer['loss'][0]:.4f} to {layer['loss'][-1]:.4f}" for layer in layers if layer["loss"]]
    longest = max((len(layer["loss"]) for layer in layers), default=0)
    settings = layout(epoch_axis(longest), axis("Loss of the layer", rangemode="tozero"), showlegend=True)
    return Figure("pretrain-loss", "Loss of each layer", f"Line plot: {'; '.join(ends)}.", traces, settings, 320)


def probe_figure(probes: Mapping[str, Sequence[Mapping[str, Any]]], metric: str) -> Figure:
    """Draws what a linear probe scores on each layer, one line a network.

    Args:
        probes: network -> its layers with their scores, from the input on.
        metric: name of the score.

    Returns:
        The figure.
    """
    traces: list[dict[str, Any]] = []
    told = []
    for i, (name, layers) in enumerate(probes.items()):
        scores = [layer["score"] for layer in layers]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": plot_text(name),
                "x": [plot_text(str(layer["layer"])) for layer in layers],
                "y": scores,
                "line": {"color": _PROBE_COLORS[name], "width": 2},
                "marker": {"size": 8, "symbol": SYMBOLS[i % len(SYMBOLS)]},
                "hovertemplate": "%{x}: %{y:.4f}<extra>%{fullData.name}</extra>",
            }
        )
        told.append(f"{name} {wording.score(scores[0])} at the input, {wording.score(scores[-1])} at the last layer")
    settings = layout(axis("", type="category"), axis(f"Validation {metric} of the probe"), showlegend=True)
    alt = f"Line plot, layer by layer: {'; '.join(told)}."
    return Figure("probes", "What each layer gives to a linear model", alt, traces, settings, 360)


def control_figure(
    layer_wise: Sequence[Mapping[str, Any]], control: Sequence[Mapping[str, Any]], offset: int, metric: str
) -> Figure:
    """Draws the validation scores of both trainings over the budget they had spent by then.

    Args:
        layer_wise: records of fine-tuning's epochs.
        control: records of the epochs end to end.
        offset: epochs end to end that pretraining cost.
        metric: name of the score.

    Returns:
        The figure.
    """
    hover = "%{x:,d} epochs spent: %{y:.4f}<extra>%{fullData.name}</extra>"
    sides = (
        ("layer-wise, fine-tuning", [offset + record["epoch"] for record in layer_wise], layer_wise, GREEN, "circle"),
        ("end to end", [record["epoch"] for record in control], control, VERMILION, "square"),
    )
    traces = [
        curve(name, spent, [record["score"] for record in records], color, symbol, hover)
        for name, spent, records, color, symbol in sides
    ]
    bests = [f"{name} at best {wording.score(max(r['score'] for r in records))}" for name, _, records, _, _ in sides]
    x = axis("Budget spent, in epochs end to end", tickformat=",d", rangemode="tozero")
    settings = layout(x, axis(f"Validation {metric}"), showlegend=True)
    note = f"Fine-tuning begins where pretraining ended, at {offset:,d}." if offset else ""
    alt = f"Line plot: {'; '.join(bests)}. {note}".strip()
    return Figure("control", "Both trainings over the same budget", alt, traces, settings, 340, note)

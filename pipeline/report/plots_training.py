"""The plots of learning: class balance, learning curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.report import wording
from pipeline.report.figures import (
    BLUE,
    GREEN,
    GREY,
    PALETTE,
    VERMILION,
    Figure,
    axis,
    layout,
    plot_text,
)


def class_balance_figure(balance: Mapping[str, Mapping[str, int]]) -> Figure:
    """Draws the rows of each class as stacked bars, one part a split.

    Args:
        balance: split -> class name -> rows.

    Returns:
        The figure.
    """
    names = list(next(iter(balance.values())))
    traces = [
        {
            "type": "bar",
            "orientation": "h",
            "name": split,
            "y": [plot_text(name) for name in names],
            "x": [rows[name] for name in names],
            "marker": {"color": PALETTE[i % len(PALETTE)]},
            "hovertemplate": "%{y}: %{x:,} rows<extra>%{fullData.name}</extra>",
        }
        for i, (split, rows) in enumerate(balance.items())
    ]
    totals = [sum(rows[name] for rows in balance.values()) for name in names]
    classes = wording.plural(len(names), "class", "classes")
    alt = f"Bar chart of {classes}, {min(totals):,d} to {max(totals):,d} rows each."
    settings = layout(
        axis("Rows", tickformat=",d", rangemode="tozero"),
        axis("", autorange="reversed", type="category", showgrid=False, ticklabelstep=1 + len(names) // 60),
        barmode="stack",
        bargap=0.3,
        showlegend=True,
        legend={"traceorder": "normal"},
    )
    height = 130 + min(24 * len(names), 900)
    return Figure("classes", "Rows of each class", alt, traces, settings, height)


def history_figures(
    prefix: str, what: str, history: Sequence[Mapping[str, Any]], metric: str, best: int | None
) -> list[Figure]:
    """Draws a training's loss and validation score over its epochs.

    Args:
        prefix: beginning of the figures' ids.
        what: the training, in words.
        history: the epochs' records.
        metric: name of the score.
        best: epoch whose weights were kept; None where it is not recorded.

    Returns:
        Three figures: loss, score with the kept epoch marked, and the gradient's norm; none where there is no epoch.
    """
    if not history:
        return []
    loss = _history_figure(prefix, what, history, "loss", "Training loss", BLUE, None)
    score = _history_figure(prefix, what, history, "score", f"Validation {metric}", GREEN, best)
    norms = [record["gradient_norm"] for record in history if "gradient_norm" in record]
    if len(norms) < len(history):
        return [loss, score]
    # A norm of exactly zero has no place on a logarithmic axis.
    scale = {"type": "log", "exponentformat": "power"} if min(norms) > 0.0 else {"rangemode": "tozero"}
    norm = _history_figure(prefix, what, history, "gradient_norm", "Norm of the gradient", GREY, None, scale)
    return [loss, score, norm]


def _history_figure(
    prefix: str,
    what: str,
    history: Sequence[Mapping[str, Any]],
    name: str,
    title: str,
    color: str,
    best: int | None,
    scale: Mapping[str, Any] | None = None,
) -> Figure:
    epochs = [record["epoch"] for record in history]
    values = [record.get(name) for record in history]
    traces = [curve(title, epochs, values, color, "circle", "epoch %{x}: %{y:.4f}<extra></extra>")]
    first, last = wording.score(values[0]), wording.score(values[-1])
    alt = f"Line plot, {what}: {title} {first} in epoch {epochs[0]}, {last} in epoch {epochs[-1]}."
    note = ""
    if best in epochs:
        kept = values[epochs.index(best)]
        note = f"Ring: epoch {best}, whose weights were kept ({wording.score(kept)})."
        ring = {"size": 14, "symbol": "circle-open", "color": VERMILION, "line": {"width": 2.5}}
        hover = "kept: epoch %{x}, %{y:.4f}<extra></extra>"
        traces.append(
            {"type": "scatter", "mode": "markers", "x": [best], "y": [kept], "marker": ring, "hovertemplate": hover}
        )
    settings = layout(epoch_axis(len(epochs)), axis(title, **(scale or {})))
    return Figure(f"{prefix}-{name.replace('_', '-')}", title, f"{alt} {note}".strip(), traces, settings, 280, note)


def curve(name: str, x: Sequence[int], y: Sequence[Any], color: str, symbol: str, hover: str) -> dict[str, Any]:
    """Returns a trace of points joined by lines; long ones without their points."""
    return {
        "type": "scatter",
        "mode": "lines+markers" if len(x) <= 40 else "lines",
        "name": plot_text(name),
        "x": list(x),
        "y": list(y),
        "line": {"color": color, "width": 2},
        "marker": {"size": 6, "symbol": symbol},
        "hovertemplate": hover,
    }


def epoch_axis(number: int) -> dict[str, Any]:
    """Returns the axis of so many epochs."""
    # Plotly would put ticks at half epochs where there are few of them.
    return axis("Epoch", zeroline=False, **({"dtick": 1} if number <= 10 else {"tickformat": ",d"}))

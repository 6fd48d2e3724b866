"""The plots of learning: class balance, learning curves, regularization searched."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.report import wording
from pipeline.report.figures import (
    BLUE,
    GREEN,
    GREY,
    PALETTE,
    SYMBOLS,
    VERMILION,
    Figure,
    axis,
    decades,
    layout,
    padded,
    plot_text,
)

PENALTY_NAMES = {"none": "none", "l1": "L1", "l2": "L2", "elastic_net": "elastic net"}


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


def strength(trial: Mapping[str, Any]) -> float:
    """Returns a trial's place on the strength axis: l1 + l2 (one of them is 0, but for the elastic net)."""
    return float(trial.get("l1") or 0.0) + float(trial.get("l2") or 0.0)


def tuning_figure(trials: Sequence[Mapping[str, Any]], best: int, metric: str) -> Figure:
    """Draws penalty strength against validation score, one series a kind of penalty, trial 0 as a line.

    Args:
        trials: the trials; trial 0 is the model that `train` made.
        best: number of the trial whose model was kept.
        metric: name of the score.

    Returns:
        The figure; the kept trial is ringed where it is not trial 0.
    """
    done = [trial for trial in trials if trial["state"] == "done" and trial["score"] is not None]
    searched = [trial for trial in done if trial["trial"] != 0 and strength(trial) > 0]
    traces: list[dict[str, Any]] = []
    for i, kind in enumerate(("l1", "l2", "elastic_net")):
        of_kind = [trial for trial in searched if trial["kind"] == kind]
        if of_kind:
            traces.append(
                _trials(PENALTY_NAMES[kind], of_kind, {"color": PALETTE[i], "symbol": SYMBOLS[i], "size": 10})
            )
    kept = [trial for trial in searched if trial["trial"] == best]
    if kept:
        ring = {"size": 20, "symbol": "circle-open", "color": VERMILION, "line": {"width": 2.5}}
        traces.append(_trials("kept", kept, ring))
    ends = decades([strength(trial) for trial in searched], 1.6) if searched else [-6.0, -2.0]
    base = next((trial for trial in done if trial["trial"] == 0), None)
    if base is not None:
        traces.append(_base_line(base["score"], ends))
    x = axis("Penalty strength, l1 + l2 (log scale)", type="log", range=ends, **_strength_ticks(ends))
    number, kept_score = wording.plural(len(searched), "trial"), {t["trial"]: t["score"] for t in done}.get(best)
    said = f"kept is trial {best} with {wording.score(kept_score)}"
    alt = f"Scatter plot of {number}: penalty strength against validation {metric}; {said}."
    y = axis(f"Validation {metric}", range=padded([trial["score"] for trial in done]))
    return Figure("tuning", "Penalty strength against score", alt, traces, layout(x, y, showlegend=True), 380)


def _strength_ticks(ends: Sequence[float]) -> dict[str, Any]:
    """Returns ticks at powers of ten; where there are hardly any, at 2 and 5 times them too, written out."""
    if ends[1] - ends[0] > 2:
        return {"exponentformat": "power", "dtick": 1, "tickfont": {"size": 11}}
    powers = range(math.floor(ends[0]), math.ceil(ends[1]) + 1)
    ticks = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    return {"tickvals": ticks, "ticktext": [wording.figure(tick, 1) for tick in ticks]}


def _trials(name: str, trials: Sequence[Mapping[str, Any]], marker: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [strength(trial) for trial in trials],
        "y": [trial["score"] for trial in trials],
        "text": [f"trial {t['trial']}: l1 {t.get('l1') or 0:.2g}, l2 {t.get('l2') or 0:.2g}" for t in trials],
        "marker": marker,
        "hovertemplate": "%{text}<br>score %{y:.4f}<extra>%{fullData.name}</extra>",
    }


def _base_line(score: float, ends: Sequence[float]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "trial 0, train’s own model",
        "x": [10 ** ends[0], 10 ** ends[1]],
        "y": [score, score],
        "line": {"color": GREY, "dash": "dash", "width": 2},
        "hovertemplate": "trial 0: %{y:.4f}<extra></extra>",
    }

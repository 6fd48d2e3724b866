"""The plots of what came out: sizes against scores, decisions on the test split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.ledger import AnyRow, ClassicalRow, LedgerRow
from pipeline.report import wording
from pipeline.report.figures import (
    BLUE,
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

MAX_SCATTER_POINTS = 2000
"""Most points of a scatter plot; more of them make the file heavy and the picture no clearer."""


def ledger_figure(rows: Sequence[AnyRow], chosen: str | None, metric: str, untrained: Sequence[str]) -> Figure | None:
    """Draws bytes against validation score: each model as it is (filled) and gzipped (open).

    Args:
        rows: the ledger; untrained and pretrained models are left out, their score says nothing yet.
        chosen: precision of `model.tflite`, ringed; None before `convert`.
        metric: name of the score.
        untrained: stages whose models have not learned the task.

    Returns:
        The figure; None where no trained model is in the ledger.
    """
    drawn = [row for row in rows if row.stage not in untrained]
    if not drawn:
        return None
    traces: list[dict[str, Any]] = []
    for i, row in enumerate(drawn):
        # Where the colours begin anew, the shapes are one further: as many pairs as colours times shapes.
        symbol = SYMBOLS[(i + i // len(PALETTE)) % len(SYMBOLS)]
        traces += _ledger_points(row, PALETTE[i % len(PALETTE)], symbol)
    converted = [row for row in drawn if isinstance(row, LedgerRow) and row.stage == "convert"]
    traces += [_chosen_ring(row) for row in converted if row.variant == chosen]
    sizes = [float(size) for row in drawn for size in _sizes(row)]
    ticks = _byte_ticks(min(sizes), max(sizes))
    x = axis("Bytes (log scale)", type="log", range=decades(sizes), tickvals=ticks, tickformat=",d")
    alt = "Scatter plot of file size against score: " + "; ".join(
        f"{row.stage} {row.variant} {_sizes(row)[0]:,d} bytes, {row.score:.4f}" for row in drawn
    )
    note = "Filled: the .tflite file; open: the same file gzipped. Keras models are measured as float32 conversions."
    if any(isinstance(row, ClassicalRow) for row in drawn):
        note += " Classical models: their constants as plain C."
    left_out = list(dict.fromkeys(row.stage for row in rows if row.stage in untrained))
    if left_out:
        note += f" Not drawn, as it has not learned the task yet: {wording.listed(left_out)}."
    settings = layout(x, axis(f"Validation {metric}", range=padded([row.score for row in drawn])), showlegend=True)
    height = 380 + 12 * len(drawn)
    return Figure("bytes-score", "Every trained model", f"{alt}.", traces, settings, height, note)


def _sizes(row: AnyRow) -> list[int]:
    """Sizes a model is drawn at: its file and the same gzipped; of a classical one, its constants in C."""
    return [row.constant_bytes] if isinstance(row, ClassicalRow) else [row.tflite_bytes, row.tflite_gzip_bytes]


def _ledger_points(row: AnyRow, color: str, symbol: str) -> list[dict[str, Any]]:
    name = f"{row.stage} · {row.variant}"
    sizes = _sizes(row)
    common = {"type": "scatter", "legendgroup": name, "x": sizes, "y": [row.score] * len(sizes)}
    outline = {"width": 1.5, "color": color}
    return [
        {**common, "mode": "lines", "showlegend": False, "line": {**outline, "dash": "dot"}, "hoverinfo": "skip"},
        {
            **common,
            "mode": "markers",
            "name": plot_text(name),
            "text": [name, f"{name}, gzipped"][: len(sizes)],
            "marker": {"size": 11, "symbol": [symbol, f"{symbol}-open"][: len(sizes)], "color": color, "line": outline},
            "hovertemplate": "%{text}: %{x:,} bytes, score %{y:.4f}<extra></extra>",
        },
    ]


def _chosen_ring(row: LedgerRow) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "model.tflite",
        "x": [row.tflite_bytes],
        "y": [row.score],
        "marker": {"size": 22, "symbol": "circle-open", "color": VERMILION, "line": {"width": 2}},
        "hoverinfo": "skip",
    }


def _byte_ticks(low: float, high: float) -> list[int]:
    """Returns round sizes on and around a range, fewer to a power of ten where the range is wide."""
    ratio = high / low
    factors: tuple[float, ...] = (1, 1.5, 2, 3, 5, 7) if ratio < 10 else (1, 2, 5) if ratio < 100 else (1,)
    steps = [round(factor * 10**power) for power in range(1, 11) for factor in factors]
    return [step for step in steps if low / 3 <= step <= high * 3]


def scatter_figure(true: Sequence[float], predicted: Sequence[float], target: str, rows: int) -> Figure:
    """Draws predicted against true values with the diagonal where both agree.

    Args:
        true: values of rows spread evenly over the test split.
        predicted: what the model says of the same rows.
        target: name of what is predicted.
        rows: rows of the whole test split.
    """
    stride = max(1, -(-len(true) // MAX_SCATTER_POINTS))
    shown_true = [float(f"{value:.6g}") for value in true[::stride]]
    shown_predicted = [float(f"{value:.6g}") for value in predicted[::stride]]
    ends = [min(shown_true + shown_predicted), max(shown_true + shown_predicted)]
    diagonal = {
        "type": "scatter",
        "mode": "lines",
        "name": "predicted = true",
        "x": ends,
        "y": ends,
        "line": {"color": GREY, "dash": "dash", "width": 1.5},
        "hoverinfo": "skip",
    }
    points = {
        "type": "scatter",
        "mode": "markers",
        "name": "rows of the test split",
        "x": shown_true,
        "y": shown_predicted,
        "marker": {"size": 7, "color": BLUE, "opacity": 0.6},
        "hovertemplate": "true %{x:.5g}, predicted %{y:.5g}<extra></extra>",
    }
    all_rows = wording.plural(rows, "row")
    shown = "" if len(shown_true) == rows else f"{len(shown_true):,d}, spread evenly, of the "
    note = f"{shown}{all_rows} of the test split."
    alt = f"Scatter plot of predicted against true {target}. {note}"
    settings = layout(axis(f"True {target}"), axis(f"Predicted {target}"), showlegend=True)
    return Figure("scatter", f"Predicted against true {target}", alt, [diagonal, points], settings, 460, note)


def heatmap_figure(classes: Sequence[str], confusion: Sequence[Sequence[int]]) -> Figure:
    """Draws a confusion matrix that is too large for a table, as fractions of each true class."""
    shares = [[round(cell / max(1, sum(row)), 4) for cell in row] for row in confusion]
    names = [plot_text(name) for name in classes]
    trace = {
        "type": "heatmap",
        "z": shares,
        "x": names,
        "y": names,
        "zmin": 0,
        "zmax": 1,
        "customdata": [list(row) for row in confusion],
        "colorscale": [[0, "rgba(40,120,181,0.05)"], [1, "rgba(40,120,181,1)"]],
        "colorbar": {"title": {"text": "Share"}, "tickformat": ".0%", "thickness": 12},
        "hovertemplate": "true %{y}, predicted %{x}: %{customdata:,} rows (%{z:.1%})<extra></extra>",
    }
    x = axis("Predicted", type="category", showgrid=False)
    y = axis("True", type="category", autorange="reversed", showgrid=False)
    alt = f"Heat map of the confusion matrix of {len(classes)} classes; the most frequent confusions are listed below."
    note = "Share of each true class that was predicted as each class."
    return Figure("confusion", "Confusion matrix", alt, [trace], layout(x, y), 560, note)

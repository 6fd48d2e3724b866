"""What a plot of the report is: a plain Plotly figure, so that drawing one imports no plotly."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.report.markup import NOTHING, Markup, join, tag

# Okabe & Ito's colours, told apart by colour-blind readers, at a lightness that reads on white and on near-black.
BLUE, VERMILION, GREEN, PURPLE, ORANGE, GREY = "#2878b5", "#d1602b", "#1d9473", "#b1699b", "#c98a1b", "#7d8590"
INDIGO, BROWN = "#7468d4", "#9a7650"
PALETTE = (BLUE, GREEN, PURPLE, ORANGE, VERMILION, GREY, INDIGO, BROWN)
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star", "hexagon", "triangle-down")


@dataclass(frozen=True)
class Figure:
    """One plot.

    Attributes:
        identifier: id of its element, the same in every report.
        title: what it shows, a short heading.
        alt: what it says, for those who cannot see it.
        data: Plotly traces.
        layout: Plotly layout; fonts and grid come from the page.
        height: height in pixels.
        note: what a reader should know beside it; may be empty.
    """

    identifier: str
    title: str
    alt: str
    data: list[dict[str, Any]]
    layout: dict[str, Any]
    height: int = 320
    note: str = ""


@dataclass
class Plots:
    """The plots of one page, in the order in which they were placed."""

    figures: list[Figure] = field(default_factory=list)

    def place(self, *figures: Figure) -> Markup:
        """Returns the elements of the figures, two of them side by side where the page is wide."""
        self.figures += figures
        placed = [_element(figure) for figure in figures]
        return tag("div", *placed, class_="pair") if len(placed) > 1 else join(placed)

    def as_json(self) -> str:
        """Returns all figures as JSON that may stand inside a script element: no `<`, `>` or `&` in it.

        Raises:
            ValueError: a figure holds NaN or an infinity.
        """
        figures = [{"id": f.identifier, "data": f.data, "layout": f.layout} for f in self.figures]
        text = json.dumps(figures, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
        return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _element(figure: Figure) -> Markup:
    plot = tag(
        "div",
        id=f"figure-{figure.identifier}",
        class_="plot",
        role="img",
        aria_label=figure.alt,
        style=f"height:{figure.height}px",
    )
    note = tag("span", figure.note, class_="note") if figure.note else NOTHING
    return tag("figure", tag("figcaption", tag("strong", figure.title), " ", note), plot)


def plot_text(text: str) -> str:
    """Returns text that Plotly shows as it is: it would read `<b>` as a tag."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def axis(title: str, **settings: Any) -> dict[str, Any]:
    """Returns an axis with its title."""
    return {"title": {"text": plot_text(title)}, "automargin": True, **settings}


def layout(x: dict[str, Any], y: dict[str, Any], **settings: Any) -> dict[str, Any]:
    """Returns a layout of two axes; no legend unless it is asked for."""
    return {"xaxis": x, "yaxis": y, "showlegend": False, **settings}


def padded(values: Sequence[float]) -> list[float]:
    """Returns the ends of an axis around values, with room for markers; equal values get a range too."""
    if not values:
        return [0.0, 1.0]
    low, high = min(values), max(values)
    margin = max(0.1 * (high - low), 0.002)
    return [round(low - margin, 6), round(high + margin, 6)]


def decades(values: Sequence[float], pad: float = 1.25) -> list[float]:
    """Returns the ends of a log axis around positive values, as powers of ten, a factor of two apart at least."""
    low, high = min(values) / pad, max(values) * pad
    if high / low < 2:
        low, high = low / 1.4, high * 1.4
    return [round(math.log10(low), 4), round(math.log10(high), 4)]


def log_ticks(low: float, high: float) -> dict[str, list[Any]]:
    """Returns ticks of a log axis, each written out (Plotly writes 0.2 between powers of ten as a bare 2).

    Args:
        low: lowest value shown, positive.
        high: highest value shown.

    Returns:
        `tickvals` and `ticktext`: 1, 2 and 5 times powers of ten; of more than four decades, powers alone. Nothing, so
        that Plotly chooses, where fewer than two of them lie in the range.
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    wide = last - first > 4
    steps = [f"{factor}e{power}" for power in range(first, last + 1) for factor in ((1,) if wide else (1, 2, 5))]
    shown = [float(step) for step in steps if low <= float(step) <= high]
    return {"tickvals": shown, "ticktext": [f"{value:g}" for value in shown]} if len(shown) > 1 else {}

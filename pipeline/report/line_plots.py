"""Windows of series as small line plots inside the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.report import wording
from pipeline.report.figures import PALETTE
from pipeline.report.markup import Markup, tag

WIDTH, STRIP, GAP, TEXT = 240, 34, 4, 11
"""Width of a plot, height of a channel's curve, space below it, and height of its name, in units of the drawing."""


def line_plot(channels: Mapping[str, Sequence[float]], description: str) -> Markup:
    """Draws the channels of a window one below the other, each from its own least to its own largest value.

    Args:
        channels: name -> values, one a step, finite.
        description: the text for those who cannot see it.

    Returns:
        An `svg` of the page's width; equal values give equal text.
    """
    height = len(channels) * (STRIP + GAP + TEXT)
    parts = []
    for place, (name, values) in enumerate(channels.items()):
        top = place * (STRIP + GAP + TEXT)
        color = PALETTE[place % len(PALETTE)]
        ends = f"{name}: {wording.figure(min(values), 3)} to {wording.figure(max(values), 3)}"
        parts.append(tag("text", ends, x="0", y=str(top + TEXT - 2)))
        points = " ".join(_points(values, top + TEXT))
        parts.append(tag("polyline", points=points, fill="none", stroke=color, stroke_width="1.5"))
    box = f"0 0 {WIDTH} {height}"
    return tag("svg", *parts, viewBox=box, role="img", aria_label=description, class_="lines")


def _points(values: Sequence[float], top: int) -> list[str]:
    low, high = min(values), max(values)
    across = (WIDTH - 2) / max(1, len(values) - 1)
    down = 0.0 if high == low else (STRIP - 2) / (high - low)
    middle = STRIP / 2 if high == low else STRIP - 1
    return [f"{1 + across * step:.1f},{top + middle - down * (value - low):.1f}" for step, value in enumerate(values)]

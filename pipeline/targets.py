"""Whether the limits of a config's `target` are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.config import TargetConfig

_DECIMALS = 9
"""Scores are differences of fractions: 0.98 - 0.96 must not miss a drop of 0.02 by the last bit of a float."""


def judge(limits: TargetConfig, measured: Mapping[str, float | None]) -> list[dict[str, Any]]:
    """Compares every limit that is set with what was measured.

    `max_…` is kept by anything up to the limit, `min_…` by anything from it on; what could not be
    measured keeps no limit.

    Args:
        limits: the `target` section.
        measured: name of a limit -> the figure it is about, on the validation split; None: not measurable.

    Returns:
        `{"name", "asked", "got", "met"}` for each limit that is set, in the order of the section.
    """
    return [_judged(name, asked, measured[name]) for name, asked in limits.model_dump().items() if asked is not None]


def missed_limit(target: Mapping[str, Any]) -> str:
    """Says what a limit asked for and what was got instead.

    Args:
        target: one of `judge`'s.
    """
    name = target["name"]
    unit = " bytes" if name.endswith("_bytes") else " microseconds" if name.endswith("_us") else ""
    rule = f"expected {'at least' if name.startswith('min_') else 'at most'} {_figure(target['asked'])}{unit}"
    if target["got"] is None:
        return f"{rule}, got nothing: it could not be measured."
    return f"{rule}, got {_figure(target['got'])}."


def _figure(value: float) -> str:
    return f"{value:,d}" if isinstance(value, int) else f"{value:,.4f}".rstrip("0").rstrip(".")


def _judged(name: str, asked: float, got: float | None) -> dict[str, Any]:
    if got is None:
        return {"name": name, "asked": asked, "got": None, "met": False}
    shown = round(got, _DECIMALS)
    met = shown >= asked if name.startswith("min_") else shown <= asked
    return {"name": name, "asked": asked, "got": shown, "met": met}

"""The plots of the search by `tune`: penalty strength against score and sparsity."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipeline.report import wording
from pipeline.report.figures import (
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
from pipeline.tuning_space import described

PENALTY_NAMES = {"none": "none", "l1": "L1", "l2": "L2", "elastic_net": "elastic net"}

STRENGTH = "Penalty strength, l1 + l2 (log scale)"
RING: dict[str, Any] = {"size": 20, "symbol": "circle-open", "color": VERMILION, "line": {"width": 2.5}}

Trial = Mapping[str, Any]
Value = Callable[[Trial], float]


def strength(trial: Trial) -> float:
    """Returns a trial's place on the strength axis: l1 + l2 (one of them is 0, but for the elastic net)."""
    return float(trial.get("l1") or 0.0) + float(trial.get("l2") or 0.0)


def is_done(trial: Trial) -> bool:
    """Whether a trial came to a score."""
    return trial["state"] == "done" and trial["score"] is not None


def penalized(trials: Sequence[Trial]) -> list[Trial]:
    """The trials that came to a score under a penalty of their own."""
    return [trial for trial in trials if is_done(trial) and trial["trial"] != 0 and strength(trial) > 0]


def zero_fraction(trial: Trial) -> float | None:
    """Fraction of the weights of a trial's kernels that are exactly zero; None where it is not recorded."""
    weights = trial.get("weights")
    return weights["zeros"] / weights["count"] if weights and weights["count"] else None


def tuning_figure(trials: Sequence[Trial], best: int, metric: str, objective: str = "score") -> Figure:
    """Draws penalty strength against validation score, one series a kind of penalty, trial 0 as a line.

    Args:
        trials: the trials; trial 0 is the model that `train` made.
        best: number of the trial whose model was kept.
        metric: name of the score.
        objective: which score decides: `score` or `pruned_score`.

    Returns:
        The figure; the kept trial is ringed where it is not trial 0.
    """
    done = [trial for trial in trials if is_done(trial)]
    kept = {trial["trial"]: trial[objective] for trial in done}.get(best)
    number = wording.plural(len(penalized(trials)), "trial")
    said = f"kept is trial {best} with {wording.score(kept)}"
    alt = f"Scatter plot of {number}: penalty strength against validation {metric}; {said}."
    title = f"Validation {metric}" + (", pruned at once" if objective == "pruned_score" else "")
    y = axis(title, range=padded([trial[objective] for trial in done]))
    settings, traces = _against_strength(trials, best, lambda trial: float(trial[objective]), "score %{y:.4f}")
    shown_as = layout(settings, y, showlegend=True)
    return Figure("tuning", "Penalty strength against score", alt, traces, shown_as, 380, short_note(trials))


def zeros_figure(trials: Sequence[Trial], best: int) -> Figure | None:
    """Draws penalty strength against the fraction of weights that are exactly zero; None where nothing records it."""
    searched = [trial for trial in penalized(trials) if zero_fraction(trial) is not None]
    if not searched:
        return None
    value: Value = lambda trial: zero_fraction(trial) or 0.0  # noqa: E731 -- as short as what it says
    recorded = [trial for trial in trials if zero_fraction(trial) is not None]
    settings, traces = _against_strength(recorded, best, value, "%{y:.1%} zero")
    fractions = [value(trial) for trial in searched]
    alt = f"Scatter plot: {wording.fraction(min(fractions))} to {wording.fraction(max(fractions))} of the weights are "
    alt += "exactly zero."
    most = max([0.1, *fractions, *(value(trial) for trial in recorded if trial["trial"] == 0)])
    y = axis("Weights that are exactly zero", tickformat=".0%", range=[-0.05 * most, 1.08 * most])
    note = "L1 makes zeros, L2 small numbers." if {trial["kind"] for trial in searched} != {"l2"} else ""
    shown_as = layout(settings, y, showlegend=True)
    return Figure("tuning-zeros", "Penalty strength against sparsity", alt, traces, shown_as, 380, note)


def _against_strength(
    trials: Sequence[Trial], best: int, value: Value, hover: str
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Returns the axis of strengths, and the series of all kinds with the kept trial and trial 0."""
    searched = penalized(trials)
    traces: list[dict[str, Any]] = []
    for i, kind in enumerate(("l1", "l2", "elastic_net")):
        of_kind = [trial for trial in searched if trial["kind"] == kind]
        if of_kind:
            marker = {"color": PALETTE[i], "symbol": [_symbol(i, trial) for trial in of_kind], "size": 10}
            traces.append(_points(PENALTY_NAMES[kind], of_kind, value, marker, hover))
    kept = [trial for trial in searched if trial["trial"] == best]
    if kept:
        traces.append(_points("kept", kept, value, RING, hover))
    ends = decades([strength(trial) for trial in searched], 1.6) if searched else [-6.0, -2.0]
    base = next((trial for trial in trials if trial["trial"] == 0 and is_done(trial)), None)
    if base is not None:
        traces.append(_base_line(value(base), ends, hover))
    return axis(STRENGTH, type="log", range=ends, **strength_ticks(ends)), traces


def _symbol(place: int, trial: Trial) -> str:
    """A series' symbol; hollow where Hyperband trained less than the longest."""
    return f"{SYMBOLS[place]}-open" if trial.get("short") else SYMBOLS[place]


def short_note(trials: Sequence[Trial]) -> str:
    """Says what hollow points are, where there are some."""
    return "Hollow: Hyperband’s shorter trainings." if any(trial.get("short") for trial in trials) else ""


def strength_ticks(ends: Sequence[float]) -> dict[str, Any]:
    """Returns ticks at powers of ten; where there are hardly any, at 2 and 5 times them too, written out."""
    if ends[1] - ends[0] > 2:
        return {"exponentformat": "power", "dtick": 1, "tickfont": {"size": 11}}
    powers = range(math.floor(ends[0]), math.ceil(ends[1]) + 1)
    ticks = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    return {"tickvals": ticks, "ticktext": [wording.figure(tick, 1) for tick in ticks]}


def _points(name: str, trials: Sequence[Trial], value: Value, marker: Mapping[str, Any], hover: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [strength(trial) for trial in trials],
        "y": [value(trial) for trial in trials],
        "text": [label(trial) for trial in trials],
        "marker": dict(marker),
        "hovertemplate": f"%{{text}}<br>{hover}<extra>%{{fullData.name}}</extra>",
    }


def label(trial: Trial) -> str:
    """Says what a point is: the trial, and what it has of its own."""
    return plot_text(f"trial {trial['trial']}: {described(trial)}")


def _base_line(level: float, ends: Sequence[float], hover: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "trial 0, train’s own model",
        "x": [10 ** ends[0], 10 ** ends[1]],
        "y": [level, level],
        "line": {"color": GREY, "dash": "dash", "width": 2},
        "hovertemplate": f"trial 0: {hover}<extra></extra>",
    }

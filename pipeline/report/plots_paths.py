"""The plots of what trials of `tune` had of their own: the largest coefficients, and each key of the space."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.report import wording
from pipeline.report.figures import GREY, PALETTE, SYMBOLS, Figure, axis, decades, layout, padded, plot_text
from pipeline.report.plots_tuning import (
    PENALTY_NAMES,
    RING,
    STRENGTH,
    Trial,
    is_done,
    label,
    penalized,
    short_note,
    strength,
    strength_ticks,
)
from pipeline.tuning_space import shown

COEFFICIENTS = {
    "weight": ("Weight", "Weight of each feature in the linear model"),
    "log_odds": ("Weight (log odds)", "What one unit of a feature adds to the log odds of the second class"),
    "norm": ("Norm of the weights", "Norm of the weights that read each feature in the first layer"),
}

_SPACE_NAMES = {
    "learning_rate": "Learning rate",
    "batch_size": "Batch size",
    "units": "Units of the hidden layers",
    "filters": "Filters of the blocks",
    "activation": "Activation",
    "dropout_fraction": "Dropout fraction",
}
_LONGEST_NAME = 28
_ZERO_STEP = 3.0
"""How far below the weakest penalty, as a factor, the model without one stands on a logarithmic axis."""


def coefficient_figures(trials: Sequence[Trial], paths: Mapping[str, Any]) -> list[Figure]:
    """Draws the weights of the largest features against the strength of the penalty, one figure a kind of it.

    Args:
        trials: the trials.
        paths: `what`, `names` and `values`, as `pipeline.tuning_path` follows them.

    Returns:
        A figure for each kind that a trial came to a score under; trial 0 stands at its left end where it has no
        penalty.
    """
    figures = []
    for kind in ("l1", "l2", "elastic_net"):
        of_kind = [
            trial for trial in penalized(trials) if trial["kind"] == kind and str(trial["trial"]) in paths["values"]
        ]
        if of_kind:
            figures.append(_coefficients(kind, sorted(of_kind, key=strength), trials, paths))
    return figures


def _coefficients(kind: str, of_kind: Sequence[Trial], trials: Sequence[Trial], paths: Mapping[str, Any]) -> Figure:
    title, meaning = COEFFICIENTS[paths["what"]]
    places = [strength(trial) for trial in of_kind]
    numbers = [trial["trial"] for trial in of_kind]
    free = [trial for trial in trials if trial["trial"] == 0 and strength(trial) == 0]
    if free and "0" in paths["values"]:
        places, numbers = [places[0] / _ZERO_STEP, *places], [0, *numbers]
    traces = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": plot_text(_cut(name)),
            "x": places,
            "y": [paths["values"][str(number)][i] for number in numbers],
            "text": [f"trial {number}" for number in numbers],
            "line": {"color": PALETTE[i % len(PALETTE)], "width": 2},
            "marker": {"size": 6, "symbol": SYMBOLS[i % len(SYMBOLS)]},
            "hovertemplate": "%{text}: %{y:.4f}<extra>%{fullData.name}</extra>",
        }
        for i, name in enumerate(paths["names"])
    ]
    ends = decades(places, 1.6)
    lasting = [name for i, name in enumerate(paths["names"]) if paths["values"][str(numbers[-1])][i]]
    told = wording.listed(lasting[:3]) if lasting else "none of them"
    alt = (
        f"Line plot of {wording.plural(len(paths['names']), 'feature')}; not zero under the strongest penalty: {told}."
    )
    x = axis(STRENGTH, type="log", range=ends, **_path_ticks(ends, places[0] if numbers[0] == 0 else None))
    heading = f"The largest features under {PENALTY_NAMES[kind]}"
    settings = layout(x, axis(title, zeroline=True), showlegend=True)
    return Figure(f"tuning-path-{kind.replace('_', '-')}", heading, alt, traces, settings, 420, f"{meaning}.")


def _path_ticks(ends: Sequence[float], zero: float | None) -> dict[str, Any]:
    """Ticks written out, with `none` where the model without a penalty stands."""
    wide = ends[1] - ends[0] > 2
    powers = range(math.floor(ends[0]), math.ceil(ends[1]) + 1)
    ticks = [factor * 10.0**power for power in powers for factor in ((1,) if wide else (1, 2, 5))]
    ticks = [tick for tick in ticks if zero is None or tick > 1.5 * zero]
    texts = [f"10<sup>{math.log10(tick):.0f}</sup>" if wide else wording.figure(tick, 1) for tick in ticks]
    return {
        "tickvals": ticks if zero is None else [zero, *ticks],
        "ticktext": texts if zero is None else ["none", *texts],
    }


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def space_figures(
    trials: Sequence[Trial], names: Sequence[str], best: int, metric: str, objective: str
) -> list[Figure]:
    """Draws each key of the space against what decides, one figure a key; trial 0 among the trials."""
    done = [trial for trial in trials if is_done(trial)]
    return [_space_figure(name, done, best, metric, objective) for name in names] if len(done) > 1 else []


def _space_figure(name: str, done: Sequence[Trial], best: int, metric: str, objective: str) -> Figure:
    values = [trial["values"][name] for trial in done]
    is_number = all(isinstance(value, float) for value in values)
    places: list[Any] = values if is_number else [shown(value) for value in values]
    heading = _SPACE_NAMES.get(name, wording.capital(wording.words(name)))
    titled = wording.plural(len(done), "trial")
    alt = f"Scatter plot of {titled}: {heading.lower()} against validation {metric}."
    if name == "learning_rate":
        x = axis(
            f"{heading} (log scale)", type="log", range=decades(values, 1.3), **strength_ticks(decades(values, 1.3))
        )
    elif is_number:
        x = axis(heading)
    else:
        order = sorted(dict.fromkeys(places), key=lambda text: [_number(part) for part in text.split("-")])
        x = axis(heading, type="category", categoryorder="array", categoryarray=order)
    own = [i for i, trial in enumerate(done) if trial["trial"] == 0]
    others = [i for i, trial in enumerate(done) if trial["trial"] != 0]
    hollow = ["circle-open" if done[i].get("short") else "circle" for i in others]
    traces = [
        _at(places, done, own, "trial 0, train’s own model", objective)
        | {"marker": {"color": GREY, "symbol": "x", "size": 10}},
        _at(places, done, others, "trials", objective)
        | {"marker": {"color": PALETTE[0], "symbol": hollow, "size": 10}},
    ]
    kept = [i for i, trial in enumerate(done) if trial["trial"] == best]
    traces.append(_at(places, done, kept, "kept", objective) | {"marker": dict(RING)})
    title = f"Validation {metric}" + (", pruned at once" if objective == "pruned_score" else "")
    settings = layout(x, axis(title, range=padded([trial[objective] for trial in done])), showlegend=True)
    return Figure(f"tuning-{name.replace('_', '-')}", heading, alt, traces, settings, 320, short_note(done))


def _number(part: str) -> tuple[int, float, str]:
    """Sorts numbers by size, and words after them."""
    return (0, float(part), "") if part.replace(".", "", 1).isdigit() else (1, 0.0, part)


def _at(
    places: Sequence[Any], done: Sequence[Trial], chosen: Sequence[int], name: str, objective: str
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [places[i] for i in chosen],
        "y": [done[i][objective] for i in chosen],
        "text": [label(done[i]) for i in chosen],
        "hovertemplate": "%{text}<br>%{y:.4f}<extra>%{fullData.name}</extra>",
    }

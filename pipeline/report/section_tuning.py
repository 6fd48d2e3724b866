"""The section on the search by `tune`: what decided, the path of the penalty, every trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.report import wording
from pipeline.report.figures import Plots
from pipeline.report.markup import (
    NOTHING,
    Content,
    Markup,
    TableColumn,
    bullets,
    disclosure,
    join,
    paragraph,
    section,
    subsection,
    table,
)
from pipeline.report.plots_paths import coefficient_figures, space_figures
from pipeline.report.plots_tuning import (
    PENALTY_NAMES,
    penalized,
    tuning_figure,
    zero_fraction,
    zeros_figure,
)
from pipeline.report.record import RunRecord
from pipeline.report.section_training import layers_table, learning_curves
from pipeline.tuning_space import shown


def tuning_section(record: RunRecord, plots: Plots) -> Markup:
    """Returns the picture of the search by `tune`; nothing where none was asked for."""
    tune = record.details("tune")
    if not tune.get("trials"):
        return NOTHING
    trials, best, metric = tune["trials"], tune["best"], wording.metric(record.metric)
    objective = tune.get("objective", "score")
    parts = [paragraph(_outcome(trials, best, objective)), *_figures(tune, metric, objective, plots)]
    failed = [f"Trial {trial['trial']} failed: {trial['cause']}" for trial in trials if trial.get("cause")]
    lost = [(trial["trial"], cause) for trial in trials for cause in trial.get("losses", ())]
    failed += [f"Trial {number} was tried once more: its process {cause}." for number, cause in lost]
    if failed:
        parts.append(subsection("What failed", bullets(failed)))
    parts.append(disclosure("Every trial as a table", _trials(tune, record.metric, objective)))
    if tune.get("network"):
        parts.append(subsection("The network of the kept trial", layers_table(tune["network"])))
    parts.append(learning_curves("tune", "Learning curves of the kept trial", tune, record.metric, plots))
    title = "Tuning the training" if tune.get("space") else "Tuning regularization"
    return section("tuning", title, *parts)


def _figures(tune: Mapping[str, Any], metric: str, objective: str, plots: Plots) -> list[Markup]:
    trials, best = tune["trials"], tune["best"]
    has_space = bool(tune.get("space"))
    parts = []
    if penalized(trials) or not has_space:
        zeros = zeros_figure(trials, best)
        path = [tuning_figure(trials, best, metric, objective), *([] if zeros is None else [zeros])]
        parts.append(plots.place(*path))
    if tune.get("coefficients") and not has_space:
        drawn = coefficient_figures(trials, tune["coefficients"])
        parts.append(plots.place(*drawn) if drawn else NOTHING)
    if has_space:
        drawn = space_figures(trials, tune["space"], best, metric, objective)
        parts.append(plots.place(*drawn) if drawn else NOTHING)
    return [part for part in parts if part.html]


def _outcome(trials: Sequence[Mapping[str, Any]], best: int, objective: str) -> Content:
    by_number = {trial["trial"]: trial for trial in trials}
    base, winner = by_number.get(0), by_number.get(best)
    judged = "score" if objective == "score" else "score pruned at once"
    if winner is None:
        return f"Kept: trial {best}."
    if best == 0:
        return (
            f"No trial did better: train’s own model, trial 0, was kept (validation {judged} "
            f"{wording.score(winner[objective])})."
        )
    gain = ""
    if base is not None and base[objective] is not None and winner[objective] is not None:
        gain = f", {wording.signed(winner[objective] - base[objective])} against trial 0, train’s own model"
    told = f"Kept: trial {best}, {kept_trial(winner)}, validation {judged} {wording.score(winner[objective])}{gain}."
    if objective == "pruned_score":
        told += f" Before pruning it scores {wording.score(winner['score'])}."
    return join([told])


def kept_trial(trial: Mapping[str, Any]) -> str:
    """Describes a trial in a sentence: its penalty, and what else it has of its own."""
    strengths = " and ".join(f"{key} {wording.figure(trial[key], 2)}" for key in ("l1", "l2") if trial.get(key))
    kind = PENALTY_NAMES.get(trial["kind"], trial["kind"])
    told = [f"{kind} ({strengths})" if strengths else "no penalty"]
    told += [f"{wording.words(name)} {shown(value)}" for name, value in (trial.get("values") or {}).items()]
    return ", ".join(told)


def _trials(tune: Mapping[str, Any], metric: str, objective: str) -> Markup:
    trials, best, names = tune["trials"], tune["best"], tune.get("space") or []
    epochs = {trial.get("epochs") for trial in trials[1:]}
    heads = ["l1", "l2", *(wording.capital(wording.words(name)) for name in names)]
    heads += ["Epochs"] if len(epochs) > 1 else []
    heads += ["Zero weights"] if any(zero_fraction(trial) is not None for trial in trials) else []
    heads += [f"Validation {wording.metric(metric)}"]
    heads += ["Pruned at once"] if objective == "pruned_score" else []
    columns = [TableColumn("Trial", True), TableColumn("Penalty"), *(TableColumn(head, True) for head in heads)]
    columns += [TableColumn("State"), TableColumn("Seconds", True)]
    rows = [_row(trial, best, names, heads) for trial in trials]
    marked = next((i for i, trial in enumerate(trials) if trial["trial"] == best), -1)
    return table("Trials", columns, rows, marked=marked)


def _row(trial: Mapping[str, Any], best: int, names: Sequence[str], heads: Sequence[str]) -> list[Content]:
    cells: list[Content] = [str(trial["trial"]), PENALTY_NAMES.get(trial["kind"], str(trial["kind"]))]
    cells += [wording.figure(trial.get(name) or 0, 3) for name in ("l1", "l2")]
    cells += [shown((trial.get("values") or {}).get(name, wording.ABSENT)) for name in names]
    if "Epochs" in heads:
        cells.append(wording.count(trial.get("epochs")))
    if "Zero weights" in heads:
        cells.append(wording.fraction(zero_fraction(trial)))
    cells.append(wording.score(trial["score"]))
    if "Pruned at once" in heads:
        cells.append(wording.score(trial.get("pruned_score")))
    cells.append(f"{trial['state']}, kept" if trial["trial"] == best else str(trial["state"]))
    cells.append(wording.ABSENT if trial.get("seconds") is None else f"{trial['seconds']:.1f}")
    return cells


def tuned_network(record: RunRecord) -> str | None:
    """Says which network a trial of `tune` brought in place of the config's; None where the config's own went on."""
    tune = record.details("tune")
    if not tune.get("network"):
        return None
    kept = next(trial for trial in tune["trials"] if trial["trial"] == tune["best"])
    names = [name for name in ("units", "filters", "activation", "dropout_fraction") if name in kept["values"]]
    told = wording.listed([f"{wording.words(name)} {shown(kept['values'][name])}" for name in names])
    return f"Its network is not the config's own but that of trial {tune['best']} of `tune`: {told}."

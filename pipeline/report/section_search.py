"""The section on the search: every candidate, the front, and a config for each point of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from io import StringIO
from typing import Any

from ruamel.yaml import YAML

from models.compression_config import AwareConfig, ClusterConfig
from pipeline.candidates import WEIGHTS_AFTER_NODES, Candidate, aware_section, cluster_section
from pipeline.report import wording
from pipeline.report.figures import Plots
from pipeline.report.findings import config_of
from pipeline.report.held_limit import held_limit
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
    tag,
)
from pipeline.report.plots_search import search_figure
from pipeline.report.record import RunRecord


def search_section(record: RunRecord, plots: Plots) -> Markup:
    """Returns what was tried and what was chosen; nothing where no search was asked for."""
    search = record.details("search")
    if not search:
        return NOTHING
    trials, metric = search["trials"], wording.metric(record.metric)
    best = trials[search["best"]]
    return section(
        "search",
        "The search for the smallest model",
        _outcome(search, best),
        plots.place(search_figure(trials, search["front"], search["best"], metric)),
        subsection(
            "The front",
            paragraph(
                "No other candidate is better in score, bytes, arena and latency at once. Each opens as a config that "
                "makes it again.",
                class_="quiet",
            ),
            join([_point(record, number, trials[number], number == search["best"]) for number in search["front"]]),
        ),
        _failures(trials),
        disclosure("Every candidate as a table", _table(trials, search["best"], metric)),
    )


def _failures(trials: Sequence[Mapping[str, Any]]) -> Markup:
    """Says why candidates failed, or had to be tried once more."""
    failed = [f"{candidate_name(trial)} failed: {trial['cause']}" for trial in trials if trial.get("cause")]
    lost = [(candidate_name(trial), cause) for trial in trials for cause in trial.get("losses", ())]
    failed += [f"{name} was tried once more: its process {cause}." for name, cause in lost]
    return subsection("What failed", bullets([wording.capital(each) for each in failed])) if failed else NOTHING


def _outcome(search: Mapping[str, Any], best: Mapping[str, Any]) -> Markup:
    tried = wording.plural(len(search["trials"]), "candidate")
    held = held_limit(search)
    limits = "the target" if held is None else "the limits that the search held"
    title = f"The smallest that meets {limits}" if search["met"] else f"None meets {limits}: the nearest"
    text = (
        f"Of {tried}: {candidate_name(best)}, {wording.bytes_of(best['max_model_bytes'])}, "
        f"validation score {wording.score(best['min_score'])} "
        f"({wording.signed(best['min_score'] - search['dense_score'])} against the dense float model)."
    )
    if best["missed"]:
        text += f" Missed: {wording.listed([wording.words(name) for name in best['missed']])}."
    if held is not None:
        text += f" {held}"
    return tag("div", tag("strong", title), paragraph(text), class_=f"callout {'good' if search['met'] else 'warn'}")


def candidate_name(trial: Mapping[str, Any]) -> str:
    """Names a candidate for a reader."""
    bits = _bits(trial)
    if trial["unit"] == "none" and not trial["clusters"]:
        return f"the dense model, {bits}"
    look = {"one_shot": "pruned at once", "short": "short recovery", "full": "whole pruning"}[trial["look"]]
    what = {
        "node": "of the nodes",
        "weight": "of the weights",
        "node_and_weight": "of the nodes, then half of the weights",
    }
    if trial["unit"] == "none":
        return f"{bits}, {look}"
    return f"{wording.fraction(trial['sparsity'])} {what[trial['unit']]}, {trial['scope']}, {bits}, {look}"


def _bits(trial: Mapping[str, Any]) -> str:
    clusters = [f"{trial['clusters']} clusters"] if trial["clusters"] else []
    aware = ["quantization-aware"] if trial["aware"] else []
    encoding = {"dense": [], "sparse": ["encoded zeros"], "tables": ["look-up tables"]}[trial["encoding"]]
    return ", ".join([*clusters, *aware, trial["precision"], *encoding])


def _point(record: RunRecord, number: int, trial: Mapping[str, Any], best: bool) -> Markup:
    figures = f"{wording.bytes_of(trial['max_model_bytes'])}, {wording.score(trial['min_score'])}"
    title = f"{candidate_name(trial)}: {figures}{' (chosen)' if best else ''}"
    text = tag("pre", tag("code", candidate_config(record, trial)))
    return tag("div", disclosure(title, text), id=f"candidate-{number}")


def candidate_config(record: RunRecord, trial: Mapping[str, Any]) -> str:
    """Returns the config that makes a candidate again, without the search."""
    config = config_of(record)
    search, shared = config.pop("search", None) or {}, config.pop("prune", None)
    config["name"] = f"{config.get('name', 'run')}-candidate"
    if trial["unit"] != "none":
        both = trial["unit"] == "node_and_weight"
        config["prune"] = {
            **(shared or {}),
            "unit": ["node", "weight"] if both else trial["unit"],
            "scope": trial["scope"],
            "sparsity": trial["sparsity"],
        }
        if both:
            config["prune"]["weight_sparsity"] = WEIGHTS_AFTER_NODES
        if trial["look"] != "full":
            recovery = search.get("short_epochs", 1) if trial["look"] == "short" else 0
            config["prune"] |= {"epochs": 0, "steps": None, "recovery_epochs": recovery}
    config["cluster"] = _cluster(config, trial, search) if trial["clusters"] else None
    config["quantize"] = _quantize(config, trial, search)
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # the order of the config
    stream = StringIO()
    yaml.dump({key: value for key, value in config.items() if value is not None}, stream)
    return stream.getvalue()


def _cluster(config: Mapping[str, Any], trial: Mapping[str, Any], search: Mapping[str, Any]) -> dict[str, Any]:
    shared = ClusterConfig.model_validate(config.get("cluster") or {})
    section = cluster_section(_candidate(trial), shared, search.get("short_epochs", 1))
    return section.model_dump(mode="json", exclude_defaults=True) | {"clusters": trial["clusters"]}


def _quantize(config: Mapping[str, Any], trial: Mapping[str, Any], search: Mapping[str, Any]) -> dict[str, Any] | None:
    if trial["precision"] == "float32":
        return None
    given = (config.get("quantize") or {}).get("aware")
    shared = None if given is None else AwareConfig.model_validate(given)
    aware = aware_section(_candidate(trial), shared, search.get("short_epochs", 1))
    section: dict[str, Any] = {"precision": trial["precision"]}
    if trial["encoding"] != "dense":
        section["encoding"] = trial["encoding"]
    if aware is not None:
        section["aware"] = aware.model_dump(mode="json", exclude_none=True)
    return section


def _candidate(trial: Mapping[str, Any]) -> Candidate:
    return Candidate(**{field.name: trial[field.name] for field in fields(Candidate)})


def _table(trials: Sequence[Mapping[str, Any]], best: int, metric: str) -> Markup:
    numbers = (f"Validation {metric}", "Bytes", "Gzipped", "Arena", "µs")
    columns = [TableColumn("Candidate"), *(TableColumn(head, True) for head in numbers), TableColumn("Target")]
    rows: list[list[Content]] = []
    for trial in trials:
        if trial["state"] != "done":
            rows.append([candidate_name(trial), *[wording.ABSENT] * len(numbers), "failed"])
            continue
        missed = wording.listed([wording.words(name) for name in trial["missed"]])
        rows.append(
            [
                candidate_name(trial),
                wording.score(trial["min_score"]),
                wording.count(trial["max_model_bytes"]),
                wording.count(trial["max_gzip_bytes"]),
                wording.count(trial["max_arena_bytes"]),
                wording.figure(trial["max_latency_us"], 3),
                "met" if trial["met"] else f"missed: {missed}",
            ]
        )
    return table("Candidates, in the order they were tried", columns, rows, marked=best)

"""The section on tuning: the path of the penalty, the space, what failed, and what the card says of the network."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pipeline.model_card import render_model_card
from pipeline.report.html import render_report
from pipeline.report.plots_paths import coefficient_figures, space_figures
from pipeline.report.plots_tuning import tuning_figure, zeros_figure
from pipeline.report.record import RunRecord
from pipeline.tuning_path import MOST_PATHS, coefficient_paths
from tests.pipeline.report_records import full_record
from tests.pipeline.test_report import Page


def trial(number: int, kind: str, l1: float, score: float | None, **others: Any) -> dict[str, Any]:
    base = {"trial": number, "kind": kind, "l1": l1, "l2": 0.0, "score": score, "pruned_score": None, "seconds": 1.5}
    return base | {"state": "failed" if score is None else "done", "epochs": 9, "values": {}} | others


def weights(zeros: int, **values: float) -> dict[str, Any]:
    return {"count": 40, "zeros": zeros, "coefficients": {"what": "log_odds", "values": values}}


PATH = [
    trial(0, "none", 0.0, 0.90, weights=weights(0, a=2.0, b=-3.0, c=0.5)),
    trial(1, "l1", 0.1, 0.80, weights=weights(30, b=-0.5, a=0.0, c=0.0)),
    trial(2, "l1", 0.001, 0.92, weights=weights(10, b=-2.5, a=1.0, c=0.0)),
    trial(3, "l1", 0.01, None, cause="train: expected better, got worse."),
]


def tuned(**details: Any) -> RunRecord:
    whole = full_record()
    base = {"metric": "accuracy", "objective": "score", "oracle": "grid", "space": [], "coefficients": None}
    stages = tuple(replace(stage, details=base | details) if stage.name == "tune" else stage for stage in whole.stages)
    return replace(whole, stages=stages)


def test_paths_follow_the_heaviest_features() -> None:
    paths = coefficient_paths(PATH)
    assert paths == {
        "what": "log_odds",
        "names": ["b", "a", "c"],
        "values": {"0": [-3.0, 2.0, 0.5], "1": [-0.5, 0.0, 0.0], "2": [-2.5, 1.0, 0.0]},
    }
    many = {f"f{i}": float(i) for i in range(20)}
    found = coefficient_paths([trial(0, "none", 0.0, 0.9, weights=weights(0, **many))])
    assert found is not None
    assert found["names"] == [f"f{i}" for i in range(19, 19 - MOST_PATHS, -1)]
    assert (
        coefficient_paths([trial(0, "none", 0.0, 0.9, weights={"count": 4, "zeros": 0, "coefficients": None})]) is None
    )


def test_the_path_is_drawn_from_no_penalty_to_the_strongest() -> None:
    paths = coefficient_paths(PATH)
    assert paths is not None
    (figure,) = coefficient_figures(PATH, paths)
    assert figure.title == "The largest features under L1"
    traces = {trace["name"]: trace for trace in figure.data}
    assert traces["b"]["y"] == [-3.0, -2.5, -0.5]
    assert traces["a"]["y"] == [2.0, 1.0, 0.0]
    assert traces["a"]["x"][1:] == [0.001, 0.1]
    assert traces["a"]["x"][0] < 0.001
    ticks = figure.layout["xaxis"]
    assert dict(zip(ticks["tickvals"], ticks["ticktext"], strict=True))[traces["a"]["x"][0]] == "none"
    assert figure.alt == "Line plot of 3 features; not zero under the strongest penalty: b."


def test_one_trial_is_enough_and_none_draws_nothing() -> None:
    paths = coefficient_paths(PATH[:2])
    assert paths is not None
    (figure,) = coefficient_figures(PATH[:2], paths)
    assert [len(trace["x"]) for trace in figure.data] == [2, 2, 2]
    assert coefficient_figures(PATH[:1], paths) == []
    assert zeros_figure(PATH[:1], 0) is None


def test_sparsity_against_strength() -> None:
    figure = zeros_figure(PATH, 2)
    assert figure is not None
    traces = {trace["name"]: trace for trace in figure.data}
    assert traces["L1"]["y"] == [0.75, 0.25]
    assert traces["kept"]["y"] == [0.25]
    assert traces["trial 0, train’s own model"]["y"] == [0.0, 0.0]
    assert figure.alt == "Scatter plot: 25.0 % to 75.0 % of the weights are exactly zero."


def test_the_pruned_score_decides_what_is_drawn_and_said() -> None:
    trials = [each | {"pruned_score": None if each["score"] is None else each["score"] - 0.1} for each in PATH]
    figure = tuning_figure(trials, 2, "accuracy", "pruned_score")
    assert figure.layout["yaxis"]["title"]["text"] == "Validation accuracy, pruned at once"
    assert figure.data[0]["y"] == pytest.approx([0.7, 0.82])
    page = Page(render_report(tuned(trials=trials, best=2, objective="pruned_score")))
    assert (
        "Kept: trial 2, L1 (l1 0.001), validation score pruned at once 0.8200, +0.0200 against trial 0, train’s own "
        "model. Before pruning it scores 0.9200." in page.text
    )
    assert "Trial 3 failed: train: expected better, got worse." in page.text
    # Trial, penalty, l1, l2, zero weights, score, pruned score, state, seconds.
    assert page.table("Trials")[3] == ["2", "L1", "0.001", "0", "25.0 %", "0.9200", "0.8200", "done, kept", "1.5"]


SPACE = [
    trial(0, "none", 0.0, 0.90, values={"units": [8], "learning_rate": 0.002}),
    trial(1, "none", 0.0, 0.80, values={"units": [16, 4], "learning_rate": 0.01}, epochs=3, short=True),
    trial(2, "none", 0.0, 0.95, values={"units": [4], "learning_rate": 0.1}),
]


def test_each_key_of_the_space_is_drawn() -> None:
    rate, units = space_figures(SPACE, ["learning_rate", "units"], 2, "accuracy", "score")
    assert (rate.title, units.title) == ("Learning rate", "Units of the hidden layers")
    own, others, kept = rate.data
    assert (own["x"], others["x"], kept["x"]) == ([0.002], [0.01, 0.1], [0.1])
    assert others["marker"]["symbol"] == ["circle-open", "circle"]
    assert units.layout["xaxis"]["categoryarray"] == ["4", "8", "16-4"]
    assert units.note == "Hollow: Hyperband’s shorter trainings."
    assert space_figures(SPACE[:1], ["units"], 0, "accuracy", "score") == []


def test_the_kept_network_is_told_in_report_and_card() -> None:
    layers = [{"name": "dense_1", "type": "Dense", "output_shape": [4], "parameters": 260}]
    record = tuned(trials=SPACE, best=2, space=["learning_rate", "units"], network={"family": "mlp", "layers": layers})
    page = Page(render_report(record))
    assert "Tuning the training" in page.text
    assert "Kept: trial 2, no penalty, units 4, learning rate 0.1, validation score 0.9500" in page.text
    assert "The network of the kept trial" in page.text
    assert page.table("Trials")[2] == ["1", "none", "0", "0", "0.01", "16-4", "3", "0.8000", "done", "1.5"]
    figures = [figure["id"] for figure in page.figures]
    assert "tuning-learning-rate" in figures
    assert "tuning" not in figures  # no trial has a penalty of its own
    assert "Its network is not the config's own but that of trial 2 of" in render_model_card(record)
    assert "but that of trial" not in render_model_card(full_record())

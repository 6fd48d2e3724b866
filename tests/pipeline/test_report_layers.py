"""The report's section on layers: losses, probes, and the control, all equal to the record."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import plotly.graph_objects
import pytest

from pipeline.report.findings import dense_row, keras_rows
from pipeline.report.html import render_report
from pipeline.report.record import RunRecord, StageRecord
from tests.pipeline.report_records import full_record, history, ledger_row
from tests.pipeline.test_report import Page

LAYERS = ("input", "dense_1", "dense_2")


def probed(*scores: float) -> dict[str, Any]:
    layers = [
        {"layer": name, "features": features, "score": score}
        for name, features, score in zip(LAYERS, (64, 32, 16), scores, strict=True)
    ]
    return {"training_rows": 1257, "validation_rows": 270, "layers": layers}


def record(score: float = 0.95, pretraining: int = 11) -> RunRecord:
    """A full run in layers, its probes, and a control of this validation score."""
    whole = full_record()
    probes = [
        {"network": "untrained", **probed(0.91, 0.88, 0.8)},
        {"network": "pretrained", **probed(0.91, 0.93, 0.92)},
        {"network": "fine-tuned", **probed(0.91, 0.95, 0.96)},
    ]
    control = {
        "metric": "accuracy",
        "history": history(41, 2.3, 0.05, 0.4, score),
        "stopped_by": "epochs",
        "best_epoch": 40,
        "budget": {"epochs": 30 + pretraining, "fine_tuning": 30, "pretraining": pretraining},
        "score": score,
        "layer_wise_score": 0.9701,
        "probe": probed(0.91, 0.94, 0.93),
    }
    added = (
        StageRecord("probe", "e" * 64, 1.0, (), {"metric": "accuracy", "probes": probes}),
        StageRecord("control", "f" * 64, 2.0, (ledger_row("control", "keras", score),), control),
    )
    stages = list(whole.stages)
    place = [stage.name for stage in stages].index("train") + 1
    return replace(whole, stages=(*stages[:place], *added, *stages[place:]))


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(render_report(record()))


def figure(page: Page, name: str) -> dict[str, Any]:
    return next(each for each in page.figures if each["id"] == name)


def test_each_layer_s_loss_is_the_record_s(page: Page) -> None:
    traces = figure(page, "pretrain-loss")["data"]
    assert [trace["name"] for trace in traces] == ["dense_1", "dense_2"]
    assert traces[0]["y"] == [0.21, 0.12, 0.09, 0.075, 0.07, 0.068]
    rows = page.table("Pretraining, layer by layer")
    assert rows[0] == ["Layer", "Epochs", "Loss, first", "Loss, last", "Reconstruction R², best"]
    assert rows[1] == ["dense_1", "6", "0.2100", "0.0680", "–"]


def test_probes_are_drawn_layer_by_layer(page: Page) -> None:
    traces = figure(page, "probes")["data"]
    assert [trace["name"] for trace in traces] == ["untrained", "pretrained", "fine-tuned", "end to end"]
    assert all(trace["x"] == list(LAYERS) for trace in traces)
    assert traces[1]["y"] == [0.91, 0.93, 0.92]
    rows = page.table("Score of a linear probe")
    assert rows[0] == ["Layer", "Numbers", "Untrained", "Pretrained", "Fine-tuned", "End to end"]
    assert rows[2] == ["dense_1", "32", "0.8800", "0.9300", "0.9500", "0.9400"]
    assert "1,257 labeled training rows, scored on 270 validation rows" in page.text


def test_both_trainings_stand_side_by_side_over_one_budget(page: Page) -> None:
    drawn = figure(page, "control")
    fine, end = drawn["data"]
    assert (fine["x"][0], fine["x"][-1]) == (12, 41)  # pretraining cost 11 epochs end to end
    assert (end["x"][0], end["x"][-1]) == (1, 41)
    plotly.graph_objects.Figure(data=drawn["data"], layout=drawn["layout"])  # raises where it does not
    assert page.table("Both trainings")[1:] == [
        ["Layer-wise, then fine-tuned", "30", "26", "0.9701"],
        ["End to end", "41", "40", "0.9500"],
    ]
    assert "took 41 epochs on the labeled rows: 30 that fine-tuning may take" in page.text
    assert "(11 epochs end to end, by multiply-accumulates, rounded up)" in page.text


@pytest.mark.parametrize(
    ("score", "sentence"),
    [
        (0.95, "Layer-wise training is better on validation: accuracy 0.9701 against 0.9500 end to end (+0.0201)."),
        (0.99, "Training end to end is better on validation: accuracy 0.9900 against 0.9701 layer-wise (+0.0199)."),
        (0.9701, "On validation both have the same accuracy, 0.9701."),
    ],
)
def test_the_better_side_is_named(score: float, sentence: str) -> None:
    assert sentence in Page(render_report(record(score))).text


def test_the_control_is_in_the_ledger_and_not_on_the_way_to_the_model() -> None:
    made = record(0.99)
    assert "control" in [row.stage for row in made.ledger]
    assert "control" not in [row.stage for row in keras_rows(made)]
    dense = dense_row(made)
    assert dense is not None
    assert dense.stage == "tune"

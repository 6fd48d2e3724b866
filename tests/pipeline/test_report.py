"""The report: what it shows equals the record, it loads nothing, and no text of a user becomes markup."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import asdict, replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import plotly.graph_objects
import pytest
from PIL import Image

from pipeline.candidates import Candidate
from pipeline.ledger import LedgerRow
from pipeline.report import wording
from pipeline.report.cautions import compression_caution, smaller_variants, training_cautions
from pipeline.report.figures import Plots, decades, log_ticks, padded
from pipeline.report.findings import verdict
from pipeline.report.held_limit import held_limit
from pipeline.report.html import SHORT_TITLES, render_report
from pipeline.report.line_plots import line_plot
from pipeline.report.markup import TableColumn, table, tag
from pipeline.report.pictures import picture
from pipeline.report.plots_errors import errors_figure
from pipeline.report.plots_result import MAX_SCATTER_POINTS, ledger_figure, scatter_figure
from pipeline.report.plots_tuning import tuning_figure
from pipeline.report.pruning_words import zeros_report
from pipeline.report.record import RunRecord, StageRecord
from pipeline.report.section_training import learning_curves
from tests.pipeline.report_records import DIGIT, full_record, ledger_row, regression_record, trials

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """A parsed report: its elements in order, its tables cell by cell, its text outside scripts."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self._rows: list[list[str]] = []
        self._caption = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self._rows, self._caption = [], ""
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")
        elif tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"{tag} closes what it did not open"
        if tag == "table":
            self.tables[self._caption] = self._rows

    def handle_data(self, data: str) -> None:
        inside = self.open[-1] if self.open else ""
        if inside == "script":
            self.scripts[-1] += data
        elif inside != "style":
            self.texts.append(data)
        if "caption" in self.open:
            self._caption += data
        elif "td" in self.open or ("th" in self.open and "table" in self.open):
            self._rows[-1][-1] += data

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def all(self, name: str) -> list[dict[str, str]]:
        return [attributes for element, attributes in self.elements if element == name]

    def table(self, beginning: str) -> list[list[str]]:
        return next(rows for caption, rows in self.tables.items() if caption.startswith(beginning))

    @property
    def figures(self) -> list[dict[str, Any]]:
        return list(json.loads(self.scripts[0])) if self.scripts else []


@pytest.fixture(scope="module")
def full() -> Page:
    return Page(render_report(full_record()))


@pytest.fixture(scope="module")
def regression() -> Page:
    return Page(render_report(regression_record()))


def section_ids(page: Page) -> list[str]:
    return [attributes["id"] for attributes in page.all("section")]


def test_a_full_run_has_every_section_in_order(full: Page) -> None:
    absent = ("search", "bits", "baselines", "errors", "clusters")
    assert section_ids(full) == [name for name in SHORT_TITLES if name not in absent]
    assert [attributes["href"] for attributes in full.all("a")] == [f"#{name}" for name in section_ids(full)]


def test_stages_a_run_does_not_have_leave_their_section_out(regression: Page) -> None:
    assert section_ids(regression) == ["overview", "data", "training", "ledger", "result", "gate", "reproduce"]


@pytest.mark.parametrize("number", range(9))
def test_a_run_may_end_after_any_stage(number: int) -> None:
    whole = full_record()
    cut = replace(
        whole,
        stages=whole.stages[:number],
        summary=whole.summary if number == 8 else {},
        profile=whole.profile if number else {},
    )
    page = Page(render_report(cut))
    assert not page.open
    assert section_ids(page)[0] == "overview"
    assert ("Nothing was exported" in page.text) == (number < 8)
    if number == 0:
        assert page.figures == []  # and so plotly.js is not in the file


@pytest.mark.parametrize("record", [full_record(), regression_record(), full_record(failed_gate=True)])
def test_nothing_is_loaded_from_anywhere(record: RunRecord) -> None:
    text = render_report(record)
    page = Page(text)
    for element, attributes in page.elements:
        assert element not in ("link", "iframe", "object", "embed", "base")
        for key in ("src", "href", "srcset", "data", "action", "poster"):
            address = attributes.get(key, "#")
            assert address.startswith(("#", "data:image/png;base64,")), address
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert len(page.scripts) == 3  # the figures, plotly.js once, and what draws them
    assert sum(script.lstrip().startswith("/**\n* plotly.js v") for script in page.scripts) == 1


def test_the_file_is_plotly_and_little_more() -> None:
    text = render_report(full_record())
    library = max(Page(text).scripts, key=len)
    assert len(text) - len(library) < 100_000


def test_the_same_record_gives_the_same_bytes() -> None:
    assert render_report(full_record()).encode() == render_report(full_record()).encode()


def test_elements_are_well_formed_and_ids_unique(full: Page) -> None:
    assert not full.open
    ids = [attributes["id"] for _, attributes in full.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_every_picture_and_plot_has_a_text_and_every_heading_of_a_table_a_scope(full: Page, regression: Page) -> None:
    for page in (full, regression):
        plots = {a["id"].removeprefix("figure-"): a for a in page.all("div") if a.get("class") == "plot"}
        assert [figure["id"] for figure in page.figures] == list(plots)
        assert all(len(attributes["aria-label"]) > 20 for attributes in plots.values())
        assert all(attributes["alt"] for attributes in page.all("img"))
        assert {attributes.get("scope") for attributes in page.all("th")} == {"col", "row"}
        assert len(page.all("caption")) == len(page.all("table"))


def test_plotly_accepts_every_figure(full: Page, regression: Page) -> None:
    many = full_record()
    classes = [f"class {i}" for i in range(30)]
    matrix = np.eye(30, dtype=int).tolist()
    wide = with_export(many, classes=classes, confusion=matrix)
    for page in (full, regression, Page(render_report(wide))):
        for figure in page.figures:
            plotly.graph_objects.Figure(data=figure["data"], layout=figure["layout"])  # raises where it does not
    names = [figure["id"] for figure in full.figures]
    assert names == [
        "classes", "pretrain-loss", "train-loss", "train-score", "tuning", "tune-loss", "tune-score", "sparsity",
        "schedule", "prune-loss", "prune-score", "bytes-score",
    ]  # fmt: skip


def with_export(record: RunRecord, **changed: Any) -> RunRecord:
    """Returns the record with other details of the stage export."""
    stages = tuple(
        replace(stage, details={**stage.details, **changed}) if stage.name == "export" else stage
        for stage in record.stages
    )
    return replace(record, stages=stages)


# -------------------------------------------------------------------------------- figures equal the record


def test_the_head_says_what_came_out(full: Page, regression: Page) -> None:
    for figure in ("0.9741", "−0.0074 against the dense float model’s 0.9815", "5,896 bytes", "gzipped 3,204"):
        assert figure in full.text
    for figure in ("2,348 bytes", "99.6 %", "largest difference of an output 0.0124", "3.5 µs"):
        assert figure in full.text
    assert "Predict class, one of 10 classes, from digits, with an MLP." in full.text
    assert "not measured TFLite Micro has no such operator: EXAMPLE" in regression.text
    assert "±0 against the dense float model’s 0.7712" in regression.text
    assert "Predict rent from flats.csv, with an MLP." in regression.text


def test_the_ledger_is_the_record_s(full: Page) -> None:
    shown = full.table("The ledger")[1:]
    expected = [
        [
            row.stage,
            row.variant,
            f"{row.score:.4f}",
            f"{row.parameters:,}",
            f"{row.nonzero_parameters:,}",
            f"{row.macs:,}",
            f"{row.tflite_bytes:,}",
            f"{row.tflite_gzip_bytes:,}",
            f"{row.seconds:.1f}",
        ]
        for row in full_record().ledger
    ]
    assert shown == expected


def test_the_ledger_s_plot_leaves_untrained_models_out_and_says_so() -> None:
    figure = ledger_figure(full_record().ledger, "int8", "accuracy", ("build", "pretrain"))
    assert figure is not None
    markers = [trace for trace in figure.data if trace["mode"] == "markers"]
    assert [trace["name"] for trace in markers] == [
        "train · keras", "tune · keras", "prune · keras", "convert · float32", "convert · float16",
        "convert · dynamic_range", "convert · int8", "model.tflite",
    ]  # fmt: skip
    assert markers[2]["x"] == [13_212, 6_742]
    assert markers[2]["y"] == [0.9739, 0.9739]
    assert markers[-1]["x"] == [5_896]
    assert figure.layout["xaxis"]["type"] == "log"
    assert "build and pretrain" in figure.note


def test_no_two_models_of_the_ledger_s_plot_look_alike() -> None:
    rows = [ledger_row("train", f"model {number}", 0.9) for number in range(20)]
    figure = ledger_figure(rows, None, "accuracy", ())
    assert figure is not None
    marks = [(t["marker"]["color"], t["marker"]["symbol"][0]) for t in figure.data if t["mode"] == "markers"]
    assert len(set(marks)) == 20
    assert len({color for color, _ in marks}) == len({symbol for _, symbol in marks}) == 8


def test_log_axes_have_ticks_that_are_written_out() -> None:
    assert log_ticks(0.04, 3.0) == {
        "tickvals": [0.05, 0.1, 0.2, 0.5, 1.0, 2.0],
        "ticktext": ["0.05", "0.1", "0.2", "0.5", "1", "2"],
    }
    assert log_ticks(0.0004, 30.0)["ticktext"] == ["0.001", "0.01", "0.1", "1", "10"]
    assert log_ticks(1.1, 1.9) == {}
    figure = errors_figure([0.05, 0.1, 0.4], {"normal": [3, 1]}, 0.3)
    assert figure.layout["xaxis"]["ticktext"] == ["0.05", "0.1", "0.2", "0.5"]


def test_the_variants_have_both_scores(full: Page) -> None:
    rows = full.table("TFLite variants")
    assert rows[1] == ["float32", "13,212", "6,742", "–", "–", "–", "0.9739", "0.9778"]
    assert rows[4] == ["int8", "5,896", "3,204", "3,150", "2,348", "3.48", "0.9701", "0.9741"]
    assert "float16: TFLite Micro refused the model." in full.text


def test_the_confusion_matrix_is_the_record_s(full: Page) -> None:
    matrix = full_record().details("export")["confusion"]
    rows = full.table("Test rows by true and predicted class")
    assert [[int(cell) for cell in row[1:-1]] for row in rows[1:]] == matrix
    assert [row[-1] for row in rows[1:]][3] == "96.3 %"  # 26 of 27
    assert "8 taken for 3: 4 rows 3 taken for 8: 1 row" in full.text


def test_many_classes_become_a_heat_map() -> None:
    matrix = (np.eye(30, dtype=int) * 9).tolist()
    matrix[2][5] = 3
    page = Page(render_report(with_export(full_record(), classes=[f"c{i}" for i in range(30)], confusion=matrix)))
    heat = next(figure for figure in page.figures if figure["id"] == "confusion")["data"][0]
    assert heat["customdata"] == matrix
    assert heat["z"][2][5] == 0.25  # 3 of 12
    assert "c2 taken for c5: 3 rows" in page.text


def test_every_gate_is_shown_with_figure_limit_and_cause(full: Page) -> None:
    rows = full.table("Checks of the export gate")[1:]
    assert [row[0] for row in rows] == [
        "Built-in operators", "Pixel input", "Same outputs as Keras", "TFLite Micro", "Pruned zeros",
    ]  # fmt: skip
    assert rows[2] == [
        "Same outputs as Keras", "✓ passed", "0.0124", "0.05", "convert",
        "The largest difference is 0.0124, of at most 0.05.",
    ]  # fmt: skip
    failed = Page(render_report(full_record(failed_gate=True)))
    assert failed.table("Checks of the export gate")[4][1:5] == ["✗ failed", "5", "2", "convert"]
    assert "Gate check failed: TFLite Micro (caused by convert): expected at most 2 steps, got 5." in failed.text
    assert "Rejected by the gate 4 of 5 checks passed; failed: TFLite Micro (caused by convert)." in failed.text


def test_targets_are_shown_asked_and_got(full: Page, regression: Page) -> None:
    rows = full.table("Limits of the config’s target")
    assert rows[1:] == [
        ["Max score drop", "0.01", "0.0075", "✓ met"],
        ["Max model bytes", "12,000 bytes", "5,896 bytes", "✓ met"],
    ]
    assert "Target missed: min score: asked 0.8, got 0.7802." in regression.text


def test_limits_that_were_not_judged_are_listed() -> None:
    whole = full_record()
    page = Page(render_report(replace(whole, stages=whole.stages[:4], summary={})))
    assert "Not judged: the run did not reach the stage export." in page.text
    assert "Max model bytes: 12,000 bytes" in page.text


def test_the_data_profile_is_shown(full: Page, regression: Page) -> None:
    assert "1,797: 1,257 train, 270 validation, 270 test" in full.text
    balance = next(figure for figure in full.figures if figure["id"] == "classes")["data"]
    assert {trace["name"]: sum(trace["x"]) for trace in balance} == {"train": 1290, "validation": 259, "test": 265}
    columns = regression.table("Columns of the source, 2 of 3 are inputs")
    assert columns[1] == ["area", "numeric", "yes", "2", "180", "18", "240.5", "71.2", "28.4", "–"]
    assert columns[2][-1] == "north (120), south (90), west (56)"
    assert regression.table("1 column left out")[1] == ["listing_id", "an identifier: every value occurs once"]


def test_learning_curves_hold_every_epoch_and_ring_the_kept_one(full: Page) -> None:
    history = full_record().details("train")["history"]
    score = next(figure for figure in full.figures if figure["id"] == "train-score")["data"]
    assert score[0]["y"] == [record["score"] for record in history]
    assert (score[1]["x"], score[1]["y"]) == ([26], [history[25]["score"]])
    assert len(full.table("Learning curves, epoch by epoch")) == 31
    assert "30 epochs, stopped early by the rule train.stop.patience" in full.text


def test_workers_that_trained_together_are_told_of() -> None:
    details = full_record().details("train")
    assert "s of training by 3 workers." in str(learning_curves("train", "Curves", details, "accuracy", Plots(), 3))
    assert "workers" not in str(learning_curves("train", "Curves", details, "accuracy", Plots()))


def test_sparsity_and_schedule(full: Page) -> None:
    bars = next(figure for figure in full.figures if figure["id"] == "sparsity")
    assert bars["data"][0]["y"] == ["dense_1", "dense_2", "output"]
    assert bars["data"][0]["x"] == [1 - 980 / 2048, 1 - 290 / 512, 1 - 90 / 160]
    assert bars["layout"]["shapes"][0]["x0"] == 0.5
    steps = next(figure for figure in full.figures if figure["id"] == "schedule")["data"][0]
    assert steps["x"][-1] == 80
    assert steps["y"][-1] == 0.5
    assert full.table("Layers that were not pruned")[1] == ["flatten", "it has no weights"]
    assert full.table("Weights of the pruned layers")[1] == ["dense_1", "2,048", "980", "52.1 %"]


def test_tuning_shows_each_kind_trial_0_and_the_kept_trial() -> None:
    figure = tuning_figure(trials(), 3, "accuracy")
    traces = {trace["name"]: trace for trace in figure.data}
    assert list(traces) == ["L1", "L2", "elastic net", "kept", "trial 0, train’s own model"]
    assert traces["L1"]["x"] == [2.1e-6, 4.8e-4, 6.0e-5]
    assert traces["kept"]["y"] == [0.9776]
    assert traces["trial 0, train’s own model"]["y"] == [0.9701, 0.9701]
    low, high = figure.layout["xaxis"]["range"]
    assert 10**low < 2.1e-6
    assert 10**high > 8.0e-3
    assert sum(len(trace["x"]) for name, trace in traces.items() if name in ("L1", "L2", "elastic net")) == 8


def test_tuning_that_found_nothing_better_says_so() -> None:
    whole = full_record()
    stages = tuple(
        replace(stage, details={**stage.details, "trials": trials()[:1], "best": 0}) if stage.name == "tune" else stage
        for stage in whole.stages
    )
    page = Page(render_report(replace(whole, stages=stages)))
    assert "No trial did better: train’s own model, trial 0, was kept (validation score 0.9701)." in page.text
    picture_of = next(figure for figure in page.figures if figure["id"] == "tuning")
    assert [trace["name"] for trace in picture_of["data"]] == ["trial 0, train’s own model"]


def test_predicted_against_true_is_thinned_evenly() -> None:
    few = scatter_figure([1.0, 2.0], [1.5, 1.25], "rent", 2)
    assert (few.data[1]["x"], few.data[1]["y"]) == ([1.0, 2.0], [1.5, 1.25])
    assert (few.data[0]["x"], few.data[0]["y"]) == ([1.0, 2.0], [1.0, 2.0])
    values = [float(i) for i in range(5000)]
    many = scatter_figure(values, values, "rent", 15_000)
    assert many.data[1]["x"][:3] == [0.0, 3.0, 6.0]
    assert len(many.data[1]["x"]) <= MAX_SCATTER_POINTS
    assert few.note == "2 rows of the test split."
    assert many.note == "1,667, spread evenly, of the 15,000 rows of the test split."


def test_wrong_predictions_carry_their_pixels_or_features(full: Page, regression: Page) -> None:
    images = full.all("img")
    assert len(images) == 5
    stored = base64.b64decode(images[0]["src"].removeprefix("data:image/png;base64,"))
    assert np.asarray(Image.open(io.BytesIO(stored))).tolist() == DIGIT
    assert images[0]["alt"] == "Row 1554: true 8, predicted 3"
    assert "5 rows of the test split. Rows are counted in the source, from 1 on." in full.text
    few = with_export(full_record(), wrong=full_record().details("export")["wrong"][:2])
    assert "The 2 most confident of 5 wrong predictions on the test split." in Page(render_report(few)).text
    rows = regression.table("Largest errors, with their features")
    assert rows[0] == ["Row", "True", "Predicted", "Error", "area", "district"]
    assert rows[1] == ["32", "400", "450", "50", "52", "–"]


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        ([[[0, 128, 255]]], [[[0, 128, 255]]]),
        ([[[0.0], [1.0]]], [[0, 255]]),
        ([[[0.0], [255.0]]], [[0, 255]]),
    ],
)
def test_pictures_are_of_bytes_or_of_fractions(pixels: Any, expected: Any) -> None:
    source = re.search(r'base64,([^"]+)"', picture(pixels, "a picture").html)
    assert source is not None
    assert np.asarray(Image.open(io.BytesIO(base64.b64decode(source[1])))).tolist() == expected


def test_how_to_reproduce(full: Page) -> None:
    record = full_record()
    assert record.command in full.text
    assert record.summary["dataset_sha256"] in full.text
    assert [row[0] for row in full.table("Stages;")[1:]] == [stage.name for stage in record.stages]
    assert full.table("Stages;")[1][1:3] == [record.stages[0].key[:12], "0.4 s"]
    assert full.table("Versions")[1:] == [list(pair) for pair in sorted(record.versions.items())]
    assert " ".join(record.config_text.split()) in full.text


# ----------------------------------------------------------------------------------------- the verdict


@pytest.mark.parametrize(
    ("record", "kind", "headline"),
    [
        (full_record(), "good", "Verified, every target met"),
        (full_record(failed_gate=True), "bad", "Rejected by the gate"),
        (regression_record(), "warn", "Verified, but a target was missed"),
        (with_export(full_record(), targets=[]), "good", "Verified"),
        (replace(full_record(), stages=full_record().stages[:4], summary={}), "plain", "Nothing was exported"),
    ],
)
def test_the_verdict(record: RunRecord, kind: str, headline: str) -> None:
    judged = verdict(record)
    assert (judged.kind, judged.headline) == (kind, headline)
    assert headline in Page(render_report(record)).text


# ------------------------------------------------------------------------------ did zeros save anything


def pruned(**after: int) -> RunRecord:
    """Returns a run of 1,000 parameters, all but 600 of them pruned away, with the sizes given."""
    common = {"parameters": 1000, "macs": 900}
    before = ledger_row(
        "train", "keras", 0.9, nonzero_parameters=1000, tflite_bytes=9104, tflite_gzip_bytes=6870, **common
    )
    sizes = {"nonzero_parameters": 600, "tflite_bytes": 9104, "tflite_gzip_bytes": 4120} | after
    row: LedgerRow = ledger_row("prune", "keras", 0.9, **common, **sizes)
    layers = [{"name": "dense", "weights": 800, "nonzero": 400, "sparsity": 0.5}]
    stages = (
        StageRecord("train", "aa", 1.0, (before,), {}),
        StageRecord("prune", "bb", 1.0, (row,), {"parts": [{"unit": "weight", "layers": layers, "sparsity": 0.5}]}),
    )
    return replace(full_record(), stages=stages, summary={})


@pytest.mark.parametrize(
    ("after", "saved", "finding"),
    [
        ({}, False, "The float32 .tflite file stayed at 9,104 bytes (gzipped: 6,870 → 4,120)."),
        ({"tflite_gzip_bytes": 6870}, False, "The float32 .tflite file stayed at 9,104 bytes (gzipped: still 6,870)."),
        (
            {"tflite_bytes": 9200},
            False,
            "The float32 .tflite file did not shrink: it went from 9,104 to 9,200 bytes (gzipped: 6,870 → 4,120).",
        ),
        (
            {"tflite_bytes": 5000},
            True,
            "The float32 .tflite file shrank from 9,104 to 5,000 bytes (gzipped: 6,870 → 4,120).",
        ),
    ],
)
def test_it_says_whether_zeros_made_the_file_smaller(after: dict[str, int], saved: bool, finding: str) -> None:
    record = pruned(**after)
    zeros = zeros_report(record)
    assert zeros is not None
    assert zeros.saved is saved
    assert zeros.finding == f"Pruning set 50.0 % of the prunable weights (400 of 800) to zero. {finding}"
    text = Page(render_report(record)).text
    assert finding in text
    assert ("The zeros did not make the file smaller" in text) is not saved
    assert ("The zeros made the file smaller" in text) is saved
    assert ("900 multiply-accumulates of an inference are all still done" in text) is not saved


def test_without_pruning_or_without_zeros_nothing_is_said_of_them() -> None:
    assert zeros_report(regression_record()) is None
    assert zeros_report(pruned(nonzero_parameters=1000)) is None


# -------------------------------------------------------------------------------------------- escaping

EVIL = '</script><script>alert("1")</script><b>&amp;'


def test_no_text_of_a_user_becomes_markup() -> None:
    record = with_export(
        full_record(),
        classes=[EVIL, *(str(i) for i in range(1, 10))],
        wrong=[{**full_record().details("export")["wrong"][0], "true": EVIL, "predicted": EVIL}],
        gates=[{**full_record().details("export")["gates"][0], "message": EVIL}],
    )
    counts = {split: {EVIL: 5, "1": 7} for split in ("train", "validation", "test")}
    profile = {
        **regression_record().profile,
        "class_balance": counts,
        "target": {"name": EVIL},
        "warnings": [EVIL],
        "left_out": [{"name": EVIL, "reason": EVIL}],
        "source": {"source": EVIL},
    }
    config = record.config_text + f"# {EVIL}\n"
    record = replace(record, profile=profile, command=EVIL, versions={EVIL: EVIL}, config_text=config)
    text = render_report(record)
    page = Page(text)
    assert len(page.scripts) == 3
    assert 'alert("1")' not in "".join(page.scripts)  # in JSON its quotes are escaped
    assert page.all("b") == [{}] * len(page.all("b"))
    assert page.text.count(EVIL) >= 9
    assert page.table("1 column left out")[1] == [EVIL, EVIL]
    assert page.all("img")[0]["alt"] == f"Row 1554: true {EVIL}, predicted {EVIL}"
    # Plotly reads a little HTML itself, so what it is given is escaped once more.
    labels = next(figure for figure in page.figures if figure["id"] == "classes")["data"][0]["y"]
    assert labels[0] == '&lt;/script&gt;&lt;script&gt;alert("1")&lt;/script&gt;&lt;b&gt;&amp;amp;'


def test_scatter_titles_of_a_user_are_escaped_for_plotly() -> None:
    assert scatter_figure([0.0], [1.0], "<b>x", 1).layout["xaxis"]["title"]["text"] == "True &lt;b&gt;x"


def test_markup_escapes_text_and_attributes_once() -> None:
    assert tag("p", '<"&>', title='"<').html == '<p title="&quot;&lt;">&lt;&quot;&amp;&gt;</p>'
    assert tag("p", tag("b", "<")).html == "<p><b>&lt;</b></p>"
    shown = table("<c>", [TableColumn("<h>"), TableColumn("n", numeric=True)], [("<r>", "1")]).html
    assert "<c>" not in shown
    assert '<th scope="row" class="words">&lt;r&gt;</th><td class="number">1</td>' in shown


def test_figures_that_are_no_numbers_are_refused() -> None:
    plots = Plots()
    plots.place(scatter_figure([0.0, float("nan")], [1.0, 1.0], "rent", 2))
    with pytest.raises(ValueError, match="not JSON compliant"):
        plots.as_json()


# --------------------------------------------------------------------------------------------- wording


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "–"),
        (True, "yes"),
        (12_345, "12,345"),
        (-3, "−3"),
        (1930.0, "1,930"),
        (1101.5, "1,101.50"),
        (0.0124, "0.0124"),
        (-0.5, "−0.5"),
        (3.1e-6, "3.1 × 10⁻⁶"),
        ([1, 2.5], "1, 2.5"),
        ([], "none"),
        ({"a": 1}, "a: 1"),
        ("text", "text"),
    ],
)
def test_figures_are_written_for_people(value: Any, expected: str) -> None:
    assert wording.figure(value) == expected


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("max_model_bytes", 12_000, "12,000 bytes"),
        ("max_latency_us", 3.5, "3.5 µs"),
        ("max_score_drop", 0.01, "0.01"),
        ("max_arena_bytes", None, "–"),
    ],
)
def test_limits_carry_the_unit_of_their_name(name: str, value: Any, expected: str) -> None:
    assert wording.named_figure(name, value) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(0.04, "0.0 s"), (9.94, "9.9 s"), (12.4, "12 s"), (185.2, "3 min 05 s"), (None, "–")]
)
def test_durations(value: float | None, expected: str) -> None:
    assert wording.seconds(value) == expected


@pytest.mark.parametrize(("value", "expected"), [(0.01, "+0.0100"), (-0.0074, "−0.0074"), (0.00001, "±0")])
def test_differences_have_a_sign(value: float, expected: str) -> None:
    assert wording.signed(value) == expected


def test_axes_hold_all_values_and_never_collapse() -> None:
    low, high = decades([1000.0, 1000.0])
    assert 10**low < 1000 < 10**high
    assert padded([0.5, 0.5]) == [0.498, 0.502]
    assert padded([0.0, 1.0]) == [-0.1, 1.1]
    assert padded([]) == [0.0, 1.0]


def test_score_is_held_against_the_most_frequent_class(full: Page) -> None:
    # 138 rows of the 9 are the most frequent among the training rows; 27 of the 265 rows of the test split are a 9.
    told = f"Always answering 9, the most frequent class of the training rows, has an accuracy of {27 / 265:.4f}."
    assert told in full.text
    assert "no better than a guess" not in full.text
    whole = full_record()
    page = Page(render_report(replace(whole, summary={**whole.summary, "model_score": 27 / 265})))
    assert f"The model is no better than a guess that looks at nothing. {told}" in page.text


def test_errors_are_told_in_the_unit_of_the_target() -> None:
    scatter = {"true": [100.0, 200.0, 300.0], "predicted": [103.0, 196.0, 300.0]}
    page = Page(render_report(with_export(regression_record(), scatter=scatter)))
    # Errors of 3, 4 and 0: their mean is 7 / 3, and that of their squares 25 / 3.
    assert "the mean absolute error is 2.333 and the root mean squared error 2.887 (over 3 of 40 rows" in page.text


def test_source_is_told_without_what_was_left_out() -> None:
    assert wording.source({"source": "table", "file": "a.csv", "group": None}) == "table, file: a.csv"
    assert wording.source({}) == "–"


def test_a_model_no_better_than_a_guess_is_not_simply_verified() -> None:
    record = full_record()
    guess = record.profile["class_balance"] | {"train": {"0": 10, "1": 1}, "test": {"0": 99, "1": 1}}
    useless = replace(record, profile=record.profile | {"class_balance": guess})
    judged = verdict(useless)
    assert (judged.kind, judged.headline) == ("warn", "Verified, but no better than a guess")
    assert "The model is no better than a guess that looks at nothing." in render_report(useless)
    regression = regression_record()
    worse = replace(with_export(regression, targets=[]), summary=regression.summary | {"model_score": -0.01})
    assert verdict(worse).headline == "Verified, but no better than a guess"


def test_what_training_gives_reason_to_look_at() -> None:
    record = full_record()
    assert training_cautions(record) == []
    stages = {stage.name: stage for stage in record.stages}
    epochs = len(stages["train"].details["history"])
    train = replace(stages["train"], details=stages["train"].details | {"best_epoch": epochs, "stopped_by": "epochs"})
    matrix = [[2, 0, 1], [1, 0, 0], [0, 0, 3]]
    shown = {"confusion": matrix, "classes": ["cat", "dog", "owl"]}
    export = replace(stages["export"], details=stages["export"].details | shown)
    constant = "train: {optimizer: {schedule: constant}}\n"
    changed = replace(record, stages=(train, export), config_text=constant)
    assert len(training_cautions(replace(changed, config_text=constant.replace("constant", "cosine")))) == 1
    assert [told.split(":")[0] for told in training_cautions(changed)] == [
        f"The last of {epochs} epochs of training was the best",
        "dog was predicted for no row of the test split. Rows may be too few, or classes too uneven",
    ]


def test_a_score_that_compression_took_is_told_where_no_target_does() -> None:
    record = replace(full_record(), config_text="name: digits\n")
    assert compression_caution(record) is None
    prune = next(stage for stage in record.stages if stage.name == "prune")
    convert = next(stage for stage in record.stages if stage.name == "convert")
    worse = {
        "prune": replace(prune, ledger=(prune.ledger[0].model_copy(update={"score": 0.61}),)),
        "convert": replace(convert, ledger=tuple(row.model_copy(update={"score": 0.6}) for row in convert.ledger)),
    }
    changed = replace(record, stages=tuple(worse.get(stage.name, stage) for stage in record.stages))
    told = compression_caution(changed)
    assert told is not None
    assert told.startswith(
        "Compression took the validation accuracy from 0.9776 to 0.6000, most of it in prune (0.9776 to 0.6100)."
    )
    assert told in Page(render_report(changed)).text
    judged = replace(changed, config_text="target: {max_score_drop: 0.5}\n")
    assert compression_caution(judged) is None


def test_a_wrong_image_is_told_by_its_file() -> None:
    record = full_record()
    wrong = [item | {"name": "8/scan <1>.png"} for item in record.details("export")["wrong"]]
    page = render_report(with_export(record, wrong=wrong))
    assert "8/scan &lt;1&gt;.png" in page
    assert "Rows are counted in the source" not in page


def test_a_training_of_few_steps_is_told() -> None:
    record = full_record()
    epochs = len(record.details("train")["history"])
    short = replace(record, config_text="train: {batch_size: 64}\n", profile={**record.profile, "rows": {"train": 126}})
    [told] = [each for each in training_cautions(short) if "steps in all" in each]
    assert told.startswith(f"Training took {2 * epochs} steps in all ({epochs} epochs of 126 rows)")


def test_a_smaller_variant_that_scores_no_less_is_named() -> None:
    record = full_record()
    assert smaller_variants(record) is None
    variants = [dict(each) for each in record.details("convert")["variants"]]
    variants[0]["bytes"] = 2_572
    stages = tuple(
        replace(stage, details={**stage.details, "variants": variants}) if stage.name == "convert" else stage
        for stage in record.stages
    )
    told = smaller_variants(replace(record, stages=stages))
    assert told is not None
    assert told.startswith("int8 is not the smallest: float32 (2,572 bytes) scored no less on validation.")


def candidate(unit: str, sparsity: float, look: str, score: float, size: int, **changed: Any) -> dict[str, Any]:
    figures = {
        "min_score": score, "max_model_bytes": size, "max_gzip_bytes": size // 2, "max_arena_bytes": 2000,
        "max_latency_us": 3.0, "max_score_drop": 0.97 - score,
    }  # fmt: skip
    made = asdict(Candidate(unit, "local", sparsity, "int8", look))  # type: ignore[arg-type]  # plain words
    trial = made | {"state": "done"}
    return trial | {"met": True, "missed": []} | figures | changed


def test_the_search_is_drawn_with_a_config_for_every_point_of_the_front() -> None:
    trials = [
        candidate("none", 0.0, "full", 0.97, 5000),
        candidate("node", 0.5, "one_shot", 0.41, 3000, met=False, missed=["max_score_drop"]),
        candidate("node_and_weight", 0.5, "full", 0.965, 2500),
        {**candidate("node", 0.9, "full", 0.0, 0), "state": "failed", "met": False},
    ]
    details = {"trials": trials, "front": [2, 0], "best": 2, "met": True, "dense_score": 0.97, "chosen": "int8"}
    record = full_record()
    config = (
        f"{record.config_text}search: {{candidates: 30, unit: [node, node_and_weight], encoding: [dense, sparse]}}\n"
    )
    stages = (*record.stages, StageRecord("search", "aa", 1.0, (), details))
    record = replace(record, config_text=config, stages=stages)
    page = Page(render_report(record))
    asked = "30 candidates; pruning node, nodes and weights: 20.0 % to 90.0 %; precision int8; encoding dense, sparse"
    assert asked in page.text
    assert "Of 4 candidates: 50.0 % of the nodes, then half of the weights, local, int8, whole pruning" in page.text
    figure = next(figure for figure in page.figures if figure["id"] == "search")
    traces = {trace["name"]: trace for trace in figure["data"]}
    assert traces["the dense model"]["customdata"] == ["candidate-0"]
    assert traces["whole pruning"]["customdata"] == ["candidate-2"]
    assert (traces["front"]["x"], traces["front"]["y"]) == ([2500, 5000], [0.965, 0.97])
    rows = page.table("Candidates, in the order they were tried")
    assert rows[2][-1] == "missed: max score drop"
    assert rows[4][-1] == "failed"
    assert "weight_sparsity: 0.5" in page.text
    assert "The smallest that meets the target" in page.text


@pytest.mark.parametrize(
    ("met", "title"),
    [
        (True, "The smallest that meets the limits that the search held"),
        (False, "None meets the limits that the search held: the nearest"),
    ],
)
def test_a_search_without_a_score_in_its_target_tells_the_limit_it_held(met: bool, title: str) -> None:
    trials = [candidate("none", 0.0, "full", 0.97, 5000)]
    details = {"trials": trials, "front": [0], "best": 0, "met": met, "dense_score": 0.97, "chosen": "int8"}
    details |= {"metric": "accuracy", "held_drop": 0.01}
    record = with_export(full_record(), targets=[])
    stages = (*record.stages, StageRecord("search", "aa", 1.0, (), details))
    text = Page(render_report(replace(record, config_text="name: digits\nsearch: {}\n", stages=stages))).text
    assert title in text
    held = (
        "The config's target names no score, so the search held the validation accuracy to at most 0.01 below the "
        "dense float model's."
    )
    assert text.count(held) == 2
    assert "The config sets no limits." not in text
    assert held_limit({}) is None
    assert held_limit(details | {"held_drop": None}) is None


def test_windows_are_drawn_channel_by_channel() -> None:
    drawn = line_plot({"x": [0.0, 5.0, 10.0], "<b>": [2.0, 2.0]}, "a window").html
    assert 'aria-label="a window"' in drawn
    assert "<b>" not in drawn
    assert "x: 0 to 10" in drawn
    # 238 wide with a margin of 1; the least value at the bottom of its strip of 34 under a name of 11
    assert 'points="1.0,44.0 120.0,28.0 239.0,12.0"' in drawn
    assert 'points="1.0,77.0 239.0,77.0"' in drawn  # a channel that stays: in the middle of its strip


def test_series_show_windows_recordings_and_wrong_windows() -> None:
    record = full_record()
    series = {
        "window": 3,
        "stride": 2,
        "channels": ["x"],
        "num_recordings": 300,
        "recordings": [
            {"name": f"{number}.csv", "steps": 90, "train": 4, "validation": 0, "test": 0} for number in range(200)
        ],
        "examples": [{"name": "0.csv rows 1-3", "target": "walk", "values": {"x": [1.0, 2.0, 3.0]}}],
    }
    wrong = [{**record.details("export")["wrong"][0], "pixels": None, "series": {"x": [3.0, 1.0, 2.0]}}]
    profile = record.profile | {"input_kind": "series", "input_shape": [3, 1], "series": series}
    page = Page(render_report(with_export(replace(record, profile=profile), wrong=wrong)))
    assert "windows of 3 × 1, steps × channels" in page.text
    assert "Windows of 3 steps, one every 2 steps." in page.text
    assert "200 of 300 series" in page.text
    drawn = page.all("svg")
    assert [each["aria-label"] for each in drawn] == [
        "Window 0.csv rows 1-3, target walk",
        "Row 1554: true 8, predicted 3",
    ]
    rows = page.table("Series and the windows cut from them, the first 200 of 300")
    assert rows[1] == ["0.csv", "90", "4", "0", "0"]

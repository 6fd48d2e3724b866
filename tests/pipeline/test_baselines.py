"""Baselines: what a config may ask, how they are compared, and where the user is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from data.config import BuiltinData
from data.contract import ConfigError, PenjingError
from data.dataset import Dataset
from models.classical.fitting import answers, fit
from models.classical_config import BaselinesConfig, DecisionTreeConfig, LogisticRegressionConfig, baseline_config
from models.tasks import task_for
from pipeline.checkpoints import resumption
from pipeline.classical_artifacts import Baselines
from pipeline.classical_fit import fit_notes
from pipeline.classical_measure import measure_classical
from pipeline.comparison import compared
from pipeline.ledger import ClassicalRow
from pipeline.model_card import render_model_card
from pipeline.report.beaten import beaten_sentence
from pipeline.report.record import RunRecord, StageRecord
from pipeline.stages import baselines, ingest
from pipeline.stages.catalog import producer, stages_of
from pipeline.summary_parts import BaselineResult
from pipeline.terminal import bytes_note, ledger_table
from pipeline.workspace import Outcome
from tests.pipeline.export_chain import workspace_in
from tests.pipeline.report_records import full_record, ledger_row
from tests.pipeline.test_config import message_of, run_config
from tests.pipeline.test_report import Page, render_report

DIABETES = {"source": "builtin", "name": "diabetes"}


@pytest.fixture(scope="module")
def iris(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    workspace = workspace_in(tmp_path_factory.mktemp("ingest"))
    data = BuiltinData(source="builtin", name="iris")
    ingest.ingest(ingest.Inputs(), ingest.Config("classification", data), workspace)
    return Dataset.open(workspace.output)


@pytest.fixture(scope="module")
def fitted(iris: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Baselines, Outcome]:
    workspace = workspace_in(tmp_path_factory.mktemp("baselines"))
    asked = BaselinesConfig(models=("rbf_svm", "decision_tree"), max_rbf_rows=100)
    config = baselines.Config("classification", "balanced_accuracy", asked, {"setosa": 2.0})
    outcome = baselines.baselines(baselines.Inputs(iris), config, workspace)
    rows = tuple(row for row in outcome.ledger if isinstance(row, ClassicalRow))
    return Baselines(workspace.output, rows), outcome


# ---------------------------------------------------------------------------------- the stage


def test_each_baseline_is_a_row_of_the_ledger(iris: Dataset, fitted: tuple[Baselines, Outcome]) -> None:
    rows = {row.variant: row for row in fitted[0].rows}
    assert list(rows) == ["rbf_svm", "decision_tree"]
    task, validation = task_for("classification", None, "balanced_accuracy"), iris.split("validation")
    seed = workspace_seed("decision_tree")
    x, y = iris.inputs("train"), iris.split("train").y
    again = fit(baseline_config("decision_tree", 100, None), x, y, 3, (2.0, 1.0, 1.0), seed)
    row = rows["decision_tree"]
    assert row.score == task.score(validation.y, answers(again.estimator, iris.inputs("validation"), 3))
    assert (row.stage, row.macs, row.num_rows) == ("baselines", 0, len(x))
    splits = int((again.estimator.tree_.children_left >= 0).sum())
    leaves = len(np.unique(again.estimator.tree_.value[again.estimator.tree_.children_left < 0], axis=0))
    assert row.parameters == splits + 3 * leaves
    assert row.constant_bytes == 8 * again.estimator.tree_.node_count + 4 + 4 * 3 * leaves
    assert min(row.joblib_bytes, row.predict_us, row.seconds) > 0


def workspace_seed(name: str) -> int:
    from data.contract import derive_seed

    return derive_seed(1, "baselines", name)


def test_a_limit_of_rows_is_told(iris: Dataset, fitted: tuple[Baselines, Outcome]) -> None:
    assert len(iris.split("train")) == 105
    assert fitted[1].details == {
        "metric": "balanced_accuracy",
        "training_rows": 105,
        "models": [
            {"name": "rbf_svm", "num_rows": 100, "warnings": []},
            {"name": "decision_tree", "num_rows": 105, "warnings": []},
        ],
    }
    assert fitted[0].rows[0].num_rows == 100


def test_a_run_that_was_killed_goes_on_with_the_next_baseline(
    iris: Dataset, fitted: tuple[Baselines, Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = BaselinesConfig(models=("rbf_svm", "decision_tree"), max_rbf_rows=100)
    config = baselines.Config("classification", "balanced_accuracy", asked, {"setosa": 2.0})
    killed = workspace_in(tmp_path / "w")
    begun: list[str] = []

    def fit_or_die(settings: Any, *given: Any) -> Any:
        begun.append(settings.family)
        if begun == ["svm", "decision_tree"]:
            raise KeyboardInterrupt
        return fit(settings, *given)

    monkeypatch.setattr(baselines, "fit", fit_or_die)
    with pytest.raises(KeyboardInterrupt):
        baselines.baselines(baselines.Inputs(iris), config, killed)
    assert [path.name for path in killed.scratch.iterdir()] == ["baselines.checkpoint"]
    assert resumption(killed.scratch) == "decision_tree"
    again = replace(killed, output=tmp_path / "again")
    again.output.mkdir()
    outcome = baselines.baselines(baselines.Inputs(iris), config, again)
    assert begun == ["svm", "decision_tree", "decision_tree"]
    assert outcome.details == fitted[1].details
    for path in sorted(fitted[0].folder.rglob("*.*")):
        assert (again.output / path.relative_to(fitted[0].folder)).read_bytes() == path.read_bytes(), path
    same = ("variant", "score", "parameters", "macs", "constant_bytes", "num_rows")
    assert [[getattr(row, name) for name in same] for row in outcome.ledger] == [
        [getattr(row, name) for name in same] for row in fitted[0].rows
    ]


def test_no_pickle_is_kept(fitted: tuple[Baselines, Outcome]) -> None:
    files = sorted(path.name for path in (fitted[0].folder / "rbf_svm").iterdir())
    assert files == ["model.json", "model.npz", "record.json"]
    with np.load(fitted[0].folder / "rbf_svm" / "model.npz", allow_pickle=False) as arrays:
        assert sorted(arrays.files) == ["counts", "intercepts", "support", "weights"]


def test_a_class_weight_of_no_class_is_refused(iris: Dataset, tmp_path: Path) -> None:
    config = baselines.Config("classification", None, BaselinesConfig(), {"rose": 2.0})
    with pytest.raises(ConfigError, match=r"train\.class_weights: expected names among 'setosa', .* got 'rose'\."):
        baselines.baselines(baselines.Inputs(iris), config, workspace_in(tmp_path / "w"))


def test_arrays_that_answer_otherwise_stop_the_run(iris: Dataset) -> None:
    x, y = iris.inputs("train"), iris.split("train").y
    one = fit(LogisticRegressionConfig(family="logistic_regression"), x, y, 3, None, 1)
    other = fit(DecisionTreeConfig(family="decision_tree"), x, y, 3, None, 1)
    with pytest.raises(PenjingError, match=r"fit\.svm: expected plain arrays that answer as scikit-learn does, got an"):
        measure_classical("fit", "svm", replace(one, form=other.form), iris, task_for("classification"))


def test_the_better_ones_are_told_by_validation_alone(iris: Dataset, fitted: tuple[Baselines, Outcome]) -> None:
    found = fitted[0]
    task = task_for("classification", None, "balanced_accuracy")
    assert compared(None, iris, task, 0.5, 10) is None
    scores = [row.score for row in found.rows]
    told = compared(found, iris, task, min(scores), 4321)
    assert told is not None
    assert [each["beats"] for each in told] == [score > min(scores) for score in scores]
    for each in told:
        result = BaselineResult.model_validate(each)
        assert (result.delivered_score, result.delivered_bytes) == (min(scores), 4321)
        assert 0.5 < result.test_score <= 1.0
    assert not any(each["beats"] for each in compared(found, iris, task, 1.0, 10) or [])


# ------------------------------------------------------------------------------------- config


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"model": {"family": "ridge_regression"}},
            "model.family: expected 'logistic_regression' or another family with task: classification, "
            "got 'ridge_regression'. It is for regression.",
        ),
        (
            {"model": {"family": "logistic_regression"}, "task": "regression", "data": DIABETES},
            "model.family: expected 'ridge_regression' or another family with task: regression, "
            "got 'logistic_regression'. It is for classification.",
        ),
        (
            {"model": {"family": "svm", "epsilon": 0.3}},
            "model.epsilon: expected it with task: regression alone, got it with classification. Take the key out.",
        ),
        (
            {"model": {"family": "svm", "kernel": "linear", "gamma": 0.3}},
            "expected gamma with kernel: rbf alone, got it with linear. Nothing would read it: take it out.",
        ),
        (
            {"model": {"family": "random_forest", "class_weights": {}}},
            "model.class_weights: expected a weight for each class, got {}. Leave the key out for equal weights.",
        ),
        (
            {
                "model": {"family": "random_forest", "class_weights": "balanced"},
                "task": "regression",
                "data": DIABETES,
            },
            "model.class_weights: expected no class weights with task: regression, got some. Take the key out.",
        ),
        *(
            (
                {"model": {"family": "svm"}, section: given},
                f"{section}: expected no such section with model.family: svm, got one. It is for networks; svm is "
                "fitted by scikit-learn and written as plain C. Take the section out.",
            )
            for section, given in (
                ("train", {"epochs": 3}),
                ("tune", {}),
                ("prune", {}),
                ("cluster", {}),
                ("search", {}),
                ("quantize", {"precision": "int8"}),
                ("convert", {"variants": ["int8"]}),
            )
        ),
        (
            {"model": {"family": "decision_tree"}, "target": {"max_arena_bytes": 9000}},
            "target.max_arena_bytes: expected no such limit with model.family: decision_tree, got 9,000. Plain C needs "
            "no arena: take it out.",
        ),
        (
            {"model": {"family": "logistic_regression"}, "task": "clustering"},
            "model.family: expected a network with task: clustering, got 'logistic_regression'. Classical models learn "
            "from labels.",
        ),
        (
            {"task": "reconstruction", "baselines": {}},
            "baselines: expected no such section with task: reconstruction, got one. Baselines learn from labels: take",
        ),
        (
            {"baselines": {"models": ["random_forest", "ridge_regression"]}},
            "baselines.models.1: expected one of logistic_regression, linear_svm, rbf_svm, decision_tree, "
            "random_forest with task: classification, got 'ridge_regression'.",
        ),
        (
            {"baselines": {"models": ["rbf_svm", "rbf_svm"]}},
            "baselines.models.1: expected each once, got 'rbf_svm' again. Take it out.",
        ),
        (
            {"baselines": {"models": ["linear_svm"], "max_rbf_rows": 200}},
            "baselines.max_rbf_rows: expected it with rbf_svm among baselines.models alone, got 200 without it.",
        ),
    ],
)
def test_what_cannot_be_is_refused(sections: dict[str, Any], message: str) -> None:
    assert message in message_of(**sections)


def test_a_classical_family_has_stages_of_its_own() -> None:
    config = run_config(model={"family": "random_forest"}, baselines={})
    assert [(stage.name, stage.module.rpartition(".")[2]) for stage in stages_of(config)] == [
        ("ingest", "ingest"),
        ("fit", "fit"),
        ("baselines", "baselines"),
        ("export", "export_classical"),
    ]
    assert (producer("fitted", config), producer("baselines", config)) == ("fit", "baselines")
    assert producer("baselines", run_config()) is None
    assert "baselines" not in [stage.name for stage in stages_of(run_config())]


def test_baselines_learn_with_the_weights_of_the_runs_own_model() -> None:
    assert run_config(train={"class_weights": "balanced"}).class_weights == "balanced"
    assert run_config(model={"family": "svm", "class_weights": {"setosa": 3.0}}).class_weights == {"setosa": 3.0}
    assert baseline_config("linear_svm", 100, "balanced").family == "svm"


# ------------------------------------------------------------------------- what the user is told


def result(name: str, validation: float, delivered: float = 0.95) -> dict[str, Any]:
    return {
        "name": name,
        "validation_score": validation,
        "test_score": validation - 0.01,
        "joblib_bytes": 234_567,
        "constant_bytes": 30_000,
        "fit_seconds": 0.25,
        "predict_us": 4000.0,
        "num_rows": 1257,
        "delivered_score": delivered,
        "delivered_bytes": 9024,
        "beats": validation > delivered,
    }


def told(*results: dict[str, Any], **changed: Any) -> dict[str, Any]:
    return {"metric": "accuracy", "classical_family": None, "baselines": list(results), **changed}


def test_the_sentence_has_both_scores_and_sizes() -> None:
    assert beaten_sentence(told(result("decision_tree", 0.9), result("random_forest", 0.9815))) == (
        "A baseline beats the network: random forest has a validation accuracy of 0.9815 in 234,567 bytes of joblib, "
        "30,000 as constants in C; model.tflite has 0.9500 in 9,024 bytes."
    )
    both = beaten_sentence(told(result("rbf_svm", 0.96), result("random_forest", 0.9815), result("linear_svm", 0.97)))
    assert both is not None
    assert both.endswith(" So do linear SVM (0.9700) and RBF SVM (0.9600).")
    mine = beaten_sentence(told(result("rbf_svm", 0.96), classical_family="svm", model_file="model.c"))
    assert mine is not None
    assert mine.startswith("A baseline beats the model: RBF SVM has")
    assert "; model.c has 0.9500 in" in mine


def test_no_sentence_where_none_is_better() -> None:
    assert beaten_sentence({}) is None
    assert beaten_sentence(told()) is None
    assert beaten_sentence(told(result("random_forest", 0.95))) is None
    assert beaten_sentence({"metric": "accuracy", "baselines": None}) is None


def row(name: str, score: float) -> ClassicalRow:
    return ClassicalRow(
        stage="baselines",
        variant=name,
        score=score,
        parameters=7000,
        macs=0,
        joblib_bytes=234_567,
        constant_bytes=30_000,
        predict_us=4000.4,
        num_rows=1000,
        seconds=0.25,
    )


def record_with(*results: dict[str, Any]) -> RunRecord:
    record = full_record()
    rows = tuple(row(each["name"], each["validation_score"]) for each in results)
    models = [{"name": each["name"], "num_rows": 1000, "warnings": ["it is hot"]} for each in results]
    details = {"metric": "accuracy", "training_rows": 1257, "models": models}
    stage = StageRecord("baselines", "b" * 64, 2.0, rows, details)
    stages = (record.stages[0], stage, *record.stages[1:])
    return replace(record, stages=stages, summary={**record.summary, "baselines": list(results)})


def test_the_reports_first_line_says_that_a_baseline_is_better() -> None:
    record = record_with(result("random_forest", 0.9815))
    sentence = beaten_sentence(record.summary)
    assert sentence is not None
    page = Page(render_report(record))
    texts = [text.strip() for text in page.texts if text.strip()]
    body = texts[texts.index("digits") :]
    assert body[:2] == ["digits", sentence]
    lines = render_model_card(record).splitlines()
    assert (lines[0], lines[2]) == ("# digits", f"**{sentence}**")


def test_the_report_has_a_table_of_baselines_and_the_limit_of_rows() -> None:
    record = record_with(result("rbf_svm", 0.9))
    page = Page(render_report(record))
    assert beaten_sentence(record.summary) is None
    table = page.tables["Baselines, and the delivered model"]
    assert table[1] == ["RBF SVM", "0.9000", "0.8900", "234,567", "30,000", "0.25", "4,000.40", "1,000"]
    assert table[2][:5] == ["model.tflite", "0.9500", f"{record.summary['model_score']:.4f}", "–", "9,024"]
    text = " ".join(page.texts)
    assert "No baseline has a higher validation score than model.tflite." in text
    assert "RBF SVM was fitted on 1,000 of 1,257 training rows, drawn by class" in text
    assert "RBF SVM: scikit-learn says: it is hot" in text
    ledger = page.tables["The ledger; scores are those of the validation split"]
    assert ledger[1] == [
        "baselines", "rbf_svm", "0.9000", "7,000", "–", "0", "–", "–", "234,567", "30,000", "4,000.40", "0.25",
    ]  # fmt: skip


def test_the_report_tells_of_a_fit_on_fewer_rows_and_of_warnings() -> None:
    details = {"num_rows": 100, "training_rows": 1257, "warnings": ["lbfgs failed to converge"]}
    fit_stage = StageRecord("fit", "f" * 64, 2.0, (row("svm", 0.9).model_copy(update={"stage": "fit"}),), details)
    record = replace(full_record(), stages=(full_record().stages[0], fit_stage))
    text = " ".join(Page(render_report(record)).texts)
    assert "scikit-learn warned of the fit: lbfgs failed to converge" in text
    assert "The model was fitted on 100 of 1,257 training rows, drawn by class" in text


def test_a_limit_of_rows_and_a_warning_are_notes_of_the_run(iris: Dataset) -> None:
    x, y = iris.inputs("train"), iris.split("train").y
    fitted = fit(LogisticRegressionConfig(family="logistic_regression"), x[:100], y[:100], 3, None, 1)
    assert fit_notes("svm", fitted, 100, "model.max_rows") == []
    told = replace(fitted, warnings=("no end",))
    assert fit_notes("svm", told, 1050, "model.max_rows") == [
        "warning: svm: no end",
        "svm: fitted on 100 of 1,050 training rows (model.max_rows)",
    ]


def test_the_terminals_ledger_has_a_row_and_a_note() -> None:
    rows = [row("random_forest", 0.9815), ledger_row("train", "keras", 0.95)]
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    console.print(ledger_table(rows, "accuracy", console))
    lines = console.export_text().splitlines()
    assert lines[0].split()[-2:] == ["predict", "µs"]
    assert lines[1].split() == ["baselines", "random_forest", "0.9815", "7,000", "0", "234,567", "0.250", "4,000"]
    assert bytes_note(rows) == (
        "bytes of a Keras model are those of its float32 .tflite; bytes of a classical model are those of its joblib "
        "file, seconds those of its fit"
    )
    assert bytes_note(rows[1:]) == "bytes of a Keras model are those of its float32 .tflite"

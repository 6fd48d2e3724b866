"""Classical models: plain arrays against scikit-learn, C against both, row by row, and by hand."""

from __future__ import annotations

import io
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from data.contract import ConfigError, ConversionError, GateError
from models.classical.c_program import CProgram, compile_model, require_compiler
from models.classical.c_source import MAX_CONSTANT_BYTES, c_model, check_size, constant_bytes, constants
from models.classical.fitting import Fitted, answers, decisions, drawn_rows, fit, predict_us
from models.classical.forms import (
    LEAF,
    Form,
    KernelForm,
    LinearForm,
    TreesForm,
    evaluate,
    numbers_of,
    pack,
    pair_scores,
    rounded,
    unpack,
)
from models.classical_config import (
    BASELINES,
    DecisionTreeConfig,
    LogisticRegressionConfig,
    RandomForestConfig,
    SvmConfig,
    baseline_config,
)

CASES = [
    (data, name)
    for data, task in (("iris", "classification"), ("cancer", "classification"), ("diabetes", "regression"))
    for name in BASELINES[task]
]


def rows_of(data: str) -> tuple[np.ndarray, np.ndarray, int]:
    load, classes = {"iris": (load_iris, 3), "cancer": (load_breast_cancer, 2), "diabetes": (load_diabetes, 0)}[data]
    x, y = load(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))[:240]
    x, y = x[order], y[order]
    x = ((x - x.mean(axis=0)) / x.std(axis=0)).astype(np.float32)
    return x, y if classes else ((y - y.mean()) / y.std()).astype(np.float32), classes


def program_of(form: Form, folder: Path) -> CProgram:
    header, source = c_model(form, "svm")
    (folder / "model.h").write_text(header)
    (folder / "model.c").write_text(source)
    return compile_model(folder, folder, form.num_outputs)


@pytest.mark.parametrize(("data", "name"), CASES)
def test_arrays_and_c_answer_as_scikit_learn_row_by_row(data: str, name: Any, tmp_path: Path) -> None:
    x, y, classes = rows_of(data)
    fitted = fit(baseline_config(name, 10_000, None), x[:110], y[:110], classes, None, 7)
    assert (fitted.num_rows, fitted.warnings) == (110, ())
    expected = answers(fitted.estimator, x, classes)
    np.testing.assert_allclose(evaluate(fitted.form, x), expected, rtol=1e-9, atol=1e-9)
    outputs, microseconds = program_of(fitted.form, tmp_path).run(x, repeats=3)
    np.testing.assert_allclose(outputs, expected, rtol=2e-6, atol=2e-5)
    assert microseconds is not None
    assert microseconds > 0.0
    if classes:
        np.testing.assert_array_equal(outputs.argmax(axis=1), decisions(fitted.estimator, x))
        assert expected.shape == (len(x), classes)
    else:
        assert expected.shape == (len(x), 1)
    # The C decides trees exactly: thresholds are rounded so that float32 inputs go the same way.
    if name in ("decision_tree", "random_forest"):
        assert np.abs(outputs - expected).max() <= 5e-6


def test_the_same_rows_and_seed_give_the_same_numbers() -> None:
    x, y, classes = rows_of("iris")
    config = RandomForestConfig(family="random_forest", num_trees=5)
    one, two, other = (numbers_of(fit(config, x, y, classes, None, seed).form) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, two)
    assert one.shape != other.shape or (one != other).any()


def test_class_weights_are_scikit_learns() -> None:
    x, y, classes = rows_of("cancer")
    weights = tuple(len(y) / (2 * (y == code).sum()) for code in (0, 1))
    form = fit(LogisticRegressionConfig(family="logistic_regression", c=0.5), x, y, classes, weights, 1).form
    expected = LogisticRegression(C=0.5, class_weight="balanced", max_iter=1000).fit(x.astype(np.float64), y)
    assert isinstance(form, LinearForm)
    np.testing.assert_allclose(form.coefficients, expected.coef_, atol=1e-6)


def test_gamma_scale_is_one_over_features_times_variance() -> None:
    x, y, classes = rows_of("cancer")
    form = fit(SvmConfig(family="svm"), x, y, classes, None, 1).form
    assert isinstance(form, KernelForm)
    assert form.gamma == pytest.approx(1.0 / (x.shape[1] * x.astype(np.float64).var()))


def test_what_scikit_learn_warns_of_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y, classes = rows_of("iris")
    monkeypatch.setattr("models.classical.fitting._ITERATIONS", 1)
    fitted = fit(LogisticRegressionConfig(family="logistic_regression"), x, y, classes, None, 1)
    assert "failed to converge" in fitted.warnings[0]


# ------------------------------------------------------------------------------- by hand


def test_linear_answers_by_hand() -> None:
    x = np.array([[1.0, 2.0]], np.float32)
    one = np.array([[0.5, -1.0]]), np.array([0.25])  # z = 0.5 - 2 + 0.25 = -1.25
    p = 1.0 / (1.0 + np.exp(1.25))
    np.testing.assert_allclose(evaluate(LinearForm(*one, "sigmoid"), x), [[1.0 - p, p]])
    np.testing.assert_allclose(evaluate(LinearForm(*one, "opposites"), x), [[1.25, -1.25]])
    np.testing.assert_allclose(evaluate(LinearForm(*one, "values"), x), [[-1.25]])
    three = LinearForm(np.array([[0.0, 0.0], [np.log(2.0), 0.0], [0.0, 0.5 * np.log(5.0)]]), np.zeros(3), "softmax")
    np.testing.assert_allclose(evaluate(three, x), [[1 / 8, 2 / 8, 5 / 8]])
    assert (three.num_features, three.num_outputs, three.macs) == (2, 3, 6)


def test_kernel_answers_by_hand(tmp_path: Path) -> None:
    # Vectors 0 and 1, gamma 1, x = 0: similarities 1 and exp(-1); 2 * 1 - 3 * exp(-1) + 0.5.
    form = KernelForm(
        np.array([[0.0], [1.0]]), np.array([[2.0, -3.0]]), np.array([0.5]), 1.0, np.empty(0, np.int64), "opposites"
    )
    d = 2.5 - 3.0 * np.exp(-1.0)
    x = np.zeros((1, 1), np.float32)
    np.testing.assert_allclose(evaluate(form, x), [[-d, d]])
    np.testing.assert_allclose(program_of(form, tmp_path).run(x)[0], [[-d, d]], rtol=1e-6)


def test_votes_by_hand() -> None:
    # Each class has one vector at its own place, far from the others; at x = 0 only class 0's counts.
    form = KernelForm(
        support=np.array([[0.0], [50.0], [99.0]]),
        weights=np.array([[1.0, -7.0, -7.0], [-2.0, 7.0, -7.0]]),
        intercepts=np.array([0.5, 0.0, -0.25]),
        gamma=1.0,
        counts=np.array([1, 1, 1]),
        answer="votes",
    )
    x = np.zeros((1, 1), np.float32)
    # Pairs (0, 1): 1 + 0.5; (0, 2): -2; (1, 2): -0.25. Wins: one for class 0, none for 1, two for 2.
    np.testing.assert_allclose(pair_scores(form, x), [[1.5, -2.0, -0.25]])
    sums = np.array([1.5 - 2.0, -1.5 - 0.25, 2.0 + 0.25])
    np.testing.assert_allclose(evaluate(form, x), [[1, 0, 2] + sums / (3.0 * (np.abs(sums) + 1.0))])


def stump(threshold: float) -> TreesForm:
    """One question: input 1 <= threshold? Answers 10 and 20; then a tree that always answers 30."""
    return TreesForm(
        features=np.array([1, LEAF, LEAF, LEAF], np.int32),
        thresholds=np.array([threshold, 0.0, 0.0, 0.0], np.float32),
        nexts=np.array([2, 0, 1, 2], np.int32),
        roots=np.array([0, 3], np.int32),
        leaves=np.array([[10.0], [20.0], [30.0]]),
        num_features=2,
    )


def test_trees_answer_by_hand(tmp_path: Path) -> None:
    x = np.array([[9.0, 0.5], [9.0, 0.5000001], [-9.0, -1.0]], np.float32)
    expected = [[20.0], [25.0], [20.0]]
    np.testing.assert_array_equal(evaluate(stump(0.5), x), expected)
    np.testing.assert_array_equal(program_of(stump(0.5), tmp_path).run(x)[0], expected)
    assert stump(0.5).macs == 0


def test_an_input_on_the_threshold_goes_left_as_in_scikit_learn() -> None:
    # scikit-learn puts a threshold in float64 half-way between two float32 neighbours: rounded up, both would go left.
    low = np.float32(8.0)
    high = np.nextafter(low, np.float32(9.0))
    x = np.array([[low], [high]] * 10, np.float32)
    y = np.array([0, 1] * 10)
    fitted = fit(DecisionTreeConfig(family="decision_tree"), x, y, 2, None, 1)
    assert isinstance(fitted.form, TreesForm)
    assert fitted.form.thresholds[0] == low
    np.testing.assert_array_equal(evaluate(fitted.form, x), answers(fitted.estimator, x, 2))


# ---------------------------------------------------------------------------- sizes, limits


def test_bytes_of_constants_by_hand() -> None:
    linear = LinearForm(np.zeros((3, 4)), np.zeros(3), "softmax")
    assert constant_bytes(linear) == len(constants(linear)) == 4 * (12 + 3)
    # Four nodes of 8 bytes, two roots and three leaves of 4.
    assert constant_bytes(stump(0.5)) == 4 * 8 + 2 * 4 + 3 * 4
    assert list(numbers_of(stump(0.5))) == [0.5, 10.0, 20.0, 30.0]
    machine = KernelForm(np.zeros((5, 3)), np.zeros((2, 5)), np.zeros(3), 1.0, np.array([2, 2, 1]), "votes")
    assert constant_bytes(machine) == 4 * (15 + 10 + 3) + 2 * 3
    assert machine.macs == 25


def test_models_too_large_for_c_are_refused() -> None:
    large = KernelForm(np.zeros((2100, 500)), np.zeros((1, 2100)), np.zeros(1), 1.0, np.empty(0, np.int64), "opposites")
    assert constant_bytes(large) > MAX_CONSTANT_BYTES
    message = r"model\.svm: expected at most 4,194,304 bytes of constants in C, got 4,208,404\. Lower model\.c or model"
    with pytest.raises(ConversionError, match=message):
        check_size(large, "svm")
    with pytest.raises(ConversionError, match=r"Lower model\.num_trees or model\.max_depth"):
        c_model(large, "random_forest")
    many = KernelForm(np.zeros((65, 1)), np.zeros((64, 65)), np.zeros(2080), 1.0, np.ones(65, np.int64), "votes")
    with pytest.raises(
        ConversionError, match=r"expected at most 64 classes with kernel: rbf, got 65\. Take kernel: lin"
    ):
        check_size(many, "svm")
    nodes = 70_001
    deep = TreesForm(
        np.full(nodes, LEAF, np.int32),
        np.zeros(nodes, np.float32),
        np.zeros(nodes, np.int32),
        np.array([0], np.int32),
        np.zeros((1, 1)),
        1,
    )
    with pytest.raises(ConversionError, match=r"model\.decision_tree: expected at most 65,536 nodes a tree, .* 70,001"):
        check_size(deep, "decision_tree")


@pytest.mark.parametrize(
    ("form", "named"),
    [
        (KernelForm(np.zeros((2, 3)), np.ones((1, 2)), np.zeros(1), 1e300, np.empty(0, np.int64), "values"), "gamma"),
        (LinearForm(np.array([[1.0, np.nan]]), np.zeros(1), "values"), "coefficients"),
        (LinearForm(np.ones((1, 2)), np.array([-1e39]), "values"), "intercepts"),
    ],
)
def test_constants_beyond_float32_are_refused(form: Form, named: str) -> None:
    got = {"gamma": "1e+300", "coefficients": "nan", "intercepts": "-1e+39"}[named]
    message = (
        rf"model\.svm: expected constants that are finite numbers in float32, got {re.escape(got)} among its {named}"
    )
    with pytest.raises(ConversionError, match=message):
        c_model(form, "svm")


def test_limited_rows_keep_each_class_its_share() -> None:
    y = np.repeat([0, 1, 2], [900, 99, 1])
    drawn = drawn_rows(y, 3, 100, 5)
    assert len(drawn) == len(set(drawn)) == 100
    assert list(drawn) == sorted(drawn)
    np.testing.assert_array_equal(np.bincount(y[drawn]), [89, 10, 1])
    np.testing.assert_array_equal(drawn, drawn_rows(y, 3, 100, 5))
    assert (drawn != drawn_rows(y, 3, 100, 6)).any()
    with pytest.raises(
        ConfigError, match=r"model\.max_rows: expected a row of each of 101 classes at least, got 100\."
    ):
        drawn_rows(np.arange(200) % 101, 101, 100, 1)


def test_a_limited_machine_is_fitted_on_the_drawn_rows() -> None:
    x, y, classes = rows_of("cancer")
    fitted = fit(SvmConfig(family="svm", max_rows=100), x, y, classes, None, 5)
    assert fitted.num_rows == 100
    chosen = drawn_rows(y, classes, 100, 5)
    expected = SVC(break_ties=True).fit(x[chosen].astype(np.float64), y[chosen])
    np.testing.assert_allclose(
        answers(fitted.estimator, x, classes)[:, 1], expected.decision_function(x.astype(np.float64))
    )


def test_predict_is_timed_one_row_a_call() -> None:
    calls: list[int] = []

    class Estimator:
        def predict(self, rows: np.ndarray) -> None:
            calls.append(len(rows))

    assert predict_us(Estimator(), np.zeros((2, 3, 1), np.float32), 5) > 0.0
    assert calls == [1] * 5


# --------------------------------------------------------------------------- kept, compiled


def forms() -> Iterator[Form]:
    yield LinearForm(np.ones((2, 3)), np.zeros(2), "values")
    yield KernelForm(np.ones((2, 3)), np.ones((1, 2)), np.zeros(1), 0.25, np.empty(0, np.int64), "values")
    yield stump(0.25)


@pytest.mark.parametrize("form", list(forms()), ids=lambda form: type(form).__name__)
def test_a_form_survives_being_kept_without_a_pickle(form: Form) -> None:
    described, arrays = pack(rounded(form))
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    buffer.seek(0)
    with np.load(buffer, allow_pickle=False) as found:
        again = unpack(described, dict(found))
    x = np.random.default_rng(0).normal(size=(5, form.num_features)).astype(np.float32)
    np.testing.assert_array_equal(evaluate(again, x), evaluate(form, x))


def test_what_is_no_form_is_refused() -> None:
    with pytest.raises(ConversionError, match="expected the parts of a classical model, got none called 'support'"):
        unpack({"form": "kernel", "answer": "values", "gamma": 1.0}, {})
    with pytest.raises(ConversionError, match="expected a form linear, kernel or trees, got 'forest'"):
        unpack({"form": "forest"}, {})


def test_no_compiler_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    message = (
        r"gate\.plain C: expected a C compiler \(cc, gcc, clang\) on PATH, got none\. Install one: model\.c is hand"
    )
    with pytest.raises(GateError, match=message):
        require_compiler()


def test_source_that_does_not_compile_or_crashes_is_told(tmp_path: Path) -> None:
    form = LinearForm(np.ones((2, 3)), np.zeros(2), "values")
    program_of(form, tmp_path)
    source = (tmp_path / "model.c").read_text()
    (tmp_path / "model.c").write_text(source.replace("float sum = intercepts[k];", "float sum = intercept[k];"))
    with pytest.raises(GateError, match=r"gate\.plain C: expected .* to compile model\.c and model\.h, got: .*error"):
        compile_model(tmp_path, tmp_path, 2)
    crashing = source.replace("#include <math.h>", "#include <math.h>\n#include <stdlib.h>")
    (tmp_path / "model.c").write_text(crashing.replace("int penjing_decide", "/* */\nint penjing_decide"))
    (tmp_path / "model.c").write_text(
        crashing.replace("  for (int k = 0; k < 2; ++k) {", "  abort();\n  for (int k = 0; k < 2; ++k) {")
    )
    program = compile_model(tmp_path, tmp_path, 2)
    with pytest.raises(GateError, match=r"expected model\.c to answer 4 rows, got exit code -6 and 0 rows\."):
        program.run(np.zeros((4, 3), np.float32))


def test_compiler_without_room_is_no_fault_of_the_source(tmp_path, monkeypatch):
    compiler = tmp_path / "cc"
    compiler.write_text("#!/bin/sh\necho 'ld: final link failed: error: No space left on device' >&2; exit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "build").mkdir()
    with pytest.raises(GateError) as caught:
        compile_model(tmp_path, tmp_path / "build", 1)
    assert str(caught.value) == (
        f"gate.plain C: expected {compiler} to compile model.c and model.h, got: ld: final link failed: error: "
        "No space left on device. Make room for temporary files."
    )


def test_a_fit_tells_its_time() -> None:
    x, y, classes = rows_of("iris")
    fitted: Fitted = fit(DecisionTreeConfig(family="decision_tree", max_depth=1), x, y, classes, None, 1)
    assert 0.0 < fitted.seconds < 10.0
    assert isinstance(fitted.form, TreesForm)
    assert len(fitted.form.features) == 3

"""The gate of classical models: passes what is right, and names what is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from models.classical.c_program import compile_model
from models.classical.c_source import c_model
from models.classical.forms import KernelForm, LinearForm, TreesForm, evaluate, rounded
from pipeline.gate.plain_c import PlainC, run_plain_c_gate

X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
FORM = LinearForm(
    np.array([[1.0, -2.0, 0.5], [0.0, 1.0, 1.0], [-1.0, 0.3, 0.2]]), np.array([0.1, 0.0, -0.1]), "softmax"
)
NAMES = [
    "plain C",
    "finite outputs",
    "varying outputs",
    "same fit",
    "same outputs as scikit-learn",
    "same decisions as scikit-learn",
    "same outputs in NumPy",
    "golden vectors",
]


def given(folder: Path, form: LinearForm | KernelForm | TreesForm = FORM) -> PlainC:
    header, source = c_model(form, "svm")
    (folder / "model.h").write_text(header)
    (folder / "model.c").write_text(source)
    program = compile_model(folder, folder, form.num_outputs)
    outputs = evaluate(form, X)
    golden = X[:5], program.run(X[:5])[0]
    return PlainC(program, form, form, rounded(form), X, outputs, outputs.argmax(axis=1), golden)


def failures(plain: PlainC) -> dict[str, tuple[str, str]]:
    return {check.name: (check.stage, check.message) for check in run_plain_c_gate(plain).checks if not check.passed}


def test_a_right_model_passes_every_check(tmp_path: Path) -> None:
    report = run_plain_c_gate(given(tmp_path))
    assert [check.name for check in report.checks] == NAMES
    assert report.passed
    assert report.agreement == 1.0
    assert 0.0 < report.max_abs_error < 1e-6
    assert report.outputs.shape == (40, 3)


def test_numbers_have_no_decisions(tmp_path: Path) -> None:
    form = LinearForm(np.array([[1.0, 2.0, 3.0]]), np.array([0.5]), "values")
    report = run_plain_c_gate(replace(given(tmp_path, form), decided=None))
    assert [check.name for check in report.checks] == [name for name in NAMES if "decisions" not in name]
    assert report.agreement is None


def test_another_answer_than_scikit_learns_is_named(tmp_path: Path) -> None:
    plain = given(tmp_path)
    reference = plain.reference.copy()
    reference[3, 1] += 2e-4
    found = failures(replace(plain, reference=reference))
    assert found == {
        "same outputs as scikit-learn": (
            "fit",
            "model.c answers otherwise by up to 0.0002, more than 0.0001. Please report it.",
        )
    }


def test_another_decision_without_a_tie_is_named(tmp_path: Path) -> None:
    plain = given(tmp_path)
    assert plain.decided is not None
    decided = plain.decided.copy()
    decided[:2] = (decided[:2] + 1) % 3
    (told,) = failures(replace(plain, decided=decided)).values()
    assert told[1].endswith(
        "on 38 of 40 rows of the test split. 2 rows are decided otherwise without a tie. Please report it."
    )


def test_a_near_tie_may_fall_either_way_and_is_told(tmp_path: Path) -> None:
    plain = given(tmp_path)
    assert plain.decided is not None
    reference, decided = plain.reference.copy(), plain.decided.copy()
    best, second = np.argsort(-reference[0])[:2]
    middle = reference[0, [best, second]].mean()
    reference[0, [best, second]] = middle
    decided[0] = second
    report = run_plain_c_gate(replace(plain, reference=reference, decided=decided))
    check = next(check for check in report.checks if "decisions" in check.name)
    assert check.passed
    assert check.message.endswith("The other 1 are near ties: the two largest outputs are within 0.0002.")
    assert report.agreement == 39 / 40


def test_a_vote_that_hangs_on_the_last_digits_is_left_out_and_told(tmp_path: Path) -> None:
    tie = float(np.exp(-0.5 * np.square(X[0].astype(np.float64)).sum()))
    form = KernelForm(
        support=np.array([[0.0, 0.0, 0.0], [5.0, 5.0, 5.0], [-5.0, -5.0, -5.0]]),
        weights=np.array([[1.0, -1.0, -1.0], [1.0, 1.0, -1.0]]),
        intercepts=np.array([-tie, 0.2, 0.1]),
        gamma=0.5,
        counts=np.array([1, 1, 1]),
        answer="votes",
    )
    plain = given(tmp_path, form)
    reference = plain.reference.copy()
    reference[0] += [1.0, -1.0, 0.0]
    report = run_plain_c_gate(replace(plain, reference=reference))
    check = next(check for check in report.checks if check.name == "same outputs as scikit-learn")
    assert check.passed
    assert "1 rows are left out: the vote of a pair of classes is a near tie in them." in check.message


def test_another_fit_other_numbers_kept_and_other_golden_vectors_are_named(tmp_path: Path) -> None:
    plain = given(tmp_path)
    changed = LinearForm(FORM.coefficients * 1.01, FORM.intercepts, "softmax")
    golden = plain.golden[0], plain.golden[1] + np.float32(1e-6)
    found = failures(replace(plain, again=changed, kept=changed, golden=golden))
    assert list(found) == ["same fit", "same outputs in NumPy", "golden vectors"]
    assert found["same fit"][1].startswith("Fitted again, scikit-learn's model has other numbers")
    assert found["golden vectors"] == ("export", "5 of 5 golden vectors do not replay. Please report it.")


def test_constant_and_infinite_answers_are_named(tmp_path: Path) -> None:
    form = LinearForm(np.zeros((2, 3)), np.array([1.0, 2.0]), "values")
    assert failures(given(tmp_path, form))["varying outputs"][1].startswith("All rows of the test split get the same")
    huge = LinearForm(np.full((2, 3), 3e38), np.zeros(2), "values")
    plain = given(tmp_path, huge)
    found = failures(plain)
    assert found["finite outputs"][0] == "fit"
    assert found["finite outputs"][1].endswith("rows have an output that is no finite number.")

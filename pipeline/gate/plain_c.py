"""The gate of a classical model: its C source against scikit-learn, row by row, and against NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.classical.c_program import CProgram
from models.classical.forms import Form, KernelForm, evaluate, numbers_of, pair_scores
from pipeline.gate.records import Check

TOLERANCE = 1e-4
"""By how much an output of the C source may differ from scikit-learn's, relative to the largest output, or 1: float32
against float64, sums of thousands of terms included."""


@dataclass(frozen=True)
class PlainC:
    """What the gate is given.

    Attributes:
        program: the compiled source.
        form: the model as the stage `fit` kept it, float64.
        again: the same, fitted again.
        kept: as the bundle's own model.npz gives it.
        x: (rows, ...) float32, the test split.
        reference: (rows, outputs) that scikit-learn answers to it.
        decided: (rows,) class codes that scikit-learn's `predict` gives; None for numbers.
        golden: (inputs from the bundle's raw rows, outputs expected of them), as they were written.
    """

    program: CProgram
    form: Form
    again: Form
    kept: Form
    x: NDArray[np.float32]
    reference: NDArray[np.float64]
    decided: NDArray[Any] | None
    golden: tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True)
class PlainCReport:
    """What the gate found.

    Attributes:
        checks: each check made, in order.
        outputs: (rows, outputs) float32 of the C source on the test split.
        agreement: fraction of rows decided as scikit-learn does; None for numbers.
        max_abs_error: largest difference of an output from scikit-learn's, near ties of pairs left out.
    """

    checks: tuple[Check, ...]
    outputs: NDArray[np.float32]
    agreement: float | None
    max_abs_error: float

    @property
    def passed(self) -> bool:
        """Whether the model may be handed over."""
        return all(check.passed for check in self.checks)


def run_plain_c_gate(given: PlainC) -> PlainCReport:
    """Judges a classical model's C source.

    Raises:
        GateError: the compiled source crashed, or answered too little.
    """
    outputs, _ = given.program.run(given.x)
    flat = given.x.reshape(len(given.x), -1)
    tied = _pair_ties(given.form, flat)
    error = _largest(outputs, given.reference, tied)
    limit = TOLERANCE * max(1.0, float(np.abs(given.reference).max()))
    agreement, decisions = _decisions(given, outputs, tied, limit)
    checks = (
        Check("plain C", True, given.program.compiler, "compiles", "export", "model.c compiles without a warning."),
        _finite(outputs),
        _varying(outputs),
        _fitted_again(given),
        _near("same outputs as scikit-learn", error, limit, "fit", int(tied.sum())),
        *decisions,
        _near("same outputs in NumPy", _largest(outputs, evaluate(given.kept, flat), tied), limit, "export", 0),
        _golden(given),
    )
    return PlainCReport(checks, outputs, agreement, error)


def _pair_ties(form: Form, x: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Rows in which the vote of some pair of classes hangs on the last digits: a vote more or less is no error then."""
    if not isinstance(form, KernelForm) or form.answer != "votes":
        return np.zeros(len(x), bool)
    d = np.abs(pair_scores(form, x))
    tied: NDArray[np.bool_] = np.any(d <= TOLERANCE * max(1.0, float(d.max())), axis=1)
    return tied


def _largest(a: NDArray[Any], b: NDArray[Any], left_out: NDArray[np.bool_]) -> float:
    differences = np.abs(a.astype(np.float64) - b)[~left_out]
    return float(differences.max()) if differences.size else 0.0


def _near(name: str, error: float, limit: float, stage: str, ties: int) -> Check:
    passed = error <= limit
    message = "The largest difference of an output on the test split."
    if ties:
        message += f" {ties:,d} rows are left out: the vote of a pair of classes is a near tie in them."
    if not passed:
        message = f"model.c answers otherwise by up to {error:.3g}, more than {limit:.3g}. Please report it."
    return Check(name, passed, error, limit, stage, message)


def _finite(outputs: NDArray[np.float32]) -> Check:
    bad = int((~np.isfinite(outputs)).any(axis=1).sum())
    message = "Every output is a number." if bad == 0 else f"{bad:,d} rows have an output that is no finite number."
    return Check("finite outputs", bad == 0, bad, 0, "fit", message)


def _varying(outputs: NDArray[np.float32]) -> Check:
    varies = len(outputs) < 2 or bool((outputs != outputs[0]).any())
    message = (
        "Not all rows get the same answer."
        if varies
        else "All rows of the test split get the same answer. The data may say nothing of the target, or the model is "
        "too simple: look at the data, or weaken its limits."
    )
    return Check("varying outputs", varies, "varying" if varies else "constant", "varying", "fit", message)


def _fitted_again(given: PlainC) -> Check:
    one, other = numbers_of(given.form), numbers_of(given.again)
    same = one.shape == other.shape and bool((one == other).all())
    message = (
        "Fitted again, scikit-learn's model has the same numbers, bit for bit: those below are held against it."
        if same
        else "Fitted again, scikit-learn's model has other numbers: another kind of machine fitted it. Run with "
        "--force fit."
    )
    return Check("same fit", same, "same" if same else "different", "same", "fit", message)


def _decisions(
    given: PlainC, outputs: NDArray[np.float32], tied: NDArray[np.bool_], limit: float
) -> tuple[float | None, tuple[Check, ...]]:
    if given.decided is None:
        return None, ()
    same = outputs.argmax(axis=1) == given.decided
    ranked = np.sort(given.reference, axis=1)
    near = tied | (ranked[:, -1] - ranked[:, -2] <= 2.0 * limit)
    wrong, excused = int((~same & ~near).sum()), int((~same & near).sum())
    message = (
        f"model.c decides as scikit-learn's predict on {int(same.sum()):,d} of {len(same):,d} rows of the test split."
    )
    if excused:
        message += f" The other {excused:,d} are near ties: the two largest outputs are within {2.0 * limit:.3g}."
    if wrong:
        message += f" {wrong:,d} rows are decided otherwise without a tie. Please report it."
    return float(same.mean()), (Check("same decisions as scikit-learn", wrong == 0, wrong, 0, "fit", message),)


def _golden(given: PlainC) -> Check:
    inputs, expected = given.golden
    outputs, _ = given.program.run(inputs)
    different = int((outputs != expected).any(axis=1).sum())
    message = (
        f"{len(expected):,d} golden vectors replay bit for bit, from the raw row by preprocessing.json on."
        if different == 0
        else f"{different:,d} of {len(expected):,d} golden vectors do not replay. Please report it."
    )
    return Check("golden vectors", different == 0, different, 0, "export", message)

"""Gate checks that compare answers: LiteRT with Keras, XNNPACK with LiteRT, golden vectors with a replay.

The limits are stated here and argued, with the measurements behind them, in docs/runtimes.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.tasks import Task
from models.tflite.interpreter import LiteRT
from models.tflite.micro import MicroFailure, run_micro
from pipeline.gate import abnormal
from pipeline.gate.records import TFLITE_MICRO, Answers, Check, GateInputs, Golden

FLOAT_ERROR = 1e-4
"""Absolute error of float arithmetic in another order, for outputs up to 1; larger outputs in proportion."""


@dataclass(frozen=True)
class Tolerance:
    """How far a precision may be from the Keras model it was made from.

    Attributes:
        error: mean over rows of the largest error of a row's probabilities.
        clear_margin: rows whose top two Keras probabilities are further apart than this are clear.
        clear_agreement: least fraction of the clear rows that must be decided alike.
    """

    error: float
    clear_margin: float
    clear_agreement: float


CLASSIFICATION = {
    "float32": Tolerance(error=FLOAT_ERROR, clear_margin=2 * FLOAT_ERROR, clear_agreement=1.0),
    "float16": Tolerance(error=0.003, clear_margin=0.02, clear_agreement=0.99),
    "dynamic_range": Tolerance(error=0.025, clear_margin=0.1, clear_agreement=0.99),
    "int16x8": Tolerance(error=0.02, clear_margin=0.05, clear_agreement=0.99),
    "int8": Tolerance(error=0.05, clear_margin=0.3, clear_agreement=0.99),
    "int4": Tolerance(error=0.15, clear_margin=0.6, clear_agreement=0.99),
}
CONSTANT_FRACTION = 0.5
"""No precision may be further from Keras than this fraction of what one constant answer to all rows would be."""

UNDECIDED_QUANTILE = 0.9
"""Where Keras is clear about no row, decisions are judged on the rows above this quantile of its top-two gap."""

UNDECIDED_AGREEMENT = 0.9
"""Least fraction of those rows that must be decided alike: their gaps are small, and so flips are nearer."""

REGRESSION_ERROR = {
    "float32": FLOAT_ERROR,
    "float16": 0.003,
    "dynamic_range": 0.05,
    "int16x8": 0.12,
    "int8": 0.15,
    "int4": 0.35,
}


def answer(model: bytes, x: NDArray[np.float32]) -> Answers:
    """Runs the held-out rows in LiteRT without default delegates.

    Args:
        model: bytes of a .tflite file.
        x: (rows, *input_shape) float32.

    Raises:
        ConversionError: LiteRT cannot run the file.
    """
    runtime = LiteRT(model)
    quantized = runtime.quantize(x)
    outputs = runtime.invoke(quantized)
    return Answers(runtime, quantized, outputs, runtime.dequantize(outputs))


def check_finite(inputs: GateInputs, answers: Answers) -> Check:
    """Neither Keras nor LiteRT answers NaN or infinity."""
    keras_bad = int((~np.isfinite(inputs.keras_outputs)).any(axis=-1).sum())
    bad = int((~np.isfinite(answers.values)).any(axis=-1).sum())
    who = "the Keras model" if keras_bad else "LiteRT"
    return Check(
        name="finite outputs",
        passed=keras_bad == 0 and bad == 0,
        figure=float(max(keras_bad, bad)),
        limit=0.0,
        stage=inputs.source_stage if keras_bad else "convert",
        message=f"All outputs of {len(answers.values)} rows are finite."
        if keras_bad == bad == 0
        else f"expected finite outputs, got NaN or infinity from {who} in {max(keras_bad, bad)} rows. "
        f"Lower the learning rate, or look at the preprocessing.",
    )


def check_varying(inputs: GateInputs, answers: Answers) -> Check:
    """The file does not answer the same to every row, unless Keras does (to within two steps of the output)."""
    constant = bool((answers.outputs == answers.outputs[:1]).all())
    spread = float(np.ptp(inputs.keras_outputs, axis=0).max())
    resolution = max(2 * answers.runtime.output.scale, FLOAT_ERROR)
    passed = not constant or not spread > resolution
    return Check(
        name="varying outputs",
        passed=passed,
        figure="the same for all rows" if constant else "vary",
        limit="vary where Keras' do",
        stage="convert",
        message=f"expected outputs that vary as Keras' do (by {spread:.3g}), got one output for all "
        f"{len(answers.outputs)} rows. Look at the calibration rows."
        if not passed
        else "Outputs vary with the row."
        if not constant
        else "Keras' outputs do not vary over these rows either.",
    )


def check_error(inputs: GateInputs, answers: Answers) -> Check:
    """LiteRT's outputs are near Keras'.

    float32: the largest error, relative to the output where that is above 1. Classification: the
    mean over rows of the largest error of a row. Regression: root mean squared error. These two must
    also be half of what a constant answer would have, or less: where Keras' own outputs hardly vary
    (many classes, a weak model), any other network's would be near them too. Reconstruction: root mean squared error,
    in standard deviations of Keras' outputs about their means, which says the same of them; over the rows that Keras
    calls normal, because others leave the ranges that integers were given for normal rows, and of them the decision
    alone counts.
    """
    keras = inputs.keras_outputs.astype(np.float64)
    error = np.abs(answers.values - keras)
    if inputs.precision != "float32" and inputs.thresholds is not None:
        normal = abnormal.called_normal(inputs, inputs.thresholds)
        keras, error = keras[normal], error[normal]
    if inputs.precision == "float32":
        figure, limit = float((error / np.maximum(1.0, np.abs(keras))).max()), FLOAT_ERROR
        what = "largest error"
    else:
        figure, limit, what = _of_precision(inputs, keras, error, answers.runtime.output.scale)
    passed = bool(figure <= limit)
    return Check(
        name="same outputs as Keras",
        passed=passed,
        figure=figure,
        limit=limit,
        stage="convert",
        message=f"The {what} is {figure:.3g}, of at most {limit:.3g}, over {len(error)} rows."
        if passed
        else f"expected a {what} of at most {limit:.3g} for {inputs.precision!r}, got {figure:.3g}. "
        f"Calibrate on more rows, or choose another precision.",
    )


def _of_precision(
    inputs: GateInputs, keras: NDArray[np.float64], error: NDArray[np.float64], scale: float
) -> tuple[float, float, str]:
    """Returns the error of a rounded file, its limit, and what it is called; see `check_error`."""
    figure, constant = _typical(error, inputs.task), _typical(np.abs(keras - keras.mean(axis=0)), inputs.task)
    least = max(2 * scale, FLOAT_ERROR)
    if inputs.task.name == "reconstruction":
        return figure, max(REGRESSION_ERROR[inputs.precision] * constant, least), "root mean squared error"
    if inputs.task.name == "regression":
        limit, what = (
            REGRESSION_ERROR[inputs.precision],
            "root mean squared error, in standard deviations of the target,",
        )
    else:
        limit, what = CLASSIFICATION[inputs.precision].error, "mean error of a row's most wrong probability"
    return figure, min(limit, max(CONSTANT_FRACTION * constant, least)), what


def _typical(error: NDArray[np.float64], task: Task) -> float:
    """Of probabilities the mean over rows of a row's largest error; else the root mean square."""
    return float(error.max(axis=-1).mean() if task.chooses else np.sqrt(np.mean(error**2)))


def agreement(inputs: GateInputs, answers: Answers) -> float | None:
    """Fraction of all rows that LiteRT and Keras decide alike; None where nothing is decided."""
    if inputs.thresholds is not None:
        return abnormal.agreement(inputs, answers, inputs.thresholds)
    if not inputs.task.chooses:
        return None
    return float(np.mean(inputs.task.decide(answers.values) == inputs.task.decide(inputs.keras_outputs)))


def check_decisions(inputs: GateInputs, answers: Answers) -> Check | None:
    """LiteRT decides clear rows as Keras does; rows that Keras itself is undecided on may go either way.

    Where Keras is clear about no row at all, the tenth that it is clearest about must mostly be decided alike.
    """
    if inputs.thresholds is not None:
        return abnormal.check_decisions(inputs, answers, inputs.thresholds)
    if not inputs.task.chooses:
        return None
    tolerance = CLASSIFICATION[inputs.precision]
    gap = top_two_gap(inputs.keras_outputs)
    margin, limit = tolerance.clear_margin, tolerance.clear_agreement
    if not (gap > margin).any():
        margin, limit = float(np.quantile(gap, UNDECIDED_QUANTILE, method="lower")), UNDECIDED_AGREEMENT
    clear = gap >= margin
    alike = inputs.task.decide(answers.values) == inputs.task.decide(inputs.keras_outputs)
    figure = float(alike[clear].mean())
    passed = figure >= limit
    rows = f"{int(clear.sum())} of {len(clear)} rows whose top two probabilities are {margin:.3g} or more apart"
    return Check(
        name="same decisions as Keras",
        passed=passed,
        figure=figure,
        limit=limit,
        stage="convert",
        message=f"{figure:.4f} of the {rows} are decided alike."
        if passed
        else f"expected {limit:g} of the {rows} to be decided alike, got {figure:.4f}. "
        f"Calibrate on more rows, or choose another precision.",
    )


def xnnpack_difference(inputs: GateInputs, answers: Answers) -> float:
    """Largest difference that LiteRT's default delegate makes, in steps (float models: in output units)."""
    outputs = LiteRT(inputs.runnable, default_delegates=True).invoke(answers.quantized)
    return float(np.abs(outputs.astype(np.float64) - answers.outputs.astype(np.float64)).max())


def check_xnnpack(answers: Answers, difference: float) -> Check:
    """Says what XNNPACK does differently; never fails, for it is a choice of the runtime, not of the model."""
    unit = " steps" if answers.runtime.output.quantized else ""
    return Check(
        name="XNNPACK",
        passed=True,
        figure=difference,
        limit="reported only",
        stage="convert",
        message=f"With XNNPACK outputs differ by up to {difference:.3g}{unit}.",
    )


def check_golden(model: bytes, golden: Golden, timeout_seconds: float, unpacked: bytes | None = None) -> Check:
    """The stored golden vectors come out again, bit for bit, in the runtime that gave them.

    Args:
        model: bytes of the .tflite file.
        golden: the vectors as they were written.
        timeout_seconds: how long TFLite Micro may take.
        unpacked: of an encoded file, the plain one that LiteRT runs.

    Raises:
        ConversionError: LiteRT cannot run the file.
    """
    runtime = LiteRT(model if unpacked is None else unpacked)
    outputs: NDArray[Any] | None
    if golden.quantized.dtype != runtime.input.dtype or golden.quantized.shape[1:] != runtime.input.shape[1:]:
        wrong = f"inputs of {golden.quantized.dtype} {golden.quantized.shape[1:]}, which the model does not eat"
    elif not np.array_equal(runtime.quantize(golden.inputs), golden.quantized):
        wrong = "quantized inputs that are not the raw ones quantized"
    else:
        result = run_micro(model, golden.quantized, timeout_seconds) if golden.runtime == TFLITE_MICRO else None
        if isinstance(result, MicroFailure):
            outputs, wrong = None, result.reason
        else:
            outputs = runtime.invoke(golden.quantized) if result is None else result.outputs
            wrong = _replay_difference(golden, outputs)
    rows = len(golden.quantized)
    return Check(
        name="golden vectors",
        passed=wrong == "",
        figure="replayed" if wrong == "" else wrong,
        limit="bit for bit",
        stage="export",
        message=f"{rows} golden vectors replay in {golden.runtime}."
        if wrong == ""
        else f"expected {rows} golden vectors to replay bit for bit in {golden.runtime}, got {wrong}. Export again.",
    )


def _replay_difference(golden: Golden, outputs: NDArray[Any]) -> str:
    if outputs.dtype != golden.outputs.dtype or outputs.shape != golden.outputs.shape:
        return f"outputs of {outputs.dtype} {outputs.shape} for {golden.outputs.dtype} {golden.outputs.shape}"
    rows = int((outputs != golden.outputs).reshape(len(outputs), -1).any(axis=1).sum())
    return "" if rows == 0 else f"other outputs in {rows} rows"


def top_two_gap(outputs: NDArray[Any]) -> NDArray[np.float64]:
    """(rows,) difference between the two largest outputs of each row."""
    ranked = np.sort(outputs.astype(np.float64), axis=-1)
    gap: NDArray[np.float64] = ranked[:, -1] - ranked[:, -2]
    return gap

"""Gate check that compares TFLite Micro with LiteRT: how far apart two sound integer runtimes may be.

docs/runtimes.md argues the limits, with the measurements behind them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.tflite.audit import final_softmax_scale
from models.tflite.micro import MicroFailure, MicroResult, run_micro
from models.tflite.operator_agreement import compare_operators
from pipeline.gate.answers import FLOAT_ERROR, top_two_gap
from pipeline.gate.records import Answers, Check, GateInputs

MICRO_STEPS = 2
"""Steps of an 8-bit output that TFLite Micro may be away from LiteRT without default delegates; of a 16-bit output, 256
times as many, which is as far."""

STEEP_ROWS = 0.05
"""Largest fraction of the rows that may be further apart than that, as far as logits one step apart explain it."""

OPERATOR_STEPS = 1
"""Steps that an operator of TFLite Micro may be from LiteRT's, given the same integers: one rounding of a sum."""

ROUNDED_ROWS, ROUNDED_FLIPS = 0.25, 0.01
"""Where every operator keeps that: largest fractions of the rows that may end beyond the limit, and be decided
otherwise, because roundings add up."""

FURTHEST_CHOICE, FURTHEST_NUMBER = 16, 3
"""How many times the limit a row may then be off, where one of several outputs is chosen and where numbers are
answered; only rows whose two top outputs are that near may be decided otherwise."""


def run(inputs: GateInputs, answers: Answers) -> MicroResult | MicroFailure:
    """Runs some rows through TFLite Micro."""
    return run_micro(inputs.model, answers.quantized[_rows(inputs)], inputs.micro_timeout_seconds)


def difference(inputs: GateInputs, answers: Answers, outputs: NDArray[Any]) -> float:
    """Largest difference from LiteRT: in steps; in a float model, relative to outputs above 1."""
    return float(_differences(inputs, answers, outputs).max())


def check_micro(inputs: GateInputs, answers: Answers, result: MicroResult | MicroFailure) -> Check:
    """TFLite Micro answers as LiteRT without default delegates does.

    Within 2 steps; a few rows as far as a softmax takes logits that are one step apart; and with the same decision
    unless the two top outputs are so near. Where it is further off, each operator is looked at alone: given the same
    integers it must be within one step. A model that it refuses is reported; a crash fails.

    Of the many outputs of a reconstruction it is their error that counts: all this is then asked of the root mean
    square over a row's outputs. With D, 2 steps in the unit of the output, an error e = mean (x - f)² moves by no more
    than 2 D sqrt(e) + D² (Cauchy-Schwarz): only so near to the threshold can a row be called otherwise.
    """
    quantized = answers.runtime.output.quantized
    limit = _limit(answers.outputs.dtype) if quantized else FLOAT_ERROR
    if isinstance(result, MicroFailure):
        message = (
            f"{result.reason}. The model is for LiteRT only."
            if result.refused
            else f"expected TFLite Micro to run or to refuse the model, got: {result.reason}. Do not ship it."
        )
        return Check("TFLite Micro", result.refused, "not run", limit, "convert", message)
    apart = _differences(inputs, answers, result.outputs)
    averaged = quantized and inputs.task.name == "reconstruction"
    if averaged:
        apart = np.sqrt(np.mean(np.square(apart), axis=-1, keepdims=True))
    allowed = limit + (_of_one_logit_step(inputs, answers) if quantized else np.zeros_like(apart))
    most = limit * (FURTHEST_CHOICE if inputs.task.chooses else FURTHEST_NUMBER)
    seen = _Seen(
        furthest=float(apart.max()),
        most=most,
        rows=len(apart),
        beyond=int((apart > limit).any(axis=-1).sum()),
        unexplained=int((apart > allowed).any(axis=-1).sum()),
        undue_flips=_undue_flips(inputs, answers, result.outputs, allowed),
        flips=int(_flipped(inputs, answers, result.outputs).sum()),
        wide_flips=_undue_flips(inputs, answers, result.outputs, np.full((len(apart), 1), most)),
        chooses=inputs.task.chooses,
        limit=f"{limit:g}{' steps' if quantized else ''}",
        arena=f"arena {result.arena_bytes} bytes, measured on this host.",
        averaged=averaged,
    )
    passed = seen.unexplained == 0 and seen.undue_flips == 0 and seen.beyond <= STEEP_ROWS * seen.rows
    message = seen.as_passed()
    if not passed:
        passed, message = _by_operator(inputs, answers, result, seen) if quantized else (False, seen.as_failed(""))
    return Check("TFLite Micro", passed, seen.furthest, limit, "convert", message)


@dataclass(frozen=True)
class _Seen:
    """How far TFLite Micro's answers are from LiteRT's, in rows, and how it is told."""

    furthest: float
    most: float
    rows: int
    beyond: int
    unexplained: int
    undue_flips: int
    flips: int
    wide_flips: int
    chooses: bool
    limit: str
    arena: str
    averaged: bool

    def as_passed(self) -> str:
        steep = (
            f"; {self.beyond} of them beyond {self.limit}, where the softmax is steep: no further than logits one step "
            "apart explain"
            if self.beyond
            else ""
        )
        decided = "" if self.averaged else f", {self.undue_flips} of them decided otherwise without a near tie"
        return f"{self._told()}{decided}{steep}; {self.arena}"

    def as_rounded(self, worst: int) -> str:
        decided = f" and {self.flips} decided otherwise, all in near ties" if self.chooses else ""
        return (
            f"{self._told()}, {self.beyond} of them beyond {self.limit}{decided}: roundings that add up, since given "
            f"the same integers no operator is more than {worst} step from LiteRT's; {self.arena}"
        )

    def as_unsound(self) -> str | None:
        """Says what is too much even where every operator is sound; None where nothing is."""
        if self.beyond > ROUNDED_ROWS * self.rows or self.furthest > self.most:
            return f"too many rows are far off (at most {ROUNDED_ROWS:.0%}, by at most {self.most:g} steps)"
        if self.flips > ROUNDED_FLIPS * self.rows or self.wide_flips:
            return f"{self.flips} rows are decided otherwise, {self.wide_flips} of them without a near tie"
        return None

    def as_failed(self, operators: str) -> str:
        return (
            f"expected at most {self.limit} and no row decided otherwise, got {self._told()}, {self.undue_flips} of "
            f"them decided otherwise without a near tie; {self.beyond} rows beyond the limit (of at most "
            f"{int(STEEP_ROWS * self.rows)}), {self.unexplained} further than logits one step apart "
            f"explain{operators}. Use relu or relu6, where roundings are not amplified, or another precision."
        )

    def _told(self) -> str:
        unit = " steps" if self.limit.endswith(" steps") else ""
        whose = " (root mean square over a row's outputs)" if self.averaged else ""
        return f"{self.furthest:.3g}{unit} from LiteRT over {self.rows} rows{whose}"


def _by_operator(inputs: GateInputs, answers: Answers, result: MicroResult, seen: _Seen) -> tuple[bool, str]:
    """Looks at each operator alone where the ends of the network are further apart than they should be.

    LiteRT rounds a sum that lies between two integers upwards, TFLite Micro away from zero. What is steep (a sigmoid,
    tanh, elu) makes several steps of that one, layer after layer; every kernel is sound all the same.
    """
    found = compare_operators(inputs.runnable, answers.quantized[_rows(inputs)], inputs.micro_timeout_seconds)
    if isinstance(found, MicroFailure):
        return False, seen.as_failed(f" (its operators could not be compared one by one: {found.reason})")
    if not np.array_equal(found.outputs, result.outputs):
        return False, seen.as_failed("; asked again, TFLite Micro gave other answers")
    worst = max(found.operators, key=lambda each: each.steps)
    if worst.steps > OPERATOR_STEPS:
        told = f"; given the same integers, operator {worst.position} ({worst.name}) is {worst.steps} steps off"
        return False, seen.as_failed(told)
    unsound = seen.as_unsound()
    if unsound is not None:
        return False, seen.as_failed(f"; each operator is within a step, but {unsound}")
    return True, seen.as_rounded(worst.steps)


def _rows(inputs: GateInputs) -> NDArray[np.int64]:
    """Positions of the rows that TFLite Micro runs: evenly spaced, from the first to the last."""
    return np.linspace(0, len(inputs.x) - 1, min(inputs.micro_rows, len(inputs.x))).astype(np.int64)


def _differences(inputs: GateInputs, answers: Answers, outputs: NDArray[Any]) -> NDArray[np.float64]:
    """(rows, outputs) differences from LiteRT, as `difference`."""
    reference = answers.outputs[_rows(inputs)].astype(np.float64)
    apart = np.abs(outputs.astype(np.float64) - reference)
    return apart if answers.runtime.output.quantized else apart / np.maximum(1.0, np.abs(reference))


def _limit(output: np.dtype[Any]) -> float:
    return float(MICRO_STEPS * 256 ** (output.itemsize - 1))


def _of_one_logit_step(inputs: GateInputs, answers: Answers) -> NDArray[np.float64]:
    """How far apart, in steps, outputs may be if every logit is at most one step from LiteRT's, which is one rounding.

    A probability p is p / (p + rest) of exponentials. With its own logit a step s up and all others a step down it is
    p / (p + (1 - p) exp(-2s)), the other way round p / (p + (1 - p) exp(2s)); nothing within a step goes further.

    Returns:
        (rows, outputs); zeros where the outputs are no softmax of integers.
    """
    reference = answers.outputs[_rows(inputs)]
    step = final_softmax_scale(inputs.runnable)
    if step is None:
        return np.zeros(reference.shape)
    p = np.clip(answers.runtime.dequantize(reference).astype(np.float64), 0.0, 1.0)
    bounds = [p / (p + (1.0 - p) * np.exp(direction * 2.0 * step)) for direction in (-1.0, 1.0)]
    furthest = np.maximum(*(np.abs(bound - p) for bound in bounds))
    return np.asarray(furthest / answers.runtime.output.scale)


def _undue_flips(inputs: GateInputs, answers: Answers, outputs: NDArray[Any], allowed: NDArray[np.float64]) -> int:
    """Rows decided otherwise although the two top outputs are further apart than each may move."""
    if not inputs.task.chooses:
        return 0
    near = top_two_gap(answers.outputs[_rows(inputs)]) <= allowed.max(axis=-1)
    return int((_flipped(inputs, answers, outputs) & ~near).sum())


def _flipped(inputs: GateInputs, answers: Answers, outputs: NDArray[Any]) -> NDArray[np.bool_]:
    """(rows,) whether a row is decided otherwise than by LiteRT; never, where nothing is chosen from."""
    if not inputs.task.chooses:
        return np.zeros(len(outputs), np.bool_)
    reference = answers.outputs[_rows(inputs)]
    return np.asarray(inputs.task.decide(outputs) != inputs.task.decide(reference))

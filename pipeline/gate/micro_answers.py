"""Gate check that compares TFLite Micro with LiteRT: how far apart two sound integer runtimes may be.

docs/runtimes.md argues the limits, with the measurements behind them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.tflite.audit import final_softmax_scale
from models.tflite.micro import MicroFailure, MicroResult, run_micro
from pipeline.gate.answers import FLOAT_ERROR, top_two_gap
from pipeline.gate.records import Answers, Check, GateInputs

MICRO_STEPS = 2
"""Steps of an 8-bit output that TFLite Micro may be away from LiteRT without default delegates; of a 16-bit output, 256
times as many, which is as far."""

STEEP_ROWS = 0.05
"""Largest fraction of the rows that may be further apart than that, as far as logits one step apart explain it."""


def run(inputs: GateInputs, answers: Answers) -> MicroResult | MicroFailure:
    """Runs some rows through TFLite Micro."""
    return run_micro(inputs.model, answers.quantized[_rows(inputs)], inputs.micro_timeout_seconds)


def difference(inputs: GateInputs, answers: Answers, outputs: NDArray[Any]) -> float:
    """Largest difference from LiteRT: in steps; in a float model, relative to outputs above 1."""
    return float(_differences(inputs, answers, outputs).max())


def check_micro(inputs: GateInputs, answers: Answers, result: MicroResult | MicroFailure) -> Check:
    """TFLite Micro answers as LiteRT without default delegates does.

    Within 2 steps; a few rows as far as a softmax takes logits that are one step apart; and with the same decision
    unless the two top outputs are so near. A model that it refuses is reported; a crash fails.
    """
    quantized = answers.runtime.output.quantized
    limit = _limit(answers.outputs.dtype) if quantized else FLOAT_ERROR
    if isinstance(result, MicroFailure):
        return Check(
            name="TFLite Micro",
            passed=result.refused,
            figure="not run",
            limit=limit,
            stage="convert",
            message=f"{result.reason}. The model is for LiteRT only."
            if result.refused
            else f"expected TFLite Micro to run or to refuse the model, got: {result.reason}. Do not ship it.",
        )
    apart = _differences(inputs, answers, result.outputs)
    allowed = limit + (_of_one_logit_step(inputs, answers) if quantized else np.zeros_like(apart))
    beyond = (apart > limit).any(axis=-1)
    unexplained = int((apart > allowed).any(axis=-1).sum())
    flips = _undue_flips(inputs, answers, result.outputs, allowed)
    rows = len(result.outputs)
    passed = unexplained == 0 and beyond.mean() <= STEEP_ROWS and flips == 0
    unit = " steps" if quantized else ""
    furthest = f"{float(apart.max()):.3g}{unit} from LiteRT over {rows} rows"
    told = f"{furthest}, {flips} of them decided otherwise without a near tie"
    steep = (
        f"; {int(beyond.sum())} of them beyond {limit:g}{unit}, where the softmax is steep: no further than logits one "
        "step apart explain"
        if beyond.any()
        else ""
    )
    return Check(
        name="TFLite Micro",
        passed=passed,
        figure=float(apart.max()),
        limit=limit,
        stage="convert",
        message=f"{told}{steep}; arena {result.arena_bytes} bytes, measured on this host."
        if passed
        else f"expected at most {limit:g}{unit} and no row decided otherwise, got {told}; "
        f"{int(beyond.sum())} rows beyond the limit (of at most {int(STEEP_ROWS * rows)}), {unexplained} further than "
        f"logits one step apart explain. Its sigmoid and tanh are other kernels than LiteRT's; with relu or relu6 the "
        f"two are nearer.",
    )


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
    if inputs.task.name == "regression":
        return 0
    reference = answers.outputs[_rows(inputs)]
    flipped = inputs.task.decide(outputs) != inputs.task.decide(reference)
    return int((flipped & (top_two_gap(reference) > allowed.max(axis=-1))).sum())

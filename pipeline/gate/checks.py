"""The export gate: a bundle is handed over only if the file in it does what the model did.

Pure functions on arrays and bytes; TensorFlow is not imported. docs/runtimes.md gives the reasons
for every limit.
"""

from __future__ import annotations

import numpy as np

from data.contract import ConversionError
from models.tflite.micro import MicroFailure, MicroResult
from pipeline.gate import answers as against
from pipeline.gate import micro_answers, structure
from pipeline.gate.answers import check_golden
from pipeline.gate.records import LITERT, TFLITE_MICRO, Answers, Check, GateInputs, GateReport, Golden

__all__ = [
    "LITERT",
    "TFLITE_MICRO",
    "Check",
    "GateInputs",
    "GateReport",
    "Golden",
    "check_golden",
    "run_gate",
]


def run_gate(inputs: GateInputs) -> GateReport:
    """Judges a TFLite file.

    Args:
        inputs: the file, held-out rows, what Keras answers to them, masks and golden vectors.

    Returns:
        Every check with its figure, and the figures that `summary.json` wants. A file that cannot
        be read or run gives one failed check, not an exception.
    """
    checks: list[Check] = []
    try:
        checks.extend(_structure(inputs))
        answers = against.answer(inputs.runnable, inputs.x)
        return _judge(inputs, answers, checks)
    except ConversionError as error:
        unreadable = Check("readable file", False, "not run", "runs in LiteRT", "convert", str(error))
        return GateReport(checks=(*checks, unreadable), micro_reason="the file could not be read")


def _structure(inputs: GateInputs) -> list[Check]:
    """What can be read without running anything; first, because it also finds what would crash a runtime."""
    checks = [structure.check_operators(inputs.model, encoded=inputs.unpacked is not None)]
    if inputs.precision in structure.INTEGER_PRECISIONS:
        checks.append(structure.check_integer_operators(inputs.model))
    # What is encoded is looked at as TFLite Micro will unpack it: `check_encoding` holds that against the plain file.
    possible = [
        structure.check_cell_states(inputs.runnable) if inputs.precision in structure.INTEGER_PRECISIONS else None,
        structure.check_pruned_zeros(inputs.runnable, inputs.masks, inputs.kernels),
        structure.check_clusters(inputs.runnable, inputs.clusters),
        None if inputs.unpacked is None else structure.check_encoding(inputs.model, inputs.unpacked),
    ]
    return [*checks, *(check for check in possible if check is not None)]


def _judge(inputs: GateInputs, answers: Answers, checks: list[Check]) -> GateReport:
    finite = against.check_finite(inputs, answers)
    if not finite.passed:  # nothing can be compared with NaN
        reason = "outputs are not finite"
        return GateReport(checks=(*checks, finite), micro_reason=reason, litert_outputs=answers.outputs)
    micro = micro_answers.run(inputs, answers)
    ran = micro if isinstance(micro, MicroResult) else None
    quantized = answers.runtime.output.quantized
    xnnpack = against.xnnpack_difference(inputs, answers)
    possible = [
        structure.check_pixel_input(answers.runtime.input, inputs.schema, inputs.precision),
        finite,
        against.check_varying(inputs, answers),
        against.check_error(inputs, answers),
        against.check_decisions(inputs, answers),
        micro_answers.check_micro(inputs, answers, micro),
        against.check_xnnpack(answers, xnnpack),
        None
        if inputs.golden is None
        else check_golden(inputs.model, inputs.golden, inputs.micro_timeout_seconds, inputs.unpacked),
    ]
    return GateReport(
        checks=(*checks, *(check for check in possible if check is not None)),
        agreement=against.agreement(inputs, answers),
        max_abs_error=float(np.abs(answers.values - inputs.keras_outputs).max()),
        micro_max_steps=int(micro_answers.difference(inputs, answers, ran.outputs))
        if ran is not None and quantized
        else None,
        arena_bytes=None if ran is None else ran.arena_bytes,
        micro_reason=micro.reason if isinstance(micro, MicroFailure) else None,
        micro_outputs=None if ran is None else ran.outputs,
        xnnpack_steps=xnnpack,
        litert_outputs=answers.outputs,
    )

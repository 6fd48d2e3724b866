"""Gate checks that read the file: operators, input quantization, pruned zeros."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from data.contract import Schema
from models.tflite import audit
from models.tflite.interpreter import TensorInfo
from models.tflite.zeros import ZeroFinding, check_zeros
from pipeline.gate.records import Check

PIXEL_SCALE = np.float32(1) / np.float32(255)
PIXEL_ZERO_POINT = -128


def check_operators(model: bytes) -> Check:
    """Built-in operators alone: nothing custom, nothing of TensorFlow's own (Flex), no DENSIFY.

    Args:
        model: bytes of a .tflite file.
    """
    foreign = sorted(set(audit.foreign_operators(model)))
    names = sorted(set(audit.operators(model)))
    return Check(
        name="built-in operators",
        passed=not foreign,
        figure=", ".join(foreign) if foreign else "none",
        limit="none",
        stage="convert",
        message=f"expected built-in operators only, got {', '.join(foreign)}. Replace the layer they come from."
        if foreign
        else f"All operators are built in: {', '.join(names)}.",
    )


def check_integer_operators(model: bytes) -> Check:
    """No operator of an int8 model works on floats, but those that docs/runtimes.md lists.

    Args:
        model: bytes of an int8 .tflite file.
    """
    allowed = audit.FLOAT_OPERATORS_ALLOWED_IN_INT8
    floats = [name for name in audit.float_operators(model) if name not in allowed]
    return Check(
        name="integer operators",
        passed=not floats,
        figure=", ".join(sorted(set(floats))) if floats else "none",
        limit="none",
        stage="convert",
        message=f"expected an int8 model without float operators, got {', '.join(sorted(set(floats)))} on floats. "
        f"Replace the layer they come from, or choose another precision."
        if floats
        else "No operator works on floats.",
    )


def check_pixel_input(tensor: TensorInfo, schema: Schema, precision: str) -> Check | None:
    """The int8 input of an image model is pixel - 128 exactly: scale 1/255, zero point -128.

    Args:
        tensor: the model's input.
        schema: of the dataset.
        precision: of the model.

    Returns:
        The check; None where the model is no int8 model of images.
    """
    if schema.kind != "image" or precision != "int8":
        return None
    exact = np.float32(tensor.scale) == PIXEL_SCALE and tensor.zero_point == PIXEL_ZERO_POINT
    passed = exact and tensor.dtype == np.int8
    figure = f"{tensor.dtype}, scale {tensor.scale:.9g}, zero point {tensor.zero_point}"
    return Check(
        name="pixel input",
        passed=bool(passed),
        figure=figure,
        limit=f"int8, scale {float(PIXEL_SCALE):.9g}, zero point {PIXEL_ZERO_POINT}",
        stage="convert",
        message="The int8 input is pixel - 128."
        if passed
        else f"expected an int8 input that is pixel - 128 (scale 1/255, zero point -128), got {figure}. "
        f"Calibrate on rows that hold both 0 and 1.",
    )


def check_pruned_zeros(
    model: bytes, masks: Mapping[str, NDArray[np.bool_]], kernels: Mapping[str, NDArray[np.float32]] | None
) -> Check | None:
    """Every weight that pruning set to zero is exactly zero in the file.

    Args:
        model: bytes of a .tflite file.
        masks: per pruned layer its mask in Keras' order, True where kept.
        kernels: the Keras model's kernels; a zero that is lost there already was lost by `prune`.

    Returns:
        The check; None where nothing was pruned.
    """
    if not masks:
        return None
    findings = check_zeros(model, masks)
    bad = [finding for finding in findings if not finding.passed]
    revived = sum(finding.revived for finding in bad)
    pruned = sum(finding.pruned for finding in findings)
    told = "; ".join(f"layer {finding.layer!r}: {finding.message}" for finding in bad)
    return Check(
        name="pruned zeros",
        passed=not bad,
        figure=float(revived),
        limit=0.0,
        stage=_stage_of_lost_zeros(bad, masks, kernels),
        message=f"All {pruned} pruned weights are zero, in {len(findings)} layers."
        if not bad
        else f"expected every pruned weight to be zero, got {told}. Run the stage named here again with --force.",
    )


def _stage_of_lost_zeros(
    bad: list[ZeroFinding], masks: Mapping[str, NDArray[np.bool_]], kernels: Mapping[str, NDArray[np.float32]] | None
) -> str:
    if kernels is None:
        return "prune"
    alive_in_keras = any(
        finding.layer in kernels and np.any(kernels[finding.layer][~masks[finding.layer]] != 0) for finding in bad
    )
    return "prune" if alive_in_keras or not bad else "convert"

"""Gate checks that read the file: operators, input quantization, pruned zeros."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from data.contract import Schema
from models.compression_config import ENCODED
from models.tflite import audit
from models.tflite.calibration import PIXEL_STEP_INT16
from models.tflite.interpreter import TensorInfo
from models.tflite.kernels import distinct_by_layer
from models.tflite.micro_decoding import DECODE, decode
from models.tflite.recurrent_states import SMALLEST_CELL_SCALE, unreadable_cell_states
from models.tflite.zeros import ZeroFinding, check_zeros
from pipeline.gate.records import Check

INTEGER_PRECISIONS = frozenset({"int8", "int16x8", "int4"})
"""Precisions without an operator on floats."""

PIXEL_SCALE = np.float32(1) / np.float32(255)
PIXEL_ZERO_POINT = -128
PIXEL_SCALE_INT16 = np.float32(PIXEL_STEP_INT16)


def arithmetic(model: bytes, variant: str) -> str:
    """Returns the precision that a variant is judged by: that of its coarsest layer.

    Args:
        model: bytes of its file, weights not encoded.
        variant: `Variant`.

    Raises:
        ConversionError: the bytes are no TFLite model.
    """
    if audit.has_int4_weights(model):
        return "int4"
    return "int8" if variant in ENCODED.values() else variant


def check_operators(model: bytes, *, encoded: bool = False) -> Check:
    """Built-in operators alone: nothing custom, nothing of TensorFlow's own (Flex), no DENSIFY.

    Args:
        model: bytes of a .tflite file.
        encoded: whether it is for TFLite Micro alone, whose own operator unpacks weights.
    """
    foreign = sorted(set(audit.foreign_operators(model)) - ({DECODE} if encoded else set()))
    names = sorted(set(audit.operators(model)))
    return Check(
        name="built-in operators",
        passed=not foreign,
        figure=", ".join(foreign) if foreign else "none",
        limit="none",
        stage="convert",
        message=f"expected built-in operators only, got {', '.join(foreign)}. Replace the layer they come from."
        if foreign
        else f"All operators are built in{' (DECODE: in TFLite Micro alone)' if encoded else ''}: {', '.join(names)}.",
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


def check_cell_states(model: bytes) -> Check | None:
    """No LSTM keeps its cell in steps finer than 2^-15: the tanh of its kernels cannot read them.

    Args:
        model: bytes of a .tflite file of integers.

    Returns:
        The check; None where every scale can be read, or there is no LSTM.
    """
    small = unreadable_cell_states(model)
    if not small:
        return None
    told = "; ".join(f"{name!r}: {scale:.9g}" for name, scale in small.items())
    return Check(
        name="cell states",
        passed=False,
        figure=min(small.values()),
        limit=SMALLEST_CELL_SCALE,
        stage="convert",
        message=f"expected cell states with a scale of at least {SMALLEST_CELL_SCALE:.9g}, got {told}. The kernels' "
        "tanh reads none below; run the stage named here again with --force.",
    )


def check_pixel_input(tensor: TensorInfo, schema: Schema, precision: str) -> Check | None:
    """The integer input of an image model is the pixel exactly: pixel - 128 in 8 bits, pixel * 128 in 16.

    Args:
        tensor: the model's input.
        schema: of the dataset.
        precision: of the model.

    Returns:
        The check; None where the model is none of integers and images.
    """
    if schema.kind != "image" or precision not in INTEGER_PRECISIONS:
        return None
    wide = tensor.dtype == np.int16
    scale, zero_point = (PIXEL_SCALE_INT16, 0) if wide else (PIXEL_SCALE, PIXEL_ZERO_POINT)
    wanted, integer = ("pixel * 128", np.int16) if wide else ("pixel - 128", np.int8)
    # The width of the input is that of the precision; a mixture is judged by its coarsest, and may be wider.
    fits = tensor.dtype == integer and (wide or precision != "int16x8")
    passed = fits and np.float32(tensor.scale) == scale and tensor.zero_point == zero_point
    figure = f"{tensor.dtype}, scale {tensor.scale:.9g}, zero point {tensor.zero_point}"
    return Check(
        name="pixel input",
        passed=bool(passed),
        figure=figure,
        limit=f"{np.dtype(integer)}, scale {float(scale):.9g}, zero point {zero_point}",
        stage="convert",
        message=f"The {np.dtype(integer)} input is {wanted}."
        if passed
        else f"expected an {np.dtype(integer)} input that is {wanted} (scale {float(scale):.9g}, zero point "
        f"{zero_point}), got {figure}. Calibrate on rows that hold both 0 and 1.",
    )


def check_clusters(model: bytes, clusters: Mapping[str, int]) -> Check | None:
    """Every clustered kernel has no more distinct values in the file than clustering left it.

    Args:
        model: bytes of a .tflite file.
        clusters: layer name -> most distinct values of its kernel, to one scale.

    Returns:
        The check; None where nothing was clustered.
    """
    if not clusters:
        return None
    found = distinct_by_layer(model, clusters)
    bad = {name: count for name, count in found.items() if count is None or count > clusters[name]}
    told = "; ".join(
        f"layer {name!r}: {'no kernel of that name' if count is None else f'{count} values of {clusters[name]}'}"
        for name, count in bad.items()
    )
    return Check(
        name="clusters",
        passed=not bad,
        figure=float(len(bad)),
        limit=0.0,
        stage="convert",
        message=f"The kernels of {len(clusters)} layers have as few values as clustering left them."
        if not bad
        else f"expected kernels with as few values as clustering left them, got {told}. "
        "Leave quantize.dense_scales at auto.",
    )


def check_encoding(model: bytes, unpacked: bytes) -> Check:
    """Encoded weights, unpacked by a decoder of its own, are those of the plain file, integer for integer.

    Args:
        model: bytes of the encoded .tflite file.
        unpacked: bytes of the same model with plain weights.
    """
    plain = {constant.name: constant.values for constant in audit.constants(unpacked)}
    decoded = decode(model)
    bad = [name for name, values in decoded.items() if name not in plain or not np.array_equal(values, plain[name])]
    passed = bool(decoded) and not bad
    return Check(
        name="encoded weights",
        passed=passed,
        figure=float(len(bad)),
        limit=0.0,
        stage="convert",
        message=f"Encoded tensors unpack to the plain ones, integer for integer: {len(decoded)} of {len(decoded)}."
        if passed
        else f"expected encoded tensors that unpack to the plain ones, got others in {', '.join(bad) or 'all'}. "
        "Set quantize.encoding to dense.",
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

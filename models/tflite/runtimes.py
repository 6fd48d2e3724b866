"""Which runtimes run a .tflite file, and why one does not. TensorFlow is not imported."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.contract import ConversionError
from models.tflite.interpreter import LiteRT
from models.tflite.micro import DEFAULT_TIMEOUT_SECONDS, MicroFailure, run_micro

LITERT = "LiteRT"
XNNPACK = "LiteRT with XNNPACK"
TFLITE_MICRO = "TFLite Micro"


@dataclass(frozen=True)
class RuntimeSupport:
    """Whether a runtime runs a file.

    Attributes:
        runtime: `LiteRT` (its own kernels), `LiteRT with XNNPACK` (as on phones), or `TFLite Micro`.
        runs: whether it ran every row.
        reason: what it said where it did not; None where it did.
        arena_bytes: working memory TFLite Micro took on this host; None elsewhere.
    """

    runtime: str
    runs: bool
    reason: str | None = None
    arena_bytes: int | None = None


def runtime_support(
    model: bytes, rows: NDArray[np.float32], timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
) -> tuple[RuntimeSupport, RuntimeSupport, RuntimeSupport]:
    """Runs rows in LiteRT, in LiteRT with XNNPACK, and in TFLite Micro.

    Args:
        model: bytes of a .tflite file.
        rows: (rows, *input_shape) float32, at least one; a few are enough.
        timeout_seconds: how long TFLite Micro may take.

    Returns:
        One record a runtime, in that order.
    """
    plain, xnnpack = _litert(model, rows, LITERT), _litert(model, rows, XNNPACK)
    if not plain.runs:
        unknown = f"not tried: without LiteRT the rows have no integers ({plain.reason})"
        return plain, xnnpack, RuntimeSupport(TFLITE_MICRO, runs=False, reason=unknown)
    micro = run_micro(model, LiteRT(model).quantize(rows), timeout_seconds)
    if isinstance(micro, MicroFailure):
        return plain, xnnpack, RuntimeSupport(TFLITE_MICRO, runs=False, reason=micro.reason)
    return plain, xnnpack, RuntimeSupport(TFLITE_MICRO, runs=True, arena_bytes=micro.arena_bytes)


def _litert(model: bytes, rows: NDArray[np.float32], runtime: str) -> RuntimeSupport:
    try:
        LiteRT(model, default_delegates=runtime == XNNPACK).predict(rows)
    except ConversionError as error:
        return RuntimeSupport(runtime, runs=False, reason=str(error))
    return RuntimeSupport(runtime, runs=True)

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.contract import ConversionError
from models.tflite.interpreter import LiteRT, latency_us

ROOT = Path(__file__).resolve().parents[3]


def test_quantize_and_dequantize_follow_the_formula(variants: Any) -> None:
    runtime = LiteRT(variants["mlp", "int8"])
    x = np.zeros((1, 8, 8, 1), np.float32)
    # 0.4 and 0.6 of a step, 127 steps, beyond both ends
    x[0, :5, 0, 0] = np.array([0.4 / 255, 0.6 / 255, 127 / 255, 1.7, -0.3], np.float32)
    assert runtime.quantize(x)[0, :5, 0, 0].tolist() == [-128, -127, -1, 127, -128]
    assert (runtime.output.scale, runtime.output.zero_point) == (1 / 256, -128)
    np.testing.assert_array_equal(
        runtime.dequantize(np.array([[-128, 0, 127]], np.int8)), np.array([[0.0, 0.5, 255 / 256]], np.float32)
    )


def test_the_number_below_one_half_is_not_rounded_up(variants: Any, edited: Callable[..., bytes]) -> None:
    """0.49999997 + 0.5 is 1 in float32, but C's roundf gives 0."""

    def rescale(unpacked: Any) -> None:
        graph = unpacked.subgraphs[0]
        graph.tensors[graph.inputs[0]].quantization.scale = np.array([0.5], np.float32)

    x = np.full((1, 8, 8, 1), np.float32(0.49999997) / 2, np.float32)
    x[0, 0, 0, 0] = 0.25
    assert LiteRT(edited(variants["mlp", "int8"], rescale)).quantize(x).ravel()[:2].tolist() == [-127, -128]


def test_float_models_are_not_quantized(variants: Any, digits: np.ndarray) -> None:
    runtime = LiteRT(variants["mlp", "float32"])
    assert not runtime.input.quantized
    assert (runtime.input.scale, runtime.input.zero_point) == (0.0, 0)
    np.testing.assert_array_equal(runtime.quantize(digits[:3]), digits[:3])


@pytest.mark.parametrize("delegates", [False, True])
@pytest.mark.parametrize("precision", ["float32", "dynamic_range", "int8"])
def test_an_output_does_not_depend_on_how_many_rows_are_asked_for(
    variants: Any, digits: np.ndarray, precision: str, delegates: bool
) -> None:
    runtime = LiteRT(variants["mlp", precision], default_delegates=delegates)
    together = runtime.predict(digits[:7])
    alone = np.concatenate([runtime.predict(digits[row : row + 1]) for row in range(7)])
    np.testing.assert_array_equal(together, alone)
    assert runtime.predict(digits[:0]).shape == (0, 10)


@pytest.mark.parametrize(
    "rows", [np.zeros((2, 8, 8, 1), np.float32), np.zeros((2, 64), np.int8), np.zeros((2, 8, 8, 3), np.int8)]
)
def test_rows_of_another_type_or_shape_are_refused(variants: Any, rows: np.ndarray) -> None:
    with pytest.raises(ConversionError, match=r"expected rows of int8 \(8, 8, 1\), got .* Quantize rows"):
        LiteRT(variants["mlp", "int8"]).invoke(rows)


def test_nan_is_not_quantized(variants: Any) -> None:
    with pytest.raises(ConversionError, match="expected finite input, got NaN or infinity"):
        LiteRT(variants["mlp", "int8"]).predict(np.full((1, 8, 8, 1), np.nan, np.float32))


@pytest.mark.parametrize("broken", [b"", b"no model", b"\x1c\x00\x00\x00TFL3" + b"\x00" * 64])
def test_broken_bytes_are_refused(broken: bytes) -> None:
    with pytest.raises(ConversionError, match=r"model\.tflite: expected a TFLite file"):
        LiteRT(broken)


def test_a_file_cut_short_is_refused(variants: Any) -> None:
    with pytest.raises(ConversionError, match=r"model\.tflite: expected a TFLite file that LiteRT can run"):
        LiteRT(variants["mlp", "int8"][:3000])


def test_latency_is_the_median_of_single_runs(variants: Any, digits: np.ndarray) -> None:
    assert 0.1 < latency_us(variants["mlp", "int8"], digits[:10], repeats=50) < 10_000
    with pytest.raises(ConversionError, match="expected at least one row and one run, got 0 and 5"):
        latency_us(variants["mlp", "int8"], digits[:0], repeats=5)


def test_tensorflow_is_not_imported() -> None:
    code = (
        "import sys, models.tflite.interpreter, models.tflite.audit, models.tflite.zeros, models.tflite.c_source, "
        "models.tflite.micro, models.tflite.calibration, models.measurements; "
        "print([m for m in ('tensorflow', 'tf_keras', 'pandas', 'sklearn') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"

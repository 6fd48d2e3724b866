from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.legacy_keras import keras
from models.tflite.convert import convert
from models.tflite.interpreter import LiteRT
from models.tflite.micro import MicroFailure, MicroResult, run_micro


@pytest.mark.parametrize("network", ["mlp", "cnn"])
def test_int8_relu_networks_answer_as_in_litert(variants: Any, digits: np.ndarray, network: str) -> None:
    model = variants[network, "int8"]
    runtime = LiteRT(model)
    rows = runtime.quantize(digits[:200])
    result = run_micro(model, rows)
    assert isinstance(result, MicroResult)
    assert result.outputs.dtype == np.int8
    # One step is the most that was seen on such networks; see docs/runtimes.md.
    assert np.abs(result.outputs.astype(int) - runtime.invoke(rows)).max() <= 1
    assert 1000 < result.arena_bytes < 20_000


def test_float32_runs_too(variants: Any, digits: np.ndarray) -> None:
    result = run_micro(variants["cnn", "float32"], digits[:20])
    assert isinstance(result, MicroResult)
    np.testing.assert_allclose(result.outputs, LiteRT(variants["cnn", "float32"]).invoke(digits[:20]), atol=1e-6)


def test_a_row_forgets_the_row_before_it(digits: np.ndarray) -> None:
    inputs = keras.Input((8, 8))
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.LSTM(4)(inputs)))
    rows = digits[:20].reshape(-1, 8, 8)
    result = run_micro(convert(model, "float32"), rows)
    assert isinstance(result, MicroResult)
    np.testing.assert_allclose(result.outputs, model(rows).numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("precision", "words"), [("float16", "DEQUANTIZE"), ("dynamic_range", "FLOAT32 with filter type: INT8")]
)
def test_what_it_has_no_kernel_for_is_refused_with_the_operator(
    variants: Any, digits: np.ndarray, precision: str, words: str
) -> None:
    result = run_micro(variants["mlp", precision], digits[:2])
    assert isinstance(result, MicroFailure)
    assert result.refused
    assert result.reason.startswith("TFLite Micro refused the model: ")
    assert words in result.reason


def test_a_crash_is_a_finding(variants: Any, digits: np.ndarray, edited: Callable[..., bytes]) -> None:
    def read_a_tensor_that_is_not_there(unpacked: Any) -> None:
        operator = unpacked.subgraphs[0].operators[1]
        operator.inputs = np.array([operator.inputs[0], 100_000, operator.inputs[2]], np.int32)

    model = edited(variants["mlp", "int8"], read_a_tensor_that_is_not_there)
    assert run_micro(model, np.zeros((2, 8, 8, 1), np.int8)) == MicroFailure(
        "TFLite Micro crashed with signal SIGSEGV", refused=False
    )


def test_a_child_that_cannot_run_is_no_refusal(variants: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho \"ModuleNotFoundError: No module named 'tflite_micro'\" >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(broken))
    assert run_micro(variants["mlp", "int8"], np.zeros((2, 8, 8, 1), np.int8)) == MicroFailure(
        "TFLite Micro could not be run, exit code 1: ModuleNotFoundError: No module named 'tflite_micro'", refused=False
    )


def test_a_hang_is_a_finding(variants: Any) -> None:
    result = run_micro(variants["mlp", "int8"], np.zeros((2, 8, 8, 1), np.int8), timeout_seconds=0.01)
    assert result == MicroFailure("TFLite Micro did not finish 2 rows within 0.01 seconds", refused=False)


def test_garbage_and_no_rows_are_findings(variants: Any) -> None:
    garbage = run_micro(b"no model at all", np.zeros((2, 8, 8, 1), np.int8))
    assert isinstance(garbage, MicroFailure)
    assert garbage.refused
    nothing = run_micro(variants["mlp", "int8"], np.zeros((0, 8, 8, 1), np.int8))
    assert nothing == MicroFailure("no rows were given to run", refused=True)

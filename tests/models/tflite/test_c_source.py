from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from data.contract import ConversionError
from models.golden_source import golden_header
from models.tflite.c_source import model_data_source, recommended_arena_bytes, resolver_methods
from models.tflite.interpreter import LiteRT

FLAGS = ["-Wall", "-Wextra", "-Werror", "-pedantic"]

_MAIN = r"""
#include <stdint.h>
#include <stdio.h>
#include <string>
#include "model_data.h"
#include "golden.h"
struct Resolver {
  std::string names;
  int note(const char *name) { names += std::string(name) + " "; return 0; }
  int AddFullyConnected() { return note("FullyConnected"); }
  int AddReshape() { return note("Reshape"); }
  int AddSoftmax() { return note("Softmax"); }
};
int main() {
  FILE *out = fopen("back.tflite", "wb");
  fwrite(digits_8_model, 1, digits_8_model_length, out);
  fclose(out);
  Resolver resolver;
  bool registered = digits_8_add_operators(resolver);
  printf("%d %d %u %s\n", (int)((uintptr_t)digits_8_model % 16), (int)registered, digits_8_operator_count,
         resolver.names.c_str());
  printf("%u %u %u\n", DIGITS_8_MODEL_BYTES, DIGITS_8_ARENA_MEASURED_BYTES, DIGITS_8_ARENA_BYTES);
  printf("%.9g %d %u %.9g %d %u\n", DIGITS_8_INPUT_SCALE, DIGITS_8_INPUT_ZERO_POINT, DIGITS_8_INPUT_SIZE,
         DIGITS_8_OUTPUT_SCALE, DIGITS_8_OUTPUT_ZERO_POINT, DIGITS_8_OUTPUT_SIZE);
  for (int row = 0; row < DIGITS_8_GOLDEN_ROWS; ++row) {
    for (int i = 0; i < 64; ++i) printf("%d ", digits_8_golden_raw[row][i]);
    for (int i = 0; i < 64; ++i) printf("%d ", digits_8_golden_inputs[row][i]);
    for (int i = 0; i < 10; ++i) printf("%d ", digits_8_golden_outputs[row][i]);
  }
  return 0;
}
"""


def _compiler(*command: str, folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_the_sources_compile_and_give_everything_back(variants: Any, digits: np.ndarray, tmp_path: Path) -> None:
    model = variants["mlp", "int8"]
    runtime = LiteRT(model)
    inputs = runtime.quantize(digits[:3])
    raw = np.rint(digits[:3] * 255).astype(np.uint8)
    outputs = runtime.invoke(inputs)
    source = model_data_source(model, "digits-8", 2801)
    (tmp_path / "model_data.cc").write_text(source.cc)
    (tmp_path / "model_data.h").write_text(source.h)
    (tmp_path / "golden.h").write_text(golden_header("digits-8", raw, inputs, outputs, "LiteRT"))
    (tmp_path / "main.cc").write_text(_MAIN)
    _compiler("g++", "-std=c++11", *FLAGS, "main.cc", "model_data.cc", "-o", "check", folder=tmp_path)
    said = subprocess.run([tmp_path / "check"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    first, sizes, quantization, golden = said.splitlines()
    assert (tmp_path / "back.tflite").read_bytes() == model
    assert first.split() == ["0", "1", "3", "FullyConnected", "Reshape", "Softmax"]
    assert sizes.split() == [str(len(model)), "2801", "3504"]
    assert np.float32(quantization.split()[0]) == np.float32(1) / np.float32(255)
    assert quantization.split()[1:] == ["-128", "64", "0.00390625", "-128", "10"]
    expected = np.concatenate([raw.reshape(3, -1), inputs.reshape(3, -1), outputs], axis=1, dtype=np.int64).ravel()
    assert golden.split() == [str(value) for value in expected.tolist()]


def test_the_headers_compile_as_c(variants: Any, digits: np.ndarray, tmp_path: Path) -> None:
    model = variants["mlp", "float32"]
    outputs = LiteRT(model).invoke(digits[:2])
    (tmp_path / "model_data.h").write_text(model_data_source(model, "8bit", None, "it has */ no kernel").h)
    raw = np.array([[np.nan, 0.1], [-2.0, 3e38]], np.float32)
    (tmp_path / "golden.h").write_text(golden_header("8bit", raw, digits[:2], outputs, "LiteRT"))
    (tmp_path / "main.c").write_text(
        '#include "model_data.h"\n#include "golden.h"\n#include <stdio.h>\nint main(void) {\n'
        "  for (int i = 0; i < 10; ++i) "
        'printf("%.9g\\n", (double)(model_8bit_golden_outputs[1][i] + 0 * model_8bit_golden_inputs[0][0]));\n'
        "  for (int i = 0; i < 4; ++i) "
        'printf("%.9g\\n", (double)model_8bit_golden_raw[i / 2][i % 2]);\n'
        "  return 0;\n}\n"
    )
    _compiler("gcc", "-std=c99", *FLAGS, "main.c", "-o", "check", folder=tmp_path)
    said = subprocess.run([tmp_path / "check"], capture_output=True, text=True, check=True).stdout
    np.testing.assert_array_equal(np.array(said.split(), np.float32), np.concatenate([outputs[1], raw.ravel()]))


def test_an_arena_that_was_not_measured_is_said_to_be_so(variants: Any) -> None:
    header = model_data_source(variants["mlp", "float32"], "digits", None, "refused DEQUANTIZE").h
    assert "/* Arena: not measured. refused DEQUANTIZE */" in header
    assert "ARENA_BYTES" not in header


def test_the_margin_is_a_quarter_in_whole_16_bytes() -> None:
    assert [recommended_arena_bytes(size) for size in (16, 64, 100, 2800)] == [32, 80, 128, 3504]


def test_resolver_methods_are_named_as_in_tflite_micro(variants: Any) -> None:
    assert resolver_methods(variants["cnn", "int8"]) == [
        "AddConv2D",
        "AddDepthwiseConv2D",
        "AddFullyConnected",
        "AddMean",
        "AddSoftmax",
    ]


def test_a_custom_operator_has_no_method(variants: Any, edited: Callable[..., bytes]) -> None:
    def make_custom(unpacked: Any) -> None:
        unpacked.operatorCodes[0].builtinCode = schema.BuiltinOperator.CUSTOM
        unpacked.operatorCodes[0].deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
        unpacked.operatorCodes[0].customCode = b"Mine"

    with pytest.raises(ConversionError, match="expected built-in operators only, got CUSTOM:Mine"):
        resolver_methods(edited(variants["mlp", "int8"], make_custom))


@pytest.mark.parametrize(
    ("rows", "outputs", "message"),
    [
        (np.zeros((0, 4), np.int8), np.zeros((0, 2), np.int8), "at least one, got 0, 0 and 0"),
        (np.zeros((2, 4), np.int8), np.zeros((3, 2), np.int8), "at least one, got 2, 2 and 3"),
        (np.zeros((2, 4), np.complex64), np.zeros((2, 2), np.int8), "expected values of int8.*, got complex64"),
    ],
)
def test_golden_vectors_that_cannot_be_written(rows: Any, outputs: Any, message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        golden_header("x", rows, rows, outputs, "LiteRT")

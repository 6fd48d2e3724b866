"""The error of a reconstruction in C, compiled, against Python."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.anomaly import error_threshold, row_errors
from models.tflite.error_source import error_header
from models.tflite.interpreter import TensorInfo

C_TYPES = {"int8": "int8_t", "int16": "int16_t", "float32": "float"}
FLAGS = ["-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion", "-shared", "-fPIC"]


def compiled(header: str, folder: Path, input_type: str, output_type: str) -> Any:
    (folder / "reconstruction.h").write_text(header)
    arguments = f"const {C_TYPES[input_type]} *input, const {C_TYPES[output_type]} *output"
    (folder / "check.c").write_text(
        '#include "reconstruction.h"\n'
        f"float error({arguments});\nint abnormal({arguments});\n"
        f"float error({arguments}) {{ return pen_jing_error(input, output); }}\n"
        f"int abnormal({arguments}) {{ return pen_jing_is_abnormal(input, output); }}\n"
    )
    for compiler, standard in (("g++", "-std=c++11"), ("cc", "-std=c99")):
        language = ["-x", "c++"] if compiler == "g++" else []
        command = [compiler, *language, standard, *FLAGS, "check.c", "-o", f"{compiler}.so"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=60)
    library = ctypes.CDLL(str(folder / "cc.so"))
    library.error.restype = ctypes.c_float
    return library


PIXELS = TensorInfo(np.dtype(np.int8), (1, 4, 5, 1), float(np.float32(1) / np.float32(255)), -128)
FEATURES = TensorInfo(np.dtype(np.int8), (1, 20), 0.03, 3)
PIXELS16 = TensorInfo(np.dtype(np.int16), (1, 4, 5, 1), float(np.float32(1 / (255 * 128))), 0)
INT8 = TensorInfo(np.dtype(np.int8), (1, 20), 0.0071, -66)
INT16 = TensorInfo(np.dtype(np.int16), (1, 20), 0.0001, 0)
FLOAT = TensorInfo(np.dtype(np.float32), (1, 20), 0.0, 0)


@pytest.mark.parametrize(
    ("source", "output", "exact", "takes"),
    [(PIXELS, INT8, True, "int8"), (FEATURES, INT16, False, "float32"), (FLOAT, FLOAT, True, "float32")],
)
def test_c_measures_what_python_does(source, output, exact, takes, tmp_path):
    generator = np.random.default_rng(3)
    x = (generator.integers(0, 256, (50, 20)) / 255).astype(np.float32) if exact else generator.normal(0, 9, (50, 20))
    x = x.astype(np.float32)
    if output.quantized:
        answers = generator.integers(-128, 128, (50, 20)).astype(output.dtype)
        values = ((answers.astype(np.float32) - output.zero_point) * np.float32(output.scale)).astype(np.float32)
    else:
        answers = values = generator.random((50, 20), np.float32)
    errors = row_errors(x, values)
    threshold = float(np.float32(np.median(errors)))
    header = error_header("pen-jing", source, output, threshold, exact_input=exact)
    library = compiled(header, tmp_path, takes, output.dtype.name)
    given = (np.rint(x * 255) - 128).astype(np.int8) if takes == "int8" else x
    for row, answer, error in zip(given, answers, errors, strict=True):
        pointers = [np.ascontiguousarray(each).ctypes.data_as(ctypes.c_void_p) for each in (row, answer)]
        assert library.error(*pointers) == pytest.approx(error, rel=1e-5)
        if abs(error / threshold - 1) > 1e-5:
            assert bool(library.abnormal(*pointers)) == (error > threshold)
    assert "PEN_JING_NUM_ENTRIES 20u" in header


@pytest.mark.parametrize(
    ("source", "output", "exact", "takes"),
    [
        (PIXELS, INT8, True, "int8"),
        (PIXELS16, INT16, True, "int16"),
        (FEATURES, INT8, False, "float32"),
        (FLOAT, FLOAT, True, "float32"),
    ],
)
def test_every_validation_row_is_decided_alike_in_c_and_python(source, output, exact, takes, tmp_path):
    """The threshold is the error of one of these rows: the last bit decides that row."""
    generator = np.random.default_rng(5)
    pixels = generator.integers(0, 256, (200, 20))
    x = (pixels.astype(np.float32) / np.float32(255)) if exact else generator.normal(0, 3, (200, 20)).astype(np.float32)
    limits = np.iinfo(output.dtype) if output.quantized else None
    answers = (
        generator.random((200, 20), np.float32)
        if limits is None
        else generator.integers(limits.min, limits.max + 1, (200, 20)).astype(output.dtype)
    )
    values = (answers.astype(np.float32) - np.float32(output.zero_point)) * np.float32(output.scale or 1)
    given = {"int8": (pixels - 128).astype(np.int8), "int16": (pixels * 128).astype(np.int16), "float32": x}[takes]
    errors = row_errors(x, values)
    for number, fraction in enumerate((0.0, 0.05, 0.5)):
        threshold = error_threshold(errors, fraction)
        folder = tmp_path / str(number)
        folder.mkdir()
        header = error_header("pen-jing", source, output, threshold, exact_input=exact)
        library = compiled(header, folder, takes, output.dtype.name)
        pointers = [[each[row].ctypes.data_as(ctypes.c_void_p) for each in (given, answers)] for row in range(200)]
        assert [library.error(*both) for both in pointers] == errors.tolist()
        called = [bool(library.abnormal(*both)) for both in pointers]
        assert called == (errors > threshold).tolist()
        assert sum(called) == int(fraction * 200)


def test_features_beyond_the_integers_keep_their_error():
    """An abnormal feature may lie far outside of what int8 reaches: clipped, it would look normal."""
    header = error_header("penjing", FEATURES, INT8, 0.5, exact_input=False)
    assert "penjing_error(const float *input, const int8_t *output)" in header
    assert "the float input, before it is quantized" in header

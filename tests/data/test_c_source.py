from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest

from data.c_source import c_source
from data.c_text import c_float, c_string
from data.dataset import Dataset

FLAGS = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion"]

ODD = ['say "hi"', "back\\slash", "what??/ever", "naïve 日本", "tab\there", "digit\u00018", "*/ end", "%s"]


def compiled(folder: Path) -> ctypes.CDLL:
    library = folder / "preprocessing.so"
    command = [
        "cc",
        *FLAGS,
        "-O1",
        "-shared",
        "-fPIC",
        "-o",
        library,
        folder / "preprocessing.c",
        "-lm",
    ]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    loaded = ctypes.CDLL(str(library))
    loaded.penjing_category.restype = ctypes.c_float
    if hasattr(loaded, "penjing_postprocess"):
        loaded.penjing_postprocess.restype = ctypes.c_float
    return loaded


def run(library: ctypes.CDLL, raw: np.ndarray, num_features: int) -> np.ndarray:
    outputs = np.full((len(raw), num_features), 77, np.float32)
    pointer = ctypes.POINTER(ctypes.c_float)
    for row, output in zip(np.ascontiguousarray(raw, np.float32), outputs, strict=True):
        library.penjing_preprocess(row.ctypes.data_as(pointer), output.ctypes.data_as(pointer))
    return outputs


@pytest.fixture
def mixed(table) -> Dataset:
    generator = np.random.default_rng(0)
    lines = ['n,"tail, ""long"" */ ??/",flag,word,y']
    for _ in range(300):
        number = "" if generator.random() < 0.1 else f"{generator.normal(5, 2):.4f}"
        flag = ["yes", "no", ""][generator.integers(0, 3)]
        word = '"' + ODD[generator.integers(0, len(ODD))].replace('"', '""') + '"' if generator.random() < 0.9 else ""
        target = f"{generator.normal(100, 7):.3f}"
        lines.append(f"{number},{np.exp(generator.normal() * 3):.5f},{flag},{word},{target}")
    return table("\n".join(lines) + "\n", "regression", max_categories=6)


def test_c_agrees_with_python(mixed):
    library = compiled(mixed.folder)
    raw = np.concatenate([mixed.raw("validation"), mixed.raw("test")])
    odd = np.array([[np.nan, 1e30, np.nan, np.nan], [-1e30, 0, 1, -1], [0, -5, 0, 99], [np.inf, 1, 1, 2]], np.float32)
    raw = np.concatenate([raw, odd])
    expected = mixed.preprocessing.transform(raw)
    np.testing.assert_allclose(run(library, raw, expected.shape[1]), expected, rtol=1e-6, atol=1e-6)
    assert np.isfinite(expected).all()
    held_out = np.concatenate([mixed.inputs("validation"), mixed.inputs("test")])
    assert np.array_equal(expected[: len(held_out)], held_out)


def test_bins_agree_with_python(table):
    generator = np.random.default_rng(1)
    numbers, tails = generator.normal(size=2000), np.exp(generator.normal(size=2000) * 2)
    lines = [
        f"{'' if row % 9 == 0 else f'{number:.6f}'},{tail:.6f},{'ab'[row % 2]}"
        for row, (number, tail) in enumerate(zip(numbers, tails, strict=True))
    ]
    dataset = table("\n".join(["n,tail,y", *lines]) + "\n")
    assert [len(column.edges) for column in dataset.preprocessing.columns] == [3, 3]
    raw = np.concatenate([dataset.raw("test"), [[np.nan, np.inf], [-1e30, np.nan]]]).astype(np.float32)
    expected = dataset.preprocessing.transform(raw)
    np.testing.assert_allclose(run(compiled(dataset.folder), raw, expected.shape[1]), expected, rtol=1e-6, atol=1e-6)


def exact(dataset: Dataset) -> np.ndarray:
    """Returns (features,) bool: those in which no logarithm has a part."""
    columns = dataset.preprocessing.columns
    return np.array([getattr(column, "log", None) is None for column in columns for _ in column.features])


def test_all_but_logarithms_agree_bit_for_bit(mixed, table):
    generator = np.random.default_rng(2)
    numbers, tails = generator.normal(size=2000), np.exp(generator.normal(size=2000) * 2)
    lines = [f"{n:.6f},{t:.6f},{'ab'[row % 2]}" for row, (n, t) in enumerate(zip(numbers, tails, strict=True))]
    binned = table("\n".join(["n,tail,y", *lines]) + "\n", name="binned.csv")
    for dataset, without_logarithm in ((mixed, 12), (binned, 3)):
        alike = exact(dataset)
        assert (alike.sum(), (~alike).any()) == (without_logarithm, True)
        raw = dataset.raw("test")
        expected = dataset.preprocessing.transform(raw)
        outputs = run(compiled(dataset.folder), raw, expected.shape[1])
        assert outputs[:, alike].tobytes() == expected[:, alike].tobytes()
        assert np.abs(outputs - expected).max() <= 2e-6


FAST_MATH = r"""
#include <stdio.h>
#include <string.h>
#include "preprocessing.h"
int main(int count, char **arguments) {
  static float raw[PENJING_NUM_COLUMNS], features[PENJING_NUM_FEATURES];
  unsigned bits;
  float missing = penjing_category(word_position, NULL);
  memcpy(&bits, &missing, sizeof bits);
  printf("%u\n", bits);
  FILE *rows = fopen(arguments[count - 1], "rb");
  while (fread(raw, sizeof raw, 1, rows) == 1) {
    penjing_preprocess(raw, features);
    for (int i = 0; i < PENJING_NUM_FEATURES; ++i) printf("%.9g\n", (double)features[i]);
  }
  return fclose(rows);
}
"""


@pytest.mark.parametrize("level", ["-O0", "-O3"])
def test_missing_values_survive_fast_math(mixed, level):
    """A program of its own: a library built with -ffast-math flushes the denormals of the process that loads it."""
    folder = mixed.folder
    raw = np.concatenate([mixed.raw("test"), np.full((1, 4), np.nan), -np.full((1, 4), np.nan)]).astype(np.float32)
    assert np.isnan(raw).any(axis=0).all()
    raw.tofile(folder / "rows")
    position = [column.name for column in mixed.preprocessing.columns].index("word")
    (folder / "main.c").write_text(FAST_MATH.replace("word_position", str(position)))
    command = [
        "cc",
        "-std=c99",
        "-Wall",
        "-Werror",
        level,
        "-ffast-math",
        "main.c",
        "preprocessing.c",
        "-lm",
        "-o",
        "fast",
    ]
    subprocess.run(command, cwd=folder, check=True)
    said = subprocess.run([folder / "fast", folder / "rows"], capture_output=True, text=True, check=True).stdout.split()
    assert np.isnan(np.array([said[0]], np.uint32).view(np.float32))[0]
    expected = mixed.preprocessing.transform(raw)
    outputs = np.array(said[1:], np.float32).reshape(expected.shape)
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-5)


def test_categories_are_found_by_their_text(mixed):
    library = compiled(mixed.folder)
    columns = mixed.preprocessing.columns
    position = [column.name for column in columns].index("word")
    known = columns[position].categories
    assert set(known) < set(ODD)
    for code, category in enumerate(known):
        assert library.penjing_category(position, category.encode()) == code
    assert library.penjing_category(position, b"never seen") == -1.0
    assert library.penjing_category(0, b"a number has no categories") == -1.0
    assert np.isnan(library.penjing_category(position, None))


def test_predictions_come_back_in_the_targets_unit(mixed):
    library = compiled(mixed.folder)
    schema = mixed.schema
    for output in (-1.5, 0.0, 2.25):
        expected = schema.target_mean + schema.target_scale * output
        assert library.penjing_postprocess(ctypes.c_float(output)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("name", "task"), [("iris", "classification"), ("diabetes", "regression")])
def test_builtin_tables_compile_and_agree(ingested, name, task):
    dataset = ingested(task, source="builtin", name=name)
    raw = dataset.raw("test")
    outputs = run(compiled(dataset.folder), raw, dataset.schema.input_shape[0])
    np.testing.assert_allclose(outputs, dataset.inputs("test"), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "literal"),
    [('a"b', '"a\\042b"'), ("??/", '"\\077\\077/"'), ("é1", '"\\303\\2511"'), ("\\n", '"\\134n"'), ("", '""')],
)
def test_strings_are_escaped(text, literal):
    assert c_string(text) == literal


@pytest.mark.parametrize("value", [0.1, -1e-38, 3.4e38, 1.0, 16777217.0, -0.0])
def test_floats_read_back_as_themselves(value):
    assert np.float32(c_float(value).removesuffix("f")) == np.float32(value)


def test_images_need_none(ingested):
    dataset = ingested(source="builtin", name="digits")
    assert not (dataset.folder / "preprocessing.c").exists()
    with pytest.raises(ValueError, match="expected a vector input, got images"):
        c_source(dataset.preprocessing)


def test_left_out_features_agree_with_python(mixed, tmp_path):
    kept = (0, 2, 3, 7)
    preprocessing = mixed.preprocessing.model_copy(update={"kept_inputs": kept})
    header, source = c_source(preprocessing)
    (tmp_path / "preprocessing.h").write_text(header)
    (tmp_path / "preprocessing.c").write_text(source)
    raw = mixed.raw("test")
    expected = mixed.preprocessing.transform(raw)[:, kept]
    np.testing.assert_array_equal(preprocessing.transform(raw), expected)
    np.testing.assert_array_equal(mixed.keeping(kept).inputs("test"), expected)
    np.testing.assert_allclose(run(compiled(tmp_path), raw, 4), expected, rtol=1e-6, atol=1e-6)

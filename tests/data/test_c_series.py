from __future__ import annotations

import ctypes
import subprocess

import numpy as np
import pytest

from data.c_series import series_source
from data.c_source import c_source

FLAGS = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion", "-O1", "-shared", "-fPIC"]


@pytest.fixture
def dataset(ingested, tmp_path):
    """Channels of very different units, one with a name that C and comments cannot take, a spike, a constant one."""
    values = np.random.default_rng(3).normal(size=(300, 3)) * [1e-3, 1.0, 5e4] + [0.0, 9.81, -1e5]
    values[280, 1] = 1e6
    header = "acc x */ ??/,acc,pressure,still,y"
    lines = [f"{a:.9g},{b:.9g},{c:.9g},7,{b * 2:.6g}" for a, b, c in values]
    (tmp_path / "log.csv").write_text("\n".join([header, *lines]) + "\n")
    return ingested("regression", source="series", path=str(tmp_path / "log.csv"), window=12, stride=2, target="y")


def compiled(folder):
    library = folder / "preprocessing.so"
    command = ["cc", *FLAGS, "-o", library, folder / "preprocessing.c", "-lm"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    loaded = ctypes.CDLL(str(library))
    loaded.penjing_postprocess.restype = ctypes.c_float
    return loaded


def run(library, raw, num_features):
    outputs = np.full((len(raw), num_features), 77, np.float32)
    pointer = ctypes.POINTER(ctypes.c_float)
    for row, output in zip(np.ascontiguousarray(raw, np.float32), outputs, strict=True):
        library.penjing_preprocess(row.ctypes.data_as(pointer), output.ctypes.data_as(pointer))
    return outputs


def test_c_agrees_with_python_bit_for_bit(dataset):
    raw = np.concatenate([dataset.raw("validation"), dataset.raw("test")])
    expected = np.concatenate([dataset.inputs("validation"), dataset.inputs("test")])
    assert (expected.max(), expected.shape[1:]) == (8.0, (12, 4))
    library = compiled(dataset.folder)
    assert run(library, raw, 48).tobytes() == expected.tobytes()
    mean, scale = dataset.schema.target_mean, dataset.schema.target_scale
    assert library.penjing_postprocess(ctypes.c_float(1.5)) == pytest.approx(mean + scale * 1.5, rel=1e-6)


def test_inputs_that_are_left_out(dataset, tmp_path):
    kept = tuple(place for place in range(48) if place % 4 != 3)
    preprocessing = dataset.preprocessing.model_copy(update={"kept_inputs": kept})
    for name, text in zip(("preprocessing.h", "preprocessing.c"), c_source(preprocessing), strict=True):
        (tmp_path / name).write_text(text)
    raw = dataset.raw("test")
    expected = preprocessing.transform(raw)
    assert np.array_equal(expected, dataset.inputs("test").reshape(len(raw), -1)[:, kept])
    assert run(compiled(tmp_path), raw, 36).tobytes() == expected.tobytes()


def test_the_header_names_steps_and_channels(dataset):
    header = (dataset.folder / "preprocessing.h").read_text()
    assert "#define PENJING_NUM_STEPS 12\n#define PENJING_NUM_CHANNELS 4\n#define PENJING_NUM_FEATURES 48\n" in header
    assert "  PENJING_CHANNEL_ACC_X = 0, /* acc x __ ___ */\n  PENJING_CHANNEL_ACC = 1, /* acc */" in header


def test_other_inputs_are_no_series(ingested):
    with pytest.raises(ValueError, match="expected a series, got vector"):
        series_source(ingested(source="builtin", name="iris").preprocessing, "preprocessing.h", "", "")

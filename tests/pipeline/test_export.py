from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.config import BuiltinData, TableData
from models.compression_config import PruneConfig
from models.pruning.kernels import prunable_kernels
from models.tflite.audit import read_model
from models.tflite.interpreter import LiteRT
from models.training import predict
from pipeline.artifacts import Variants
from pipeline.config import TargetConfig
from pipeline.decisions import confusion_matrix
from pipeline.report.record import RunRecord, StageRecord
from pipeline.stages import export
from pipeline.summary import Summary, summary_of
from tests.pipeline.export_chain import Chain, Exported, make_chain, make_export

GATES = {
    "built-in operators",
    "integer operators",
    "pruned zeros",
    "pixel input",
    "finite outputs",
    "varying outputs",
    "same outputs as Keras",
    "same decisions as Keras",
    "TFLite Micro",
    "XNNPACK",
    "golden vectors",
}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """Digits, half of their weights pruned, int8."""
    pruning = PruneConfig(sparsity=0.5, epochs=2, recovery_epochs=1, batch_size=32)
    data = BuiltinData(source="builtin", name="digits")
    return make_chain(tmp_path_factory.mktemp("digits"), data, "classification", "int8", pruning)


@pytest.fixture(scope="module")
def exported(digits: Chain, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    target = TargetConfig(max_score_drop=0.1, min_score=0.5, max_model_bytes=10_000, max_arena_bytes=50_000)
    return make_export(digits.inputs, tmp_path_factory.mktemp("export"), target)


@pytest.fixture(scope="module")
def regression(tmp_path_factory: pytest.TempPathFactory) -> tuple[Chain, Exported]:
    """A table with a missing number and a category, float16, which TFLite Micro refuses; not pruned."""
    folder = tmp_path_factory.mktemp("table")
    generator = np.random.default_rng(1)
    area, district = generator.uniform(20, 120, 200), generator.integers(0, 3, 200)
    rent = 300 + 9 * area + 150 * district + generator.normal(0, 20, 200)
    names = ("north", "south", "west")
    lines = [
        f"{'' if row % 19 == 7 else f'{area[row]:.1f}'},{names[district[row]]},{rent[row]:.1f}" for row in range(200)
    ]
    (folder / "flats.csv").write_text("area,district,rent\n" + "\n".join(lines) + "\n")
    data = TableData(source="table", path=str(folder / "flats.csv"), target="rent")
    chain = make_chain(folder / "stages", data, "regression", "float16", None)
    return chain, make_export(chain.inputs, folder / "export", TargetConfig(max_arena_bytes=10_000_000))


# ----------------------------------------------------------------------------------- what is written


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


COMMON = {
    "model.tflite",
    "model_data.cc",
    "model_data.h",
    "golden/inputs_raw.npy",
    "golden/inputs_quantized.npy",
    "golden/outputs_expected.npy",
    "golden/golden.h",
    "preprocessing.json",
    "labels.txt",
    "variants/float32.tflite",
}


def test_bundle_of_images_holds_exactly_its_files(exported: Exported) -> None:
    assert _files(exported.folder) == COMMON | {"variants/int8.tflite"}
    model = (exported.folder / "model.tflite").read_bytes()
    assert model == (exported.folder / "variants" / "int8.tflite").read_bytes()
    assert (exported.folder / "labels.txt").read_text() == "".join(f"{digit}\n" for digit in range(10))


def test_bundle_of_a_table_has_its_preprocessing_in_c(regression: tuple[Chain, Exported]) -> None:
    sources = {"preprocessing.c", "preprocessing.h", "variants/float16.tflite"}
    assert _files(regression[1].folder) == COMMON | sources


def test_golden_vectors_start_at_raw_pixels(digits: Chain, exported: Exported) -> None:
    raw, quantized, outputs = (
        np.load(exported.folder / "golden" / f"{name}.npy", allow_pickle=False)
        for name in ("inputs_raw", "inputs_quantized", "outputs_expected")
    )
    assert (raw.dtype, quantized.dtype, outputs.dtype) == (np.uint8, np.int8, np.int8)
    assert (raw.shape, outputs.shape) == ((10, 8, 8, 1), (10, 10))
    np.testing.assert_array_equal(quantized, raw.astype(np.int16) - 128)
    # Rows of the test split, not the first ones: a source may be sorted by class.
    test = digits.inputs.dataset.raw("test")
    positions = [int(np.flatnonzero((test == row).all(axis=(1, 2, 3)))[0]) for row in raw]
    assert positions != sorted(positions)
    assert exported.details["golden"] == {"rows": 10, "runtime": "TFLite Micro"}
    header = (exported.folder / "golden" / "golden.h").read_text()
    assert "TFLite Micro gave these outputs" in header
    assert "#define PENJING_GOLDEN_ROWS 3\n" in header


REPLAY = """
import sys, numpy as np
from tflite_micro import runtime
folder = sys.argv[1]
interpreter = runtime.Interpreter.from_file(folder + "/model.tflite")
inputs = np.load(folder + "/golden/inputs_quantized.npy")
outputs = np.load(folder + "/golden/outputs_expected.npy")
for row, expected in zip(inputs, outputs):
    interpreter.set_input(row[np.newaxis], 0)
    interpreter.invoke()
    assert (interpreter.get_output(0)[0] == expected).all(), expected
print(len(inputs), "replayed")
"""


def test_golden_vectors_replay_in_a_fresh_interpreter(exported: Exported) -> None:
    command = [sys.executable, "-c", REPLAY, str(exported.folder)]
    told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert told.stdout == "10 replayed\n", told.stderr


def test_float16_goes_by_litert_and_says_why(regression: tuple[Chain, Exported]) -> None:
    _, exported = regression
    assert exported.details["golden"]["runtime"] == "LiteRT"
    assert "LiteRT gave these outputs" in (exported.folder / "golden" / "golden.h").read_text()
    summary = exported.details["summary"]
    assert (summary["arena_bytes"], summary["micro_max_steps"]) == (None, None)
    assert "DEQUANTIZE" in summary["arena_reason"]
    assert "Arena: not measured" in (exported.folder / "model_data.h").read_text()
    runtime = LiteRT((exported.folder / "model.tflite").read_bytes())
    inputs = np.load(exported.folder / "golden" / "inputs_quantized.npy")
    expected = np.load(exported.folder / "golden" / "outputs_expected.npy")
    np.testing.assert_array_equal(runtime.invoke(inputs), expected)


SELF_TEST = """
#include <stdio.h>
#include "model_data.h"
#include "golden.h"
int main() {
  printf("%u %d %d\\n", penjing_model_length, PENJING_GOLDEN_ROWS, (int)penjing_model[4]);
  return PENJING_ARENA_BYTES >= PENJING_ARENA_MEASURED_BYTES ? 0 : 1;
}
"""


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler here")
def test_c_files_compile_together(exported: Exported, tmp_path: Path) -> None:
    (tmp_path / "main.cc").write_text(SELF_TEST)
    folders = [f"-I{exported.folder}", f"-I{exported.folder / 'golden'}"]
    sources = [str(tmp_path / "main.cc"), str(exported.folder / "model_data.cc")]
    strict = ["-std=c++11", "-Wall", "-Wextra", "-Werror", "-Wno-unused-const-variable", "-Wno-unused-variable"]
    subprocess.run(["g++", *strict, *folders, *sources, "-o", str(tmp_path / "test")], check=True)
    told = subprocess.run([str(tmp_path / "test")], capture_output=True, text=True, check=True).stdout
    assert told == f"{(exported.folder / 'model.tflite').stat().st_size} 3 {ord('T')}\n"


# ------------------------------------------------------------------------------------- what is found


def test_gate_passes_and_names_every_check(exported: Exported) -> None:
    assert [gate for gate in exported.details["gates"] if not gate["passed"]] == []
    assert exported.details["passed"] is True
    assert {gate["name"] for gate in exported.details["gates"]} == GATES
    assert {key for gate in exported.details["gates"] for key in gate} == {
        "name", "passed", "figure", "limit", "stage", "message",
    }  # fmt: skip


def test_figures_are_those_of_the_files(digits: Chain, exported: Exported) -> None:
    dataset, summary = digits.inputs.dataset, exported.details["summary"]
    x, y = dataset.inputs("test"), dataset.split("test").y
    file = (exported.folder / "model.tflite").read_bytes()
    answers, keras = LiteRT(file).predict(x), predict(digits.inputs.model.load(), x)
    dense = predict(digits.inputs.dense.load(), x)
    assert summary["model_score"] == pytest.approx(np.mean(answers.argmax(1) == y))
    assert summary["float_score"] == pytest.approx(np.mean(keras.argmax(1) == y))
    assert summary["baseline_score"] == pytest.approx(np.mean(dense.argmax(1) == y))
    assert summary["agreement"] == pytest.approx(np.mean(answers.argmax(1) == keras.argmax(1)))
    assert summary["max_abs_error"] == pytest.approx(np.abs(answers - keras).max(), abs=1e-6)
    assert summary["model_bytes"] == len(file)
    assert summary["parameters"] == 64 * 16 + 16 + 16 * 10 + 10
    # Half of the 1,184 kernel weights are pruned; others may be zero by chance.
    assert summary["nonzero_parameters"] <= 1184 / 2 + 26
    assert summary["macs"] == 64 * 16 + 16 * 10
    assert summary["operators"] == ["RESHAPE", "FULLY_CONNECTED", "SOFTMAX"]
    assert summary["dataset_sha256"] == dataset.profile["dataset_sha256"]
    assert 0 < summary["arena_bytes"] < 50_000
    assert summary["micro_max_steps"] <= 2
    assert exported.details["test"].keys() == {"float32", "int8"}
    assert exported.details["test"]["int8"] == summary["model_score"]
    assert exported.details["xnnpack_difference"] >= 0


def test_confusion_and_wrong_rows_are_those_of_the_test_split(digits: Chain, exported: Exported) -> None:
    dataset, details = digits.inputs.dataset, exported.details
    test = dataset.split("test")
    answers = LiteRT((exported.folder / "model.tflite").read_bytes()).predict(dataset.inputs("test"))
    matrix = np.array(details["confusion"])
    assert matrix.sum() == len(test)
    assert np.trace(matrix) / len(test) == pytest.approx(details["summary"]["model_score"])
    np.testing.assert_array_equal(matrix.sum(axis=1), np.bincount(test.y, minlength=10))
    wrong = details["wrong"]
    assert len(wrong) == min(12, len(test) - np.trace(matrix)) > 0
    assert [each["probability"] for each in wrong] == sorted((each["probability"] for each in wrong), reverse=True)
    for each in wrong:
        position = int(np.flatnonzero(test.rows == each["row"])[0])
        assert each["true"] == str(test.y[position]) != each["predicted"] == str(answers[position].argmax())
        assert each["probability"] == pytest.approx(answers[position].max(), rel=1e-6)
        np.testing.assert_array_equal(each["pixels"], dataset.raw("test")[position])
        assert each["features"] is None
    assert details["scatter"] is None


def test_confusion_matrix_by_hand() -> None:
    matrix = confusion_matrix(np.array([0, 0, 1, 2, 2]), np.array([0, 1, 1, 0, 2]), 4)
    assert matrix == [[1, 1, 0, 0], [0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]


def test_regression_is_told_in_the_targets_unit(regression: tuple[Chain, Exported]) -> None:
    chain, exported = regression
    dataset, details = chain.inputs.dataset, exported.details
    assert details["passed"] is True
    schema, test = dataset.schema, dataset.split("test")
    true = test.y * schema.target_scale + schema.target_mean
    np.testing.assert_allclose(details["scatter"]["true"], true, rtol=1e-6)
    error = np.abs(np.array(details["scatter"]["predicted"]) - true)
    worst = details["wrong"]
    assert len(worst) == 12
    np.testing.assert_allclose(
        [abs(each["predicted"] - each["true"]) for each in worst], np.sort(error)[::-1][:12], rtol=1e-4, atol=1e-3
    )
    assert {each["probability"] for each in worst} == {None}
    assert {each["features"]["district"] for each in worst} <= {"north", "south", "west"}
    shown = [each["features"]["area"] for each in worst]
    assert all(area is None or 20 <= area <= 120 for area in shown)
    assert (details["classes"], details["confusion"]) == ([], None)
    summary = details["summary"]
    assert (summary["agreement"], summary["metric"]) == (None, "r2")
    residual, total = np.sum(error**2), np.sum((true - true.mean()) ** 2)
    assert summary["model_score"] == pytest.approx(1 - residual / total, abs=1e-4)
    # Nothing was compressed before conversion: the dense model is the one that was converted.
    assert summary["baseline_score"] == summary["float_score"]


def test_a_report_can_be_drawn_from_the_details(digits: Chain, exported: Exported) -> None:
    from pipeline.report.html import render_report

    summary = summary_of("tiny", exported.details, digits.ledger, 1.0, {}, better_than_guess=True).model_dump(
        mode="json"
    )
    stage = StageRecord("export", "ab" * 32, 1.0, (), exported.details)
    profile = digits.inputs.dataset.profile
    config = "name: tiny\ntask: classification\n"
    page = render_report(RunRecord("tiny", "classification", config, 1, (stage,), profile, summary, {}, "run"))
    assert "Verified, every target met" in page


# ------------------------------------------------------------------------------------------- targets


def test_targets_are_judged_on_validation(digits: Chain, exported: Exported) -> None:
    dataset = digits.inputs.dataset
    x, y = dataset.inputs("validation"), dataset.split("validation").y
    dense = np.mean(predict(digits.inputs.dense.load(), x).argmax(1) == y)
    score = np.mean(LiteRT((exported.folder / "model.tflite").read_bytes()).predict(x).argmax(1) == y)
    got = {target["name"]: target["got"] for target in exported.details["targets"]}
    assert list(got) == ["max_score_drop", "min_score", "max_model_bytes", "max_arena_bytes"]
    assert got["min_score"] == pytest.approx(score)
    assert got["max_score_drop"] == pytest.approx(dense - score, abs=1e-8)
    assert exported.details["met"] is True
    assert exported.details["summary"]["target"]["max_model_bytes"] == {
        "asked": 10_000,
        "got": exported.details["summary"]["model_bytes"],
        "met": True,
    }


def test_an_arena_that_cannot_be_measured_meets_no_limit(regression: tuple[Chain, Exported]) -> None:
    _, exported = regression
    assert exported.details["targets"] == [
        {"name": "max_arena_bytes", "asked": 10_000_000, "got": None, "met": False}
    ]  # fmt: skip
    assert exported.details["met"] is False
    assert exported.details["passed"] is True  # a target that is missed is no failure of the gate


# ------------------------------------------------------------------------------- what must not pass


def _tampered(digits: Chain, folder: Path) -> tuple[export.Inputs, bytes]:
    """The chain with an int8 file in which a pruned weight is not zero any more."""
    folder.mkdir()
    for precision in digits.inputs.variants.names:
        shutil.copyfile(digits.inputs.variants.path(precision), folder / f"{precision}.tflite")
    path = folder / "int8.tflite"
    file = bytearray(path.read_bytes())
    model = digits.inputs.model.load()
    mask = digits.inputs.model.masks()["dense_1"]
    assert not prunable_kernels(model).kernels["dense_1"].numpy()[~mask].any()
    # The kernel lies in the file as it is, (out, in) int8: found by its bytes, changed in place.
    unpacked = read_model(bytes(file))
    stored = [np.asarray(buffer.data, np.uint8).tobytes() for buffer in unpacked.buffers if buffer.data is not None]
    [kernel] = [data for data in stored if len(data) == 64 * 16]
    start = bytes(file).index(kernel)
    unit, feature = np.argwhere(~mask.T)[0]
    file[start + unit * 64 + feature] = 1
    path.write_bytes(bytes(file))
    return replace(digits.inputs, variants=Variants(folder, "int8")), bytes(file)


def test_a_tampered_variant_is_not_passed(digits: Chain, tmp_path: Path) -> None:
    inputs, file = _tampered(digits, tmp_path / "variants")
    found = make_export(inputs, tmp_path / "export")
    assert found.details["passed"] is False
    failed = [gate for gate in found.details["gates"] if not gate["passed"]]
    assert [(gate["name"], gate["stage"], gate["figure"]) for gate in failed] == [("pruned zeros", "convert", 1.0)]
    assert "layer 'dense_1': 1 of" in failed[0]["message"]
    # It is written all the same, for a look: the run puts it aside.
    assert (found.folder / "model.tflite").read_bytes() == file


def test_summary_is_complete_and_survives_json(digits: Chain, exported: Exported) -> None:
    summary = summary_of("tiny", exported.details, digits.ledger, 12.5, {"numpy": "2"}, better_than_guess=True)
    text = summary.model_dump_json()
    assert Summary.model_validate_json(text) == summary
    written = json.loads(text)
    assert written["schema_version"] == 2
    assert written["precision"] == "int8"
    assert written["input"] == {
        "dtype": "int8",
        "shape": [1, 8, 8, 1],
        "scale": pytest.approx(1 / 255, rel=1e-6),
        "zero_point": -128,
    }
    assert (written["output"]["dtype"], written["output"]["shape"]) == ("int8", [1, 10])
    assert [row["stage"] for row in written["ledger"]] == ["train", "prune", "convert", "convert"]
    assert written.keys() == Summary.model_fields.keys()
    of_other_tasks = {"reconstruction", "clustering"}
    assert {written[name] for name in of_other_tasks} == {None}
    assert set(Summary.model_json_schema()["required"]) == written.keys() - of_other_tasks - {"arena_reason"}

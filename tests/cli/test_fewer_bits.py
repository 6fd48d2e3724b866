"""Clustering, quantization-aware training, encodings and mixtures, from a config to a bundle that is proven."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.tflite.interpreter import LiteRT
from models.tflite.micro import MicroResult, run_micro
from tests.cli.small_run import Run, digest

CONFIG = """\
name: bits
seed: 1
task: classification
data: {source: builtin, name: digits}
model: {family: mlp, units: [64]}
train: {epochs: 6, batch_size: 32, optimizer: {learning_rate: 0.01}}
prune: {unit: [node, weight], sparsity: 0.25, weight_sparsity: 0.6, epochs: 1, recovery_epochs: 1, batch_size: 32}
cluster: {clusters: 16, epochs: 1, batch_size: 32}
quantize: {precision: int8, encoding: sparse, aware: {epochs: 1, batch_size: 32}}
convert: {variants: [float32, int16x8, int4, int8_tables_micro]}
"""


@dataclass(frozen=True)
class Compressed:
    """A finished run."""

    config: Path
    workdir: Path
    printed: str

    @property
    def export(self) -> Path:
        return self.workdir / "bits" / "export"

    def details(self, stage: str) -> dict[str, Any]:
        key = json.loads((self.workdir / "bits" / "run.json").read_text())["keys"][stage]
        told = json.loads((self.workdir / "store" / stage / key / "manifest.json").read_text())
        details: dict[str, Any] = told["details"]
        return details


@pytest.fixture(scope="module")
def compressed(penjing: Run, tmp_path_factory: pytest.TempPathFactory) -> Compressed:
    folder = tmp_path_factory.mktemp("bits")
    (folder / "bits.yaml").write_text(CONFIG)
    told = penjing("run", folder / "bits.yaml", "--workdir", folder / "runs")
    assert told.returncode == 0, told.stdout + told.stderr
    return Compressed(folder / "bits.yaml", folder / "runs", told.stdout)


def test_the_encoded_model_is_handed_over_and_proven(compressed: Compressed) -> None:
    summary = json.loads((compressed.export / "summary.json").read_text())
    assert summary["precision"] == "int8_sparse_micro"
    assert summary["latency_us"] is None
    assert "CUSTOM:TFLM_DECODE" in summary["operators"]
    model, plain = compressed.export / "model.tflite", compressed.export / "variants" / "int8.tflite"
    assert digest(model) == digest(plain.with_name("int8_sparse_micro.tflite"))
    assert summary["model_bytes"] == model.stat().st_size < 0.85 * plain.stat().st_size
    gates = {gate["name"]: gate for gate in compressed.details("export")["gates"]}
    assert {"pruned zeros", "clusters", "encoded weights", "TFLite Micro", "golden vectors"} <= gates.keys()
    assert all(gate["passed"] for gate in gates.values())


def test_golden_vectors_replay_from_the_encoded_file(compressed: Compressed) -> None:
    golden = compressed.export / "golden"
    result = run_micro((compressed.export / "model.tflite").read_bytes(), np.load(golden / "inputs_quantized.npy"))
    assert isinstance(result, MicroResult)
    np.testing.assert_array_equal(result.outputs, np.load(golden / "outputs_expected.npy"))


def test_firmware_is_told_of_the_operator(compressed: Compressed) -> None:
    assert "resolver.AddDecode() == 0" in (compressed.export / "model_data.h").read_text()


def test_every_variant_has_its_figures_or_its_reason(compressed: Compressed) -> None:
    details = compressed.details("convert")
    told = {variant["precision"]: variant for variant in details["variants"]}
    made = {*told, *(each["variant"] for each in details["refused"])}
    assert made == {"float32", "int8", "int16x8", "int4", "int8_sparse_micro", "int8_tables_micro"}
    assert told["int4"]["bytes"] < told["int8"]["bytes"]
    assert told["int8_sparse_micro"]["litert_reason"] == "Only TFLite Micro unpacks its weights"
    assert told["int8_sparse_micro"]["arena_bytes"] > told["int8"]["arena_bytes"]
    assert told["int8_sparse_micro"]["score"] == told["int8"]["score"]
    assert all(variant["zstd_bytes"] > 0 for variant in told.values())


def test_predictions_are_those_of_the_same_numbers_unpacked(compressed: Compressed, penjing: Run) -> None:
    rows = compressed.config.with_name("rows.npy")
    golden = compressed.export / "golden"
    np.save(rows, np.load(golden / "inputs_raw.npy"))
    told = penjing("predict", "bits", rows, "--json", "--workdir", compressed.workdir)
    assert told.returncode == 0, told.stderr
    runtime = LiteRT((compressed.export / "variants" / "int8.tflite").read_bytes())
    answers = runtime.dequantize(runtime.invoke(np.load(golden / "inputs_quantized.npy")))
    labels = [prediction["label"] for prediction in json.loads(told.stdout)]
    assert labels == [str(code) for code in answers.argmax(axis=1)]


def test_the_report_tells_of_clusters_ranges_and_encodings(compressed: Compressed) -> None:
    report = (compressed.export / "report.html").read_text()
    for text in ("Fewer bits", "Kernels that are clustered", "Quantization-aware training", "What int8_sparse_micro"):
        assert text in report
    assert "Why a runtime does not run some of them" in report


@pytest.mark.parametrize(
    ("override", "code", "message"),
    [
        ("quantize={precision: int4, layers: {dense: int8}}", 2, "got 'dense' (the nearest is 'dense_1')"),
        ("quantize={precision: float32, layers: {dense_1: int8}}", 2, "quantize.layers: expected none with precision"),
        ("quantize={precision: int4, encoding: sparse}", 2, "quantize.encoding: expected dense with precision int4"),
        ("quantize={precision: int4, aware: {}}", 2, "quantize.aware: expected it with precision int8 alone"),
        ("cluster.clusters=1", 2, "cluster.clusters: expected a whole number from 2 to 256, got 1."),
        ("cluster={clusters: 256, min_layer_weights: 100000}", 2, "expected a layer with enough weights for 256"),
        ("quantize={precision: int8, encoding: tables}", 0, ""),
    ],
)
def test_what_cannot_be_is_told_in_one_line(
    compressed: Compressed, penjing: Run, override: str, code: int, message: str
) -> None:
    told = penjing("run", compressed.config, override, "name=other", "--to", "convert", "--workdir", compressed.workdir)
    assert told.returncode == code, told.stderr
    assert message in told.stderr.replace("\n", " ")
    assert "Traceback" not in told.stderr


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["prune={unit: node, scope: local, sparsity: 0.999}"],
            "prune.sparsity: expected at most 0.9843 where dense_1 keeps one of its 64 nodes under local scope, got "
            "0.999, which leaves none. Lower it, or set prune.scope to global.",
        ),
        (
            ["prune={scope: local, sparsity: 0.9999}"],
            "prune.sparsity: expected at most 0.9997 where dense_1 keeps one of its 4096 weights under local scope, "
            "got 0.9999, which leaves none.",
        ),
        (
            ["prune=null", "quantize={}", "cluster={clusters: 256, min_layer_weights: 5000}"],
            "cluster.clusters: expected a layer with enough weights for 256 clusters, got none",
        ),
        (
            ["prune={unit: node, criterion: batch_normalization_scale}"],
            "prune.criterion: expected another where some nodes have no batch normalization, got "
            "batch_normalization_scale with an mlp. Choose taylor, l1 or l2.",
        ),
        (
            ["quantize={precision: int4, aware: {}}"],
            "quantize.aware: expected it with precision int8 alone, without layers and dense_scales, got precision "
            "int4. Change that",
        ),
    ],
)
def test_what_cannot_be_is_one_message(
    compressed: Compressed, penjing: Run, overrides: list[str], message: str
) -> None:
    told = penjing("run", compressed.config, "name=refused", *overrides, "--workdir", compressed.workdir)
    assert told.returncode == 2, told.stderr
    lines = [line for line in told.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert message in lines[0]
    assert "Traceback" not in told.stderr


def test_a_report_of_an_earlier_run_is_told_as_such(compressed: Compressed, penjing: Run) -> None:
    told = penjing(
        "run",
        compressed.config,
        "prune={scope: local, sparsity: 0.9999}",
        "--workdir",
        compressed.workdir,
        "--to",
        "prune",
    )
    assert told.returncode == 2
    report = compressed.workdir / "bits" / "report.html"
    assert f"{report} is that of an earlier run" in " ".join((told.stdout + told.stderr).split())


def test_an_arena_limit_that_no_encoding_meets_is_a_missed_target(compressed: Compressed, penjing: Run) -> None:
    limit = "target={max_arena_bytes: 1500}"
    told = penjing("run", compressed.config, "name=tight", limit, "--workdir", compressed.workdir)
    assert told.returncode == 4, told.stderr
    assert "target.max_arena_bytes: expected at most 1,500 bytes, got" in told.stderr
    summary = json.loads((compressed.workdir / "tight" / "export" / "summary.json").read_text())
    assert summary["precision"] == "int8_sparse_micro"
    assert "LiteRT refuses it" in (compressed.workdir / "tight" / "export" / "MODEL_CARD.md").read_text()

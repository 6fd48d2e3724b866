"""Records that reports are drawn from in tests: a run with every stage, a small regression, one cut short."""

from __future__ import annotations

import math
from typing import Any

from pipeline.ledger import LedgerRow
from pipeline.report.record import RunRecord, StageRecord

DIGIT = [
    [0, 0, 80, 207, 143, 16, 0, 0],
    [0, 0, 207, 239, 159, 239, 80, 0],
    [0, 48, 239, 32, 0, 175, 127, 0],
    [0, 64, 191, 0, 0, 127, 127, 0],
    [0, 80, 127, 0, 0, 143, 127, 0],
    [0, 64, 175, 0, 16, 191, 111, 0],
    [0, 32, 223, 80, 159, 191, 0, 0],
    [0, 0, 96, 207, 159, 0, 0, 0],
]

CONFIG = """\
name: digits
seed: 7
task: classification
data:
  source: builtin
  name: digits
  validation_fraction: 0.15
  test_fraction: 0.15
model:
  family: mlp
  units: [32, 16]
  activation: relu
train:
  mode: layer_wise
  epochs: 30
  batch_size: 64
pretrain: {kind: denoising_autoencoder, epochs: 6}
tune: {trials: 9, oracle: bayesian}
prune: {scope: global, unit: weight, sparsity: 0.5}
quantize: {precision: int8}
target: {max_score_drop: 0.01, max_model_bytes: 12000}
"""


def ledger_row(stage: str, variant: str, score: float, **changed: Any) -> LedgerRow:
    """Returns a ledger row of a small network, with what a test wants to be different."""
    figures = {
        "parameters": 2778,
        "nonzero_parameters": 2770,
        "macs": 2720,
        "tflite_bytes": 13_212,
        "tflite_gzip_bytes": 11_870,
        "seconds": 4.2,
    }
    return LedgerRow(stage=stage, variant=variant, score=score, **(figures | changed))


def history(epochs: int, loss: float, floor: float, first: float, last: float) -> list[dict[str, Any]]:
    """Returns records of a training whose loss falls and whose score rises, with small deterministic waves."""
    return [
        {
            "epoch": epoch,
            "loss": floor + (loss - floor) * math.exp(-epoch / (epochs / 5)),
            "score": last - (last - first) * math.exp(-epoch / (epochs / 6)) + 0.004 * math.sin(epoch * 2.1),
            "learning_rate": 0.001 * (1 + math.cos(math.pi * epoch / epochs)),
            "seconds": 0.11,
            "samples_per_second": 11_430.0 + epoch,
        }
        for epoch in range(1, epochs + 1)
    ]


def trials() -> list[dict[str, Any]]:
    """Returns trial 0 and nine others, one of which failed."""
    found = [{"trial": 0, "kind": "none", "l1": 0.0, "l2": 0.0, "score": 0.9701, "state": "done", "seconds": 0.0}]
    tried = [
        ("l1", 2.1e-6, 0.0, 0.9701),
        ("l2", 0.0, 3.3e-5, 0.9739),
        ("elastic_net", 1.2e-5, 4.0e-5, 0.9776),
        ("l1", 4.8e-4, 0.0, 0.9590),
        ("l2", 0.0, 8.0e-3, 0.9440),
        ("elastic_net", 5.1e-3, 2.2e-3, 0.9067),
        ("l1", 6.0e-5, 0.0, 0.9739),
        ("l2", 0.0, 4.2e-4, 0.9664),
        ("l2", 0.0, 9.9e-3, None),
    ]
    for number, (kind, l1, l2, score) in enumerate(tried, start=1):
        state = "failed" if score is None else "done"
        found.append(
            {"trial": number, "kind": kind, "l1": l1, "l2": l2, "score": score, "state": state, "seconds": 2.0 + number}
        )
    return found


def confusion(classes: int, rows: int) -> list[list[int]]:
    """Returns a confusion matrix that is right but for a few rows of classes 3 and 8."""
    matrix = [[rows if i == j else 0 for j in range(classes)] for i in range(classes)]
    matrix[8][3], matrix[8][8] = 4, rows - 4
    matrix[3][8], matrix[3][3] = 1, rows - 1
    return matrix


def gates(*, failed: bool = False) -> list[dict[str, Any]]:
    """Returns the checks of an export; with `failed`, TFLite Micro is 5 steps away."""
    found = [
        ("built-in operators", "none", "none", "convert", "All operators are built in: FULLY_CONNECTED, SOFTMAX."),
        ("pixel input", "scale 0.00392156886, zero point -128", "scale 1/255, zero point -128", "convert", "As meant."),
        ("same outputs as Keras", 0.0124, 0.05, "convert", "The largest difference is 0.0124, of at most 0.05."),
        (
            "TFLite Micro",
            5.0 if failed else 1.0,
            2.0,
            "convert",
            "expected at most 2 steps, got 5." if failed else "Ok.",
        ),
        ("pruned zeros", 0.0, 0.0, "prune", "All 1360 pruned weights are zero, in 3 layers."),
    ]
    return [
        {
            "name": name,
            "passed": not (failed and name == "TFLite Micro"),
            "figure": figure,
            "limit": limit,
            "stage": stage,
            "message": message,
        }
        for name, figure, limit, stage, message in found
    ]


def profile() -> dict[str, Any]:
    """Returns the profile of the digits, as ingest writes it."""
    names = [str(digit) for digit in range(10)]
    return {
        "version": 1,
        "source": {"source": "builtin", "name": "digits", "origin": "scikit-learn, load_digits"},
        "task": "classification",
        "rows": {"total": 1797, "train": 1257, "validation": 270, "test": 270},
        "input_kind": "image",
        "input_shape": [8, 8, 1],
        "input_range": [0.0, 1.0],
        "stored_range": [0.0, 255.0],
        "target": {"name": "class"},
        "class_balance": {
            "train": {name: 120 + 2 * i for i, name in enumerate(names)},
            "validation": {name: 25 + i % 3 for i, name in enumerate(names)},
            "test": {name: 26 + i % 2 for i, name in enumerate(names)},
        },
        "columns": [],
        "left_out": [],
        "constant_columns": [],
        "duplicate_columns": [],
        "duplicates": {
            "rows": 3,
            "across_splits": {"train/validation": 1, "train/test": 0, "validation/test": 0},
            "conflicting": 0,
        },
        "warnings": ["1 rows of the validation split are exact duplicates of train rows: a leak."],
        "stored_bytes": 129_384,
    }


def summary() -> dict[str, Any]:
    """Returns the summary of the digits' bundle."""
    return {
        "schema_version": 2,
        "name": "digits",
        "task": "classification",
        "metric": "accuracy",
        "classical_family": None,
        "model_file": "model.tflite",
        "baselines": None,
        "precision": "int8",
        "input": {"dtype": "int8", "shape": [1, 8, 8, 1], "scale": 1 / 255, "zero_point": -128},
        "output": {"dtype": "int8", "shape": [1, 10], "scale": 1 / 256, "zero_point": -128},
        "dataset_sha256": "5f1d" * 16,
        "baseline_score": 0.9815,
        "float_score": 0.9778,
        "model_score": 0.9741,
        "better_than_guess": True,
        "agreement": 0.9963,
        "max_abs_error": 0.0124,
        "model_bytes": 5_896,
        "model_gzip_bytes": 3_204,
        "model_zstd_bytes": 3_150,
        "arena_bytes": 2_348,
        "micro_max_steps": 1,
        "parameters": 2778,
        "nonzero_parameters": 1410,
        "macs": 2720,
        "latency_us": 3.48,
        "operators": ["RESHAPE", "FULLY_CONNECTED", "SOFTMAX"],
        "target": {"max_model_bytes": {"asked": 12_000, "got": 5_896, "met": True}},
        "ledger": [],
        "seconds": 38.4,
        "versions": {"tensorflow": "2.21.0"},
    }


def _details(failed: bool) -> dict[str, dict[str, Any]]:
    pruned = [("dense_1", 2048, 980), ("dense_2", 512, 290), ("output", 160, 90)]
    wrong = [
        {
            "row": 1553 + 40 * i,
            "true": "8",
            "predicted": "3",
            "probability": 0.91 - 0.07 * i,
            "pixels": [[[v] for v in r] for r in DIGIT],
            "features": None,
        }
        for i in range(5)
    ]
    shapes = [
        ("flatten", "Flatten", 64, 0),
        ("dense_1", "Dense", 32, 2080),
        ("dense_2", "Dense", 16, 528),
        ("output", "Dense", 10, 170),
    ]
    return {
        "build": {
            "family": "mlp",
            "layers": [{"name": n, "type": t, "output_shape": [None, s], "parameters": p} for n, t, s, p in shapes],
        },
        "pretrain": {
            "kind": "denoising_autoencoder",
            "layers": [
                {"layer": "dense_1", "loss": [0.21, 0.12, 0.09, 0.075, 0.07, 0.068], "score": []},
                {"layer": "dense_2", "loss": [0.6, 0.41, 0.33, 0.3, 0.29, 0.285], "score": []},
            ],
        },
        "train": {
            "metric": "accuracy",
            "history": history(30, 2.3, 0.05, 0.4, 0.97),
            "stopped_by": "patience",
            "best_epoch": 26,
        },
        "tune": {"metric": "accuracy", "trials": trials(), "best": 3, "history": history(12, 2.1, 0.06, 0.5, 0.976)},
        "prune": {
            "parts": [
                {
                    "unit": "weight",
                    "scope": "global",
                    "sparsity": 0.5,
                    "layers": [{"name": n, "weights": w, "nonzero": z, "sparsity": 1 - z / w} for n, w, z in pruned],
                    "left_out": [{"name": "flatten", "reason": "it has no weights"}],
                    "schedule": [{"step": s, "sparsity": 0.5 * (1 - (1 - s / 80) ** 3)} for s in range(10, 81, 10)],
                    "history": history(6, 0.4, 0.1, 0.9, 0.97),
                    "stopped_by": "epochs",
                }
            ]
        },
        "convert": {
            "chosen": "int8",
            "calibration_rows": 256,
            "variants": [
                {
                    "precision": "float32",
                    "file": "float32.tflite",
                    "bytes": 13_212,
                    "gzip_bytes": 6_742,
                    "score": 0.9739,
                },
                {
                    "precision": "float16",
                    "file": "float16.tflite",
                    "arena_reason": "TFLite Micro refused the model",
                    "bytes": 8_460,
                    "gzip_bytes": 5_010,
                    "score": 0.9739,
                },
                {
                    "precision": "dynamic_range",
                    "file": "dynamic_range.tflite",
                    "bytes": 6_320,
                    "gzip_bytes": 3_390,
                    "score": 0.9739,
                },
                {
                    "precision": "int8",
                    "file": "int8.tflite",
                    "bytes": 5_896,
                    "gzip_bytes": 3_204,
                    "score": 0.9701,
                    "zstd_bytes": 3_150,
                    "arena_bytes": 2_348,
                    "arena_reason": None,
                    "latency_us": 3.48,
                },
            ],
        },
        "export": {
            "gates": gates(failed=failed),
            "targets": [
                {"name": "max_score_drop", "asked": 0.01, "got": 0.0075, "met": True},
                {"name": "max_model_bytes", "asked": 12_000, "got": 5_896, "met": True},
            ],
            "classes": [str(digit) for digit in range(10)],
            "confusion": confusion(10, 27),
            "scatter": None,
            "wrong": wrong,
            "test": {"float32": 0.9778, "float16": 0.9778, "dynamic_range": 0.9778, "int8": 0.9741},
            "summary": summary(),
        },
    }


def _ledgers() -> dict[str, tuple[LedgerRow, ...]]:
    sparse = {"nonzero_parameters": 1410, "tflite_gzip_bytes": 6_742}
    later = {**sparse, "seconds": 0.0}
    return {
        "build": (ledger_row("build", "keras", 0.0963, seconds=0.9),),
        "pretrain": (ledger_row("pretrain", "keras", 0.1185, seconds=3.1),),
        "train": (ledger_row("train", "keras", 0.9701, seconds=6.0),),
        "tune": (ledger_row("tune", "keras", 0.9776, tflite_gzip_bytes=11_731, seconds=18.7),),
        "prune": (ledger_row("prune", "keras", 0.9739, **sparse, seconds=4.4),),
        "convert": (
            ledger_row("convert", "float32", 0.9739, **sparse, seconds=2.2),
            ledger_row("convert", "float16", 0.9739, **later | {"tflite_bytes": 8_460, "tflite_gzip_bytes": 5_010}),
            ledger_row(
                "convert", "dynamic_range", 0.9739, **later | {"tflite_bytes": 6_320, "tflite_gzip_bytes": 3_390}
            ),
            ledger_row("convert", "int8", 0.9701, **later | {"tflite_bytes": 5_896, "tflite_gzip_bytes": 3_204}),
        ),
    }


VERSIONS = {"python": "3.11.11", "tensorflow": "2.21.0", "tf_keras": "2.21.0", "numpy": "2.4.6"}


def full_record(*, failed_gate: bool = False) -> RunRecord:
    """Returns a classification with every stage; its pruning leaves the .tflite file at 13,212 bytes."""
    details, ledgers = _details(failed_gate), _ledgers()
    names = ("ingest", "build", "pretrain", "train", "tune", "prune", "convert", "export")
    stages = tuple(
        StageRecord(name, f"{i}a4c9f0e" * 8, 1.5 * i + 0.4, ledgers.get(name, ()), details.get(name, {}))
        for i, name in enumerate(names)
    )
    command = "python run_pipeline.py run configs/digits.yaml"
    return RunRecord("digits", "classification", CONFIG, 7, stages, profile(), summary(), VERSIONS, command)


REGRESSION_CONFIG = """\
name: flats
seed: 1
task: regression
data: {source: table, path: flats.csv, target: rent}
model: {family: mlp, units: [16], activation: relu}
train: {mode: end_to_end, epochs: 8}
target: {min_score: 0.8}
"""


def regression_record() -> RunRecord:
    """Returns a regression without tuning, pruning or quantization, whose target is missed."""
    true = [400.0 + 37.5 * i for i in range(40)]
    predicted = [value * 0.9 + 90 + 60 * math.sin(i) for i, value in enumerate(true)]
    columns = [
        {
            "name": "area",
            "kind": "numeric",
            "missing": 2,
            "distinct": 180,
            "used": True,
            "why_left_out": None,
            "min": 18.0,
            "max": 240.5,
            "mean": 71.2,
            "std": 28.4,
        },
        {
            "name": "district",
            "kind": "categorical",
            "missing": 0,
            "distinct": 3,
            "used": True,
            "why_left_out": None,
            "top": [{"value": "north", "rows": 120}, {"value": "south", "rows": 90}, {"value": "west", "rows": 56}],
        },
        {
            "name": "listing_id",
            "kind": "identifier",
            "missing": 0,
            "distinct": 266,
            "used": False,
            "why_left_out": "an identifier: every value occurs once",
        },
    ]
    rents = {
        "version": 1,
        "source": {"source": "table", "file": "flats.csv"},
        "task": "regression",
        "rows": {"total": 266, "train": 186, "validation": 40, "test": 40},
        "input_kind": "vector",
        "input_shape": [5],
        "input_range": None,
        "stored_range": [-2.11, 4.87],
        "target": {"name": "rent", "min": 390.0, "max": 1930.0, "mean": 1101.5, "std": 388.2},
        "class_balance": None,
        "columns": columns,
        "left_out": [{"name": "listing_id", "reason": "an identifier: every value occurs once"}],
        "constant_columns": [],
        "duplicate_columns": [],
        "duplicates": {
            "rows": 0,
            "across_splits": {"train/validation": 0, "train/test": 0, "validation/test": 0},
            "conflicting": 0,
        },
        "warnings": [],
        "stored_bytes": 6_400,
    }
    figures = summary() | {
        "name": "flats",
        "task": "regression",
        "input": {"dtype": "float32", "shape": [1, 5], "scale": None, "zero_point": None},
        "metric": "r2",
        "baseline_score": 0.7712,
        "float_score": 0.7712,
        "model_score": 0.7712,
        "agreement": None,
        "max_abs_error": 3.1e-6,
        "model_bytes": 2_104,
        "model_gzip_bytes": 1_380,
        "arena_bytes": None,
        "arena_reason": "TFLite Micro has no such operator: EXAMPLE",
        "micro_max_steps": None,
    }
    wrong = [
        {
            "row": 31 + i,
            "true": true[i],
            "predicted": predicted[i],
            "probability": None,
            "pixels": None,
            "features": {"area": 52.0 + i, "district": "north" if i else None},
        }
        for i in range(3)
    ]
    export = {
        "gates": gates()[:2],
        "targets": [{"name": "min_score", "asked": 0.8, "got": 0.7802, "met": False}],
        "classes": [],
        "confusion": None,
        "scatter": {"true": true, "predicted": predicted},
        "wrong": wrong,
        "test": {"float32": 0.7712},
        "summary": figures,
    }
    trained = {"metric": "r2", "history": history(8, 1.0, 0.2, -0.2, 0.78), "stopped_by": "epochs", "best_epoch": 8}
    variant = {"precision": "float32", "file": "float32.tflite", "bytes": 2_104, "gzip_bytes": 1_380, "score": 0.7802}
    small = {
        "parameters": 113,
        "nonzero_parameters": 113,
        "macs": 96,
        "tflite_bytes": 2_104,
        "tflite_gzip_bytes": 1_380,
    }
    stages = (
        StageRecord("ingest", "ab" * 32, 0.3, (), {}),
        StageRecord("train", "cd" * 32, 2.0, (ledger_row("train", "keras", 0.7802, **small),), trained),
        StageRecord(
            "convert",
            "ef" * 32,
            1.0,
            (ledger_row("convert", "float32", 0.7802, **small),),
            {"chosen": "float32", "calibration_rows": 186, "variants": [variant]},
        ),
        StageRecord("export", "01" * 32, 1.0, (), export),
    )
    command = "python run_pipeline.py run flats.yaml"
    return RunRecord("flats", "regression", REGRESSION_CONFIG, 1, stages, rents, figures, VERSIONS, command)

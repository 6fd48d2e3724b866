"""The files of a bundle, for fuzz.py and the tests: each in turn is changed, with sums that fit."""

from __future__ import annotations

import hashlib
import io
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fuzzed_readers import Kind, npy, zipped


def json_bytes(value: Any) -> bytes:
    """Returns a value as JSON."""
    return json.dumps(value).encode()


PREPROCESSING: dict[str, Any] = {
    "version": 1,
    "kind": "vector",
    "source": "table",
    "input_shape": [3],
    "kept_inputs": None,
    "columns": [
        {"kind": "numeric", "name": "a", "impute": 0.5, "indicator": False, "log": None, "mean": 0.0, "scale": 1.0},
        {"kind": "categorical", "name": "b", "categories": ["x", "z"], "slots": ["x", "z"]}
        | {"missing": [0.5, 0.5], "unseen": [0.5, 0.5]},
    ],
    "source_columns": ["a", "b"],
    "divisor": 1.0,
    "pixel_maximum": 1.0,
    "class_names": ["0", "1"],
    "target_name": "y",
    "target_mean": 0.0,
    "target_scale": 1.0,
}


def _summary() -> dict[str, Any]:
    tensor = {"dtype": "float32", "shape": [1, 3], "scale": None, "zero_point": None}
    scores = dict.fromkeys(("baseline_score", "float_score", "model_score"), 0.5)
    counts = ("model_bytes", "model_gzip_bytes", "model_zstd_bytes", "parameters", "nonzero_parameters", "macs")
    return {
        **{"schema_version": 2, "name": "tiny", "task": "classification", "metric": "accuracy", **scores},
        **{"classical_family": "logistic_regression", "model_file": "model.c", "precision": "float32"},
        **{"input": tensor, "output": tensor | {"shape": [1, 2]}, "dataset_sha256": "5f1d" * 16},
        **{"better_than_guess": True, "agreement": 1.0, "max_abs_error": 0.0, **dict.fromkeys(counts, 6)},
        **{"arena_bytes": None, "arena_reason": None, "micro_max_steps": None, "latency_us": 1.0, "operators": []},
        **{"target": {"min_score": {"asked": 0.5, "got": 0.5, "met": True}}, "ledger": [], "baselines": None},
        **{"seconds": 1.0, "versions": {}},
    }


def bundle() -> list[Kind]:
    """Each file of a bundle in turn, with sums that fit: as `predict` reads it."""
    from models.classical.forms import LinearForm, pack
    from pipeline.predict import predict

    described, arrays = pack(LinearForm(np.ones((2, 3)), np.zeros(2), "softmax"))
    stream = io.BytesIO()
    np.savez(stream, **arrays)  # type: ignore[arg-type]  # numpy types **kwds as its own flags
    rest = {f"{name}.npy": npy(array) for name, array in arrays.items()}
    files = {
        "preprocessing.json": json_bytes(PREPROCESSING),
        "summary.json": json_bytes(_summary()),
        "model.json": json_bytes(described),
        "model.npz": stream.getvalue(),
    }

    def read(path: Path) -> None:
        folder = path.parent
        for name, content in files.items():
            if name != path.name:
                (folder / name).write_bytes(content)
        if path.name != "SHA256SUMS":
            sums = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in files]
            (folder / "SHA256SUMS").write_text("".join(sums))
        (folder / "input.csv").write_bytes(b"a,b\n1,x\n2,q\n,\n")
        predict(folder, folder / "input.csv")

    packed = partial(zipped, "coefficients.npy", others=rest)
    sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in files.items()).encode()
    return [
        *(Kind(f"bundle/{name}", (content,), read) for name, content in files.items()),
        Kind("bundle/model.npz", (rest["coefficients.npy"],), read, packed),
        Kind("bundle/SHA256SUMS", (sums,), read),
    ]

"""More readers for fuzz.py and the tests: configs, model files, and what a work directory and a bundle hold."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fuzzed_bundles import bundle, json_bytes
from benchmarks.fuzzed_readers import READERS, Kind, npy, with_digest, zipped
from data.contract import PenjingError, StoreError

ROOT = Path(__file__).resolve().parents[1]
KEY = "0123456789abcdef" * 4


# ------------------------------------------------------------------------------------------ configs

ODD_YAML = (
    b"a: &a [x, x, x]\nb: &b [*a, *a, *a]\nc: [*b, *b, *b]\n",
    b'%YAML 1.2\n---\n"\\x41": |2-\n   folded\n? k\n: {0x1F: 0o7, .inf: ~}\n',
    b"seed: 1e400\nname: !!python/object/apply:os.system ['true']\n",
)


def _yaml() -> list[Kind]:
    from pipeline.config_reading.file import load_config

    shipped = tuple((ROOT / "configs" / f"{name}.yaml").read_bytes() for name in ("digits", "iris", "watch"))

    def read(path: Path) -> None:
        load_config(path)

    return [Kind("config.yaml", (*shipped, *ODD_YAML), read)]


# ------------------------------------------------------------------------------------------ model files


def _layer(kind: str, name: str, before: str | None, config: Mapping[str, Any]) -> dict[str, Any]:
    nodes = [] if before is None else [[[before, 0, 0, {}]]]
    place = {"module": "keras.layers", "registered_name": None}
    return {"class_name": kind, "config": {"name": name, **config}, "name": name, "inbound_nodes": nodes} | place


ARCHITECTURE: dict[str, Any] = {
    "class_name": "Functional",
    "module": "keras.src.engine.functional",
    "registered_name": "Functional",
    "config": {
        "name": "model",
        "trainable": True,
        "layers": [
            _layer("InputLayer", "input", None, {"batch_input_shape": [None, 4], "dtype": "float32", "sparse": False}),
            _layer("Dense", "hidden", "input", {"units": 3, "activation": "relu", "kernel_regularizer": None}),
            _layer("Dropout", "drop", "hidden", {"rate": 0.25}),
            _layer("Dense", "answer", "drop", {"units": 2, "activation": "softmax"}),
        ],
        "input_layers": [["input", 0, 0]],
        "output_layers": [["answer", 0, 0]],
    },
}
"""A network of four inputs, as tf_keras describes it."""


@cache
def weights_file(architecture: bytes | None = None) -> bytes:
    """Returns HDF5 of that network's weights, with the architecture where there is one."""
    import h5py

    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        for name, shape in (("dense", (4, 3)), ("dense_1", (3, 2))):
            for number, array in enumerate((np.zeros(shape, np.float32), np.zeros(shape[1:], np.float32))):
                file[f"layers/{name}/vars/{number}"] = array
        for name in ("vars", "layers/input_layer/vars", "layers/dropout/vars"):
            file.create_group(name)
        if architecture is not None:
            file.attrs["keras_version"] = "2.21.0"
            file.attrs["model_config"] = architecture
    return stream.getvalue()


def model_archive(architecture: bytes, weights: bytes | None = None) -> bytes:
    """Returns a `.keras` archive."""
    inside = {"metadata.json": json_bytes({"keras_version": "2.21.0"}), "model.weights.h5": weights or weights_file()}
    return zipped("config.json", architecture, inside)


def _model() -> list[Kind]:
    from pipeline.own_model.copying import copy_model
    from pipeline.own_model.foreign_code import foreign_code, refuse_foreign_code
    from pipeline.own_model.formats import read_architecture

    text = json_bytes(ARCHITECTURE)

    def read(path: Path) -> None:
        target = path.with_name("copy")
        copy_model(str(path), target)
        refuse_foreign_code(foreign_code(read_architecture(target).configs), ())

    # HDF5 keeps long attributes compactly up to 64 KiB: longer texts are left as they are, and refused by h5py.
    return [
        Kind("model.keras", (text,), read, model_archive),
        Kind("weights.keras", (weights_file(),), read, partial(model_archive, text)),
        Kind("damaged.keras", (model_archive(text),), read),
        Kind("model.h5", (weights_file(text),), read),
    ]


def _network() -> list[Kind]:
    """Networks that are made, laid on rows and asked: what `_model` looks at, to the end."""
    from data.contract import Schema
    from models.adoption import adopt
    from models.own_model_config import FileModelConfig
    from pipeline.own_model.loading import load_own_model

    shape = {"kind": "vector", "input_shape": (4,), "input_range": None, "storage_divisor": 1.0}
    schema = Schema(**shape, class_names=("a", "b"), target_name="y")  # type: ignore[arg-type]  # a mapping of several types

    def read(path: Path) -> None:
        model = load_own_model(FileModelConfig(file=str(path)), path.with_name("scratch")).model
        adopt(model, schema, "classification", "model.file", 1)

    return [Kind("network.keras", (json_bytes(ARCHITECTURE),), read, model_archive)]


# ------------------------------------------------------------------------------------------ work directory


def _manifest() -> list[Kind]:
    from pipeline.files import canonical_json, sha256_of_json
    from pipeline.store import Manifest, Store

    body = {
        "stage": "train",
        "key": KEY,
        "parts": {"seed": 1},
        "parents": [["ingest", "f" * 64]],
        "files": {"a": hashlib.sha256(b"").hexdigest()},
        "ledger": [],
        "details": {"note": "a"},
        "seconds": 2.5,
    }

    def read(path: Path) -> None:
        folder = path.parent
        (folder / "a").write_bytes(b"")
        if Store(folder.parents[1]).damage("train", KEY) is not None:
            raise StoreError("damaged")

    def signed(content: bytes) -> bytes:
        """Puts the digest in that the changed text would have."""
        try:
            found = json.loads(content)
            return canonical_json({**found, "digest": sha256_of_json(found)}).encode()
        except (ValueError, TypeError, RecursionError):
            return content

    name = f"train/{KEY}/manifest.json"
    whole = Manifest(**{**body, "parents": (("ingest", "f" * 64),), "ledger": ()}).to_json().encode()  # type: ignore[arg-type]
    return [Kind(name, (whole,), read), Kind(name, (json_bytes(body),), read, signed)]


def _run() -> list[Kind]:
    from pipeline.runs import Workdir

    said = {"name": "tiny", "task": "classification", "seed": 1, "config_text": "name: tiny\n", "command": "run"}
    seed = json_bytes({**said, "keys": {"train": KEY}, "state": "done", "published": None, "bundle": KEY})

    def read(path: Path) -> None:
        run = Workdir(path.parents[1]).require("tiny")
        _ = run.has_earlier_bundle

    return [Kind("tiny/run.json", (seed,), read)]


def _checkpoint() -> list[Kind]:
    from pipeline.checkpoints import FileCheckpoints, resumption

    state = json_bytes({"resumes_at": "epoch 2", "history": [1.5, None]})
    members = {"model/0.npy": npy(np.arange(6, dtype=np.float32).reshape(2, 3)), "best/0.npy": npy(np.zeros(2))}

    def read(path: Path) -> None:
        resumption(path.parent)
        if FileCheckpoints(path).load() is None:
            raise PenjingError("nothing is kept")

    name = "training.checkpoint"
    return [
        Kind(name, (with_digest(zipped("state.json", state, members)),), read),
        Kind(name, (zipped("state.json", state, members),), read, with_digest),
        Kind(name, (state,), read, lambda content: with_digest(zipped("state.json", content, members))),
        Kind(
            name,
            (members["model/0.npy"],),
            read,
            lambda content: with_digest(zipped("model/0.npy", content, {"state.json": state})),
        ),
    ]


def _memory() -> list[Kind]:
    from data.config import TableData
    from pipeline.files import canonical_json, sha256_of_json
    from pipeline.source_digest import source_digest

    def signed(content: bytes) -> bytes:
        try:
            return canonical_json(
                {"files": json.loads(content), "digest": sha256_of_json(json.loads(content))}
            ).encode()
        except (ValueError, RecursionError):
            return content

    def read(path: Path) -> None:
        table = path.parent / "t.csv"
        if not table.exists():
            table.write_bytes(b"a,y\n1,2\n")
            os.utime(table, ns=(0, 0))
        source_digest(TableData(source="table", path=str(table), target="y"), path)

    seed = json_bytes({"/x/t.csv": ["8|0|1", "f" * 64]})
    return [Kind("digests.json", (signed(seed),), read), Kind("digests.json", (seed,), read, signed)]


ALL_READERS: dict[str, Callable[[], list[Kind]]] = READERS | {
    "yaml": _yaml,
    "model": _model,
    "manifest": _manifest,
    "run": _run,
    "checkpoint": _checkpoint,
    "memory": _memory,
    "bundle": bundle,
}
"""Name of a reader -> the kinds of files that it takes; those that no data lies in too."""

WITH_TENSORFLOW: dict[str, Callable[[], list[Kind]]] = {"network": _network}
"""The same, of what takes seconds to import."""

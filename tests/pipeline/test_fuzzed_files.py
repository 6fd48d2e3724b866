"""Changed configs, model files, manifests, checkpoints and bundles: an error of ours, and nothing else."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.fuzzed_readers import READERS, Kind, npy, try_read, with_digest, zipped
from benchmarks.fuzzed_texts import ALL_READERS, ARCHITECTURE, KEY, model_archive, weights_file
from data import unpacking
from data.contract import ConversionError
from models.classical.forms import unpack
from pipeline.checkpoints import FileCheckpoints, resumption
from pipeline.config_reading.file import MAX_FAULTS, ConfigErrors, load_config
from pipeline.runs import Workdir
from pipeline.store import Store
from tests.mutations import ROUNDS, mutated

NAMES = [name for name in ALL_READERS if name not in READERS]
KINDS = [
    pytest.param(kind, id=f"{name}-{number}-{kind.file.rpartition('/')[2]}")
    for name in NAMES
    for number, kind in enumerate(ALL_READERS[name]())
]


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@ROUNDS
def test_any_bytes_are_read_or_refused(kind: Kind, data: Any, tmp_path: Path) -> None:
    content = data.draw(mutated(data.draw(st.sampled_from(kind.seeds))))
    refusal = try_read(kind, content, tmp_path)  # whatever else is raised, fails
    assert refusal is None or len(refusal) < 40_000


@pytest.mark.parametrize("kind", KINDS)
def test_seeds_are_files_that_are_read(kind: Kind, tmp_path: Path) -> None:
    assert None in [try_read(kind, seed, tmp_path) for seed in kind.seeds]


def read(name: str, place: int, content: bytes, folder: Path) -> str | None:
    return try_read(ALL_READERS[name]()[place], content, folder)


# ------------------------------------------------------------------------------------------ configs


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("%YAML 1.3\n---\nname: x\n", "1: expected YAML 1.2, got another: version minor part can only be 2 or 1"),
        ("name: x\nseed: " + "9" * 100_000 + "\n", "2: expected a number of at most 300 characters, got 100000."),
        ("a: " * 3, "1:5: expected YAML, got what is none"),
        ("a: " + "[" * 100_000, "1: expected at most 24 levels of nesting, got more."),
        ("a: !!python/object/apply:os.system [x]\n", "1: expected plain values, got the tag tag:yaml.org,2002:python"),
        ("a: \x00\n", "1: expected text, got the control character '\\x00'."),
    ],
)
def test_odd_yaml(tmp_path: Path, text: str, line: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigErrors) as caught:
        load_config(tmp_path / "c.yaml")
    assert str(caught.value).startswith(f"{tmp_path / 'c.yaml'}:{line}")


def test_a_config_of_faults_alone_is_told_soon(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("".join(f"a{number}: 1\n" for number in range(9_000)))
    with pytest.raises(ConfigErrors) as caught:
        load_config(tmp_path / "c.yaml")
    told = str(caught.value).splitlines()
    assert MAX_FAULTS < len(told) < 2 * MAX_FAULTS
    place = f"{tmp_path / 'c.yaml'}:1"
    assert f"{place}: expected a config with fewer faults, got 200 or more. Mend these first." in told
    assert any(line.startswith(f"{place}: a0: expected a key of the config, got 'a0'.") for line in told)


# ------------------------------------------------------------------------------------------ model files


def with_weights(change: Any) -> bytes:
    stream = io.BytesIO(weights_file())
    with h5py.File(stream, "a") as file:
        change(file)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda file: file.create_dataset("x", (2**20,), "f4", chunks=(1024,), compression="gzip"),
            "expected numbers that lie in the file as they are, got 4,194,304 bytes in 0 in /x.",
        ),
        (
            lambda file: file.create_dataset("x", data=np.zeros(2**20, "f4"), chunks=(2**20,), compression="gzip"),
            "expected numbers that lie in the file as they are, got 4,194,304 bytes in ",
        ),
        (
            lambda file: [
                file.create_dataset("x", data=np.zeros(2**12, "f4")),
                *(file.__setitem__(f"y{number}", file["x"]) for number in range(99)),
            ],
            "bytes to hold no more than that, got 1,638,492 bytes of numbers.",
        ),
    ],
)
def test_weights_that_are_not_there(tmp_path: Path, change: Any, message: str) -> None:
    assert message in str(read("model", 1, with_weights(change), tmp_path))


def test_an_archive_that_unpacks_to_far_more_than_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.keras", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("metadata.json", b'{"keras_version": "2.21.0"}')
        archive.writestr("config.json", json.dumps(ARCHITECTURE))
        with archive.open("model.weights.h5", "w") as stream:
            for _ in range(9):
                stream.write(bytes(2**20))
    monkeypatch.setattr(unpacking, "UNPACKED_FREELY_BYTES", 2**20)
    kind = next(kind for kind in ALL_READERS["model"]() if kind.file == "damaged.keras")
    with pytest.raises(
        Exception, match=r"^model\.file: expected an archive that unpacks to at most 1,048,576 bytes, got 9,43"
    ):
        kind.read(tmp_path / "bomb.keras")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"a": ' * 50_000, "expected JSON in config.json, got none (maximum recursion depth exceeded"),
        (b'{"class_name": "Functional", "config": ' + b"9" * 10_000 + b"}", "expected JSON in config.json, got none"),
        (b'{"class_name": "__lambda__", "config": {"value": ["YQ==", null, null]}}', "got a Python lambda in layer"),
        (b'{"class_name": "system", "module": "os", "config": {}}', "got the class os.system in layer 'the model'"),
        (b"[]", "expected a mapping in config.json, got list"),
    ],
)
def test_architectures_that_are_none(tmp_path: Path, text: bytes, message: str) -> None:
    assert message in str(read("model", 0, text, tmp_path))


# ------------------------------------------------------------------------------------------ work directory


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe", b"null", b"9" * 10_000])
def test_json_that_is_none(tmp_path: Path, content: bytes) -> None:
    assert "got a damaged file" in str(read("run", 0, content, tmp_path))
    assert read("manifest", 0, content, tmp_path) == "damaged"
    assert read("memory", 0, content, tmp_path) is None  # what only saves time is made anew
    for place in (0, 1):
        assert "broken" in str(read("bundle", place, content, tmp_path)) or "another" in str(
            read("bundle", place, content, tmp_path)
        )


def test_pipes_in_the_work_directory_are_not_waited_for(tmp_path: Path) -> None:
    for path in (tmp_path / "tiny" / "run.json", tmp_path / "store" / "train" / KEY / "manifest.json"):
        path.parent.mkdir(parents=True)
        os.mkfifo(path)
    os.mkfifo(tmp_path / "a.checkpoint")
    assert Workdir(tmp_path).read("tiny") is None
    assert Store(tmp_path / "store").damage("train", KEY) == "manifest.json is missing or was changed"
    assert FileCheckpoints(tmp_path / "a.checkpoint").load() is None
    assert resumption(tmp_path) is None


STATE = b'{"resumes_at": "epoch 2"}'


@pytest.mark.parametrize(
    "content",
    [
        b"",
        zipped("state.json", b"{"),
        zipped("state.json", b"[1]"),
        zipped("other.json", STATE),
        zipped("state.json", b"[" * 100_000),
        zipped("state.json", STATE, {"a.npy": b"no array"}),
        zipped("state.json", STATE, {"a.npy": npy(np.zeros(2))[:-1]}),
        zipped("state.json", STATE, {"a.npy": npy(np.zeros(2)).replace(b"(2,)", b"(9,)")}),
        zipped("state.json", STATE, {"a.npy": npy(np.zeros(2)).replace(b"'<f8'", b"'|O' ")}),
    ],
)
def test_checkpoints_with_a_digest_that_fits_and_nothing_else(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.checkpoint").write_bytes(with_digest(content))
    assert FileCheckpoints(tmp_path / "a.checkpoint").load() is None


# ------------------------------------------------------------------------------------------ classical models

TREE = {
    "features": np.array([0, -1, -1], np.int32),
    "thresholds": np.zeros(3, np.float32),
    "nexts": np.array([2, 0, 1], np.int32),
    "roots": np.array([0], np.int32),
    "leaves": np.array([[0.0, 1.0], [1.0, 0.0]]),
}
KERNEL = {
    "support": np.zeros((3, 2)),
    "weights": np.zeros((1, 3)),
    "intercepts": np.zeros(1),
    "counts": np.array([1, 2]),
}


@pytest.mark.parametrize(
    ("form", "changes", "got"),
    [
        ("trees", {"nexts": np.array([0, 0, 1], np.int32)}, "node 0 of 3, which leads elsewhere"),  # round and round
        ("trees", {"nexts": np.array([2, 0, 9], np.int32)}, "node 2 of 3"),
        ("trees", {"features": np.array([7, -1, -1], np.int32)}, "node 0 of 3"),
        ("trees", {"features": np.array([0, -1, 0], np.int32)}, "node 2 of 3"),
        ("trees", {"features": np.zeros(3)}, "float64 of shape (3,)"),
        ("trees", {"roots": np.array([1], np.int32)}, "roots in another order"),
        ("trees", {"leaves": np.array([[np.nan]])}, "float64 of shape (1, 1)"),
        ("trees", {"leaves": np.zeros((0, 2))}, "3 nodes, 1 trees"),
        ("kernel", {"counts": np.array([5, 2])}, "and gamma 0.5"),
        ("kernel", {"weights": np.zeros((2, 3))}, "and gamma 0.5"),
        ("kernel", {"intercepts": np.zeros((1, 1))}, "float64 of shape (1, 1)"),
        ("linear", {"intercepts": np.zeros(3)}, "(2, 2) and (3,)"),
        ("linear", {"coefficients": np.zeros((0, 2)), "intercepts": np.zeros(0)}, "(0, 2) and (0,)"),
    ],
)
def test_forms_whose_parts_do_not_fit(form: str, changes: dict[str, Any], got: str) -> None:
    linear = {"coefficients": np.zeros((2, 2)), "intercepts": np.zeros(2)}
    arrays = {"trees": TREE, "kernel": KERNEL, "linear": linear}[form]
    answers = {
        "trees": {"num_features": 1},
        "kernel": {"answer": "votes", "gamma": 0.5},
        "linear": {"answer": "softmax"},
    }
    unpack({"form": form, **answers[form]}, arrays)
    with pytest.raises(ConversionError) as caught:
        unpack({"form": form, **answers[form]}, arrays | changes)
    assert got in str(caught.value)


@pytest.mark.parametrize(
    "changes", [{"gamma": "a"}, {"gamma": float("nan")}, {"answer": "all"}, {"answer": 3}, {"form": []}]
)
def test_descriptions_of_forms(changes: dict[str, Any]) -> None:
    with pytest.raises(ConversionError, match=r"^model: expected .*, got .*\. Run the pipeline again\.$"):
        unpack({"form": "kernel", "answer": "votes", "gamma": 0.5} | changes, KERNEL)


def test_a_digest_is_of_the_bytes() -> None:
    assert with_digest(b"a") == b"a" + hashlib.sha256(b"a").digest()
    assert model_archive(b"{}") == model_archive(b"{}")

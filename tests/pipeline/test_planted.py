"""A work directory that others can write to: nothing planted there is run, followed or waited for."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import shutil
import zipfile
from dataclasses import replace
from io import StringIO
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from rich.console import Console

from data.contract import DataError, StoreError
from pipeline.artifacts import SavedModel
from pipeline.checkpoints import FileCheckpoints, resumption
from pipeline.config_reading.file import load_config
from pipeline.executors.handle import Setup
from pipeline.executors.member import Member
from pipeline.executors.placement import TeamStep
from pipeline.executors.worker import Teller
from pipeline.files import sha256_of_json, write_atomically
from pipeline.garbage import find_garbage, remove
from pipeline.lineage import allows_code, refuse_planted_code
from pipeline.progress import RunProgress
from pipeline.runner import Runner
from pipeline.runs import RunFile, Workdir
from pipeline.session import look_who_writes
from pipeline.store import MANIFEST, Store
from pipeline.terminal import TerminalListener
from tests.pipeline.test_store import KEY, commit, manifest


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder outside of the work directory, with what its owner would miss."""
    folder = tmp_path / "elsewhere"
    for name in ("diary", "notes/old/page", KEY + "/page", "report.html", "export/page", "run.log"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("mine")
    return folder


def untouched(folder: Path) -> bool:
    files = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
    names = {"diary", "notes/old/page", KEY + "/page", "report.html", "export/page", "run.log"}
    return files.keys() == names and set(files.values()) == {"mine"}


LINK = "got a symbolic link, which is not followed below a work directory. Remove it"


@pytest.mark.parametrize("name", [".staging", ".scratch", ".scratch/train", f".scratch/train/{KEY}", "train", ".locks"])
def test_no_artifact_is_made_through_a_link(tmp_path: Path, elsewhere: Path, name: str) -> None:
    store = Store(tmp_path / "store")
    (store.root / name).parent.mkdir(parents=True)
    (store.root / name).symlink_to(elsewhere)
    with pytest.raises(StoreError, match=LINK), store.lock("train", KEY):
        commit(store)
    assert untouched(elsewhere)


@pytest.mark.parametrize("name", [f".staging/train-{KEY}", ".aside", "train"])
def test_nothing_is_removed_or_set_aside_through_a_link(tmp_path: Path, elsewhere: Path, name: str) -> None:
    store = Store(tmp_path / "store")
    (store.root / name).parent.mkdir(parents=True)
    (store.root / name).symlink_to(elsewhere)
    if name.startswith(".staging"):  # the link goes, what it leads to stays
        assert commit(store).manifest.key == KEY
    else:
        with pytest.raises(StoreError, match=LINK):
            store.set_aside("train", KEY)
    store.discard_scratch("train", KEY)
    assert untouched(elsewhere)


def test_link_among_checkpoints_is_refused(tmp_path: Path, elsewhere: Path) -> None:
    store = Store(tmp_path / "store")
    scratch = store.scratch("ingest", KEY)
    scratch.mkdir(parents=True)
    (scratch / "array-1.bin").symlink_to(elsewhere / "diary")
    with pytest.raises(StoreError, match=LINK):
        store.stage_folder("ingest", KEY)
    assert untouched(elsewhere)


def test_artifact_that_is_a_link_is_damaged_and_its_link_alone_set_aside(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    real = commit(store).folder.rename(tmp_path / "real")
    store.folder("train", KEY).symlink_to(real)
    assert store.damage("train", KEY) == "it is a symbolic link"
    assert store.find("train", KEY) is None
    assert (real / MANIFEST).is_file()


@pytest.mark.parametrize("name", ["model.tflite", MANIFEST])
def test_pipe_in_the_place_of_a_file_is_damage_and_not_waited_for(tmp_path: Path, name: str) -> None:
    store = Store(tmp_path / "store")
    folder = commit(store).folder
    (folder / name).unlink()
    os.mkfifo(folder / name)
    assert store.find("train", KEY) is None


def test_gc_removes_nothing_that_a_link_leads_to(tmp_path: Path, elsewhere: Path) -> None:
    workdir = Workdir(tmp_path / "runs")
    store = workdir.store()
    commit(store)
    (store.root / "prune").symlink_to(elsewhere)
    (store.root / "tune").mkdir()
    (store.root / "tune" / KEY).symlink_to(elsewhere)
    for hidden in (".aside", ".staging"):
        shutil.rmtree(store.root / hidden, ignore_errors=True)
        (store.root / hidden).symlink_to(elsewhere)
    shutil.rmtree(store.root / ".scratch")
    (store.root / ".scratch").mkdir()
    (store.root / ".scratch" / "train").symlink_to(elsewhere)
    (workdir.root / "linked").symlink_to(elsewhere)
    Workdir(tmp_path).write(RunFile("elsewhere", "classification", 1, "", "", {}, "done"))
    said = (elsewhere / "run.json").read_bytes()
    remove(find_garbage(workdir, keep=0))
    assert (elsewhere / "run.json").read_bytes() == said
    (elsewhere / "run.json").unlink()
    assert untouched(elsewhere)
    assert not store.folder("train", KEY).exists()


def test_nothing_is_written_into_a_folder_of_a_run_that_is_a_link(tmp_path: Path, elsewhere: Path) -> None:
    workdir = Workdir(tmp_path / "runs")
    workdir.root.mkdir()
    (workdir.root / "small").symlink_to(elsewhere)
    with pytest.raises(StoreError, match=LINK):
        workdir.log("small")
    with pytest.raises(StoreError, match=LINK):
        workdir.write(RunFile("small", "classification", 1, "", "", {}, "done"))
    assert untouched(elsewhere)


def test_log_that_is_a_link_is_not_written_to(tmp_path: Path, elsewhere: Path) -> None:
    workdir = Workdir(tmp_path / "runs")
    (workdir.root / "small").mkdir(parents=True)
    (workdir.root / "small" / "run.log").symlink_to(elsewhere / "run.log")
    with pytest.raises(StoreError, match=LINK):
        workdir.log("small")
    with pytest.raises(OSError, match="symbolic link"):
        RunProgress(Console(quiet=True), workdir.root / "small" / "run.log")
    assert untouched(elsewhere)


def test_temporary_file_that_is_a_link_already_is_not_written_through(tmp_path: Path, elsewhere: Path) -> None:
    for name in ("run.json", "train.checkpoint"):
        (tmp_path / f".{name}.{os.getpid()}.tmp").symlink_to(elsewhere / "diary")
    write_atomically(tmp_path / "run.json", "{}")
    FileCheckpoints(tmp_path / "train.checkpoint").save({"w": np.ones(3)}, {"resumes_at": "epoch 2"})
    assert (tmp_path / "run.json").read_text() == "{}"
    assert resumption(tmp_path) == "epoch 2"
    assert untouched(elsewhere)


# ------------------------------------------------------------------------------------------ code


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.place),)


def test_the_bomb_goes_off_where_pickles_are_loaded(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Bomb(tmp_path / "boom")))
    assert (tmp_path / "boom").exists()


def test_pickle_in_a_checkpoint_is_not_loaded(tmp_path: Path) -> None:
    member, content = io.BytesIO(), io.BytesIO()
    np.save(member, np.array([Bomb(tmp_path / "boom")], object), allow_pickle=True)
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("model/0.npy", member.getvalue())
        archive.writestr("state.json", json.dumps({"resumes_at": "epoch 2"}))
    data = content.getvalue()
    (tmp_path / "train.checkpoint").write_bytes(data + hashlib.sha256(data).digest())
    assert FileCheckpoints(tmp_path / "train.checkpoint").load() is None
    assert not (tmp_path / "boom").exists()


@pytest.mark.parametrize("name", ["train_x.npy", "masks.npz", "model.npz"])
def test_pickle_in_an_artifact_is_not_loaded(tmp_path: Path, name: str) -> None:
    values = np.array([Bomb(tmp_path / "boom")], object)
    if name.endswith(".npy"):
        np.save(tmp_path / name, values, allow_pickle=True)
    else:
        np.savez(tmp_path / name, layer=values)
    with pytest.raises((ValueError, DataError), match=r"allow_pickle=False|Python objects|pickle|object"):
        _load(tmp_path, name)
    assert not (tmp_path / "boom").exists()


def _load(folder: Path, name: str) -> object:
    """Reads an artifact's file as the stages do."""
    from data.storage import digest_arrays
    from pipeline.classical_artifacts import read_form

    if name == "train_x.npy":
        return digest_arrays([folder / name], "")
    if name == "model.npz":
        return read_form("{}", folder / name)
    return SavedModel(folder, None, "prune").masks()  # type: ignore[arg-type]  # its record is not looked at


def keras_file(path: Path, config: dict[str, Any]) -> Path:
    weights = io.BytesIO()
    with h5py.File(weights, "w"):
        pass
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "2.21.0"}))
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", weights.getvalue())
    return path


LAMBDA = {
    "class_name": "Lambda",
    "module": "keras.layers",
    "registered_name": None,
    "config": {"name": "evil", "function": {"class_name": "__lambda__", "config": {"code": "4wEA"}}},
}
CALL = {"class_name": "function", "config": "system", "module": "os", "registered_name": "system"}


@pytest.mark.parametrize(
    ("layer", "told"),
    [
        (LAMBDA, "Python byte code (a Lambda layer) in layer 'evil'"),
        ({"class_name": "system", "module": "os", "config": {"name": "evil"}}, "the class os.system in layer 'evil'"),
        (
            {"class_name": "Dense", "module": "keras.layers", "config": {"name": "evil", "activation": CALL}},
            "the function os.system in layer 'evil'",
        ),
    ],
)
def test_code_in_a_model_of_the_store_is_refused_before_keras_sees_it(
    tmp_path: Path, layer: dict[str, Any], told: str
) -> None:
    config = {"class_name": "Sequential", "module": "keras", "config": {"name": "net", "layers": [layer]}}
    path = keras_file(tmp_path / "model.keras", config)
    with pytest.raises(StoreError) as caught:
        refuse_planted_code(path, "train", allow_code=False)
    assert str(caught.value) == (
        f"store.train: expected {path} to be a model of Keras's own layers, got {told}. Nothing of it was run. "
        "Who may write there? Take a work directory of your own."
    )


def test_runner_hands_no_planted_model_to_a_stage(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    staging = store.stage_folder("train", KEY)
    config = {"class_name": "Sequential", "module": "keras", "config": {"name": "net", "layers": [LAMBDA]}}
    keras_file(staging / "model.keras", config)
    (staging / "model.json").write_text('{"foreign_layers": ["evil"]}')
    store.commit(staging, manifest(parts={"config": {"model": {"allow": ["evil"]}}, "inputs": {}}, parents=()))
    runner = Runner(store, RunProgress(Console(quiet=True)), 1)  # type: ignore[arg-type]  # no stage begins
    assert store.find("train", KEY) is not None
    for _ in range(2):
        with pytest.raises(StoreError, match="a Lambda layer"):
            runner.usable("train", KEY)


def test_model_of_the_store_that_keras_would_never_be_done_with_is_refused(tmp_path: Path) -> None:
    dense = {"class_name": "Dense", "module": "keras.layers", "config": {"name": "a"}, "name": "a"}
    layers = [{**dense, "inbound_nodes": [[["a", 0, 0, {}]]]}]
    config = {"class_name": "Functional", "module": "keras", "config": {"name": "net", "layers": layers}}
    path = keras_file(tmp_path / "model.keras", config)
    with pytest.raises(StoreError) as caught:
        refuse_planted_code(path, "train", allow_code=False)
    assert str(caught.value) == (
        f"store.train: expected {path} to be a model that Penjing saved, got layer 'a', whose input never comes to be. "
        "Who may write there? `--force train` makes it again."
    )


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "an empty file"),
        (b"PK\x05\x06" + bytes(18), "one without (empty)"),
        (b"no model", "a file that begins with b'no m'"),
    ],
)
def test_what_is_no_model_at_all_is_refused(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(content)
    with pytest.raises(StoreError) as caught:
        refuse_planted_code(path, "train", allow_code=False)
    assert f"to be a model that Penjing saved, got {told}. Who may write there?" in str(caught.value)


def test_the_config_behind_a_key_says_whether_code_may_run_and_nothing_else_does(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")

    def made(stage: str, parts: dict[str, Any], parents: tuple[tuple[str, str], ...], key: str | None = None) -> Any:
        parts = {"config": {}, "inputs": {}, **parts}
        key = key or sha256_of_json(parts)
        return commit(store, stage, key, parts=parts, parents=parents).manifest

    for allow, expected in ((["twice"], True), ([], False)):
        build = made("build", {"config": {"model": {"family": "file", "allow": allow}}}, ())
        train = made("train", {"inputs": {"start": build.key}}, (("build", build.key),))
        assert allows_code(store, train) is expected
        # Parents that are no inputs, such as those of trials, vouch for nothing.
        assert not allows_code(store, made("tune", {"inputs": {"start": allow}}, (("build", build.key),)))
    honest = {"config": {"model": {"family": "mlp"}}, "inputs": {}, "seed": 1}
    forged = made("build", {"config": {"model": {"allow": ["twice"]}}}, (), key=sha256_of_json(honest))
    assert not allows_code(store, forged)
    train = made("train", {"inputs": {"start": forged.key}, "seed": 2}, (("build", forged.key),))
    assert not allows_code(store, train)


def test_a_key_that_somebody_else_has_computed_allows_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    parts = {"config": {"model": {"family": "file", "allow": ["twice"]}}, "inputs": {}}
    build = commit(store, "build", sha256_of_json(parts), parts=parts, parents=()).manifest
    member = Member(Setup(store.root, 1), Teller(Pipe()[0]))
    step = TeamStep("train", KEY, {}, {}, {"start": ("build", build.key)}, ("a:1", "b:1"), 1, 1)
    assert member.input_of(step, "start").manifest == build
    with pytest.raises(StoreError) as caught:  # of another machine's run, whose config allows none
        member.input_of(replace(step, allow_code=False), "start")
    assert str(caught.value) == (
        "store.build: expected a model that brings no code along, as the config says, got the key of one that may. "
        "Nothing of it was run. Who may write to the work directory? Take one of your own."
    )


# -------------------------------------------------------------------------------------- who may write


def test_work_directory_that_others_can_write_to_is_told(tmp_path: Path) -> None:
    workdir = Workdir(tmp_path / "runs")
    assert workdir.open_to_others() is None
    (workdir.root / "store").mkdir(parents=True)
    for folder in (workdir.root, workdir.root / "store"):
        folder.chmod(0o755)
    assert workdir.open_to_others() is None
    (workdir.root / "store").chmod(0o777)
    assert workdir.open_to_others() == workdir.root / "store"
    workdir.root.chmod(0o1777)
    assert workdir.open_to_others() == workdir.root


def test_code_is_run_in_no_work_directory_that_others_can_write_to(tmp_path: Path) -> None:
    workdir = Workdir(tmp_path / "runs")
    workdir.root.mkdir()
    workdir.root.chmod(0o777)
    (tmp_path / "rows.csv").write_text("a,b\n1,x\n")
    text = (
        "name: small\ntask: classification\ndata: {source: table, path: rows.csv, target: b}\nmodel: {file: net.keras"
    )
    (tmp_path / "plain.yaml").write_text(text + "}\n")
    (tmp_path / "allows.yaml").write_text(text + ", allow: [twice]}\n")
    printed = StringIO()
    listener = TerminalListener(Console(file=printed, width=300))
    look_who_writes(workdir, load_config(tmp_path / "plain.yaml", ()).config, listener)
    assert printed.getvalue().startswith(f"note: other users can write to {workdir.root}, and so to what this run")
    with pytest.raises(StoreError, match=r"model.allow: expected a work directory that only you can write to, got "):
        look_who_writes(workdir, load_config(tmp_path / "allows.yaml", ()).config, listener)


def test_every_flipped_byte_of_run_json_is_noticed(tmp_path: Path) -> None:
    workdir = Workdir(tmp_path)
    workdir.write(RunFile("small", "classification", 1, "name: small\n", "run", {"train": KEY}, "done"))
    path = tmp_path / "small" / "run.json"
    written = path.read_bytes()
    assert workdir.read("small") is not None
    # The line break at the end says nothing: what stands in the file is the same without it.
    for position in range(len(written) - 1):
        changed = bytearray(written)
        changed[position] ^= 1
        path.write_bytes(changed)
        found = workdir.read("small")
        assert found is None or changed[position : position + 1].isspace() or written[position : position + 1].isspace()
    body = json.loads(written)
    del body["digest"]  # as it was written before there was one
    path.write_text(json.dumps(body))
    assert workdir.read("small") is not None


def test_end_of_a_run_is_told_though_its_log_takes_nothing_more() -> None:
    printed = StringIO()
    progress = RunProgress(Console(file=printed, width=200), Path("/dev/full"))
    progress.end_with("error: no space", ["go on with: this"])
    assert printed.getvalue() == "go on with: this\n"

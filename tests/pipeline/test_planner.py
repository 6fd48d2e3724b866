"""Plans: what is cached, what runs and why, what resumes; and what planning does not cost."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.contract import ConfigError, DataError
from pipeline.checkpoints import FileCheckpoints
from pipeline.config import RunConfig
from pipeline.config_reading.file import load_config
from pipeline.files import sha256_of_json
from pipeline.planner import Plan, PlannedStage, Scope, difference, make_plan, versions_of
from pipeline.stages.catalog import STAGES, producer, stages_of
from pipeline.store import Manifest, Store

ROOT = Path(__file__).resolve().parents[2]
TEXT = """\
name: small
seed: 3
task: classification
data: {source: builtin, name: iris}
model: {family: mlp, units: [8]}
train: {epochs: 12, class_weights: {setosa: 2.0}}
tune: {trials: 2}
prune: {sparsity: 0.3}
quantize: {precision: int8}
"""
NAMES = ["ingest", "build", "train", "tune", "prune", "convert", "export"]


def config(folder: Path, *overrides: str, text: str = TEXT) -> RunConfig:
    path = folder / "small.yaml"
    path.write_text(text)
    return load_config(path, overrides).config


def plan(folder: Path, *overrides: str, before: dict[str, str] | None = None, **scope: str) -> Plan:
    store = Store(folder / "store")
    return make_plan(config(folder, *overrides), store, Scope(**scope), before or {}, rehash=False)


def told(planned: Plan) -> dict[str, tuple[str, str]]:
    return {each.stage.name: (each.state, each.reason) for each in planned.stages}


def commit(folder: Path, planned: PlannedStage, **changed: Any) -> None:
    """Makes an artifact of that key, without the work."""
    store = Store(folder / "store")
    staging = store.stage_folder(planned.stage.name, planned.key)
    (staging / "file").write_text(planned.key)
    fields = {"parts": planned.parts, "parents": tuple(planned.inputs.values()), "ledger": (), "details": {}} | changed
    store.commit(staging, Manifest(stage=planned.stage.name, key=planned.key, files={}, seconds=1.0, **fields))


def fill(folder: Path, *overrides: str) -> Plan:
    """Commits the whole run and returns its plan."""
    planned = plan(folder, *overrides)
    for each in planned.stages:
        commit(folder, each)
    return planned


# ------------------------------------------------------------------------------------------ keys


def test_empty_store_runs_everything(tmp_path: Path) -> None:
    planned = plan(tmp_path)
    assert list(told(planned)) == NAMES
    assert set(told(planned).values()) == {("runs", "nothing like it was made yet")}
    assert len(set(planned.keys.values())) == len(NAMES)
    assert all(each.key == sha256_of_json(each.parts) for each in planned.stages)


def test_key_is_over_all_that_shapes_an_artifact(tmp_path: Path) -> None:
    train = plan(tmp_path).stages[2]
    assert train.parts.keys() == {"stage", "config", "inputs", "source", "code", "seed", "versions"}
    assert train.parts["config"]["train"]["epochs"] == 12
    assert train.parts["config"].keys() == {"train", "clustering"}
    assert train.parts["inputs"] == {"dataset": plan(tmp_path).keys["ingest"], "start": plan(tmp_path).keys["build"]}
    assert train.parts["versions"].keys() == {
        "python",
        "numpy",
        "tensorflow",
        "tf_keras",
        "flatbuffers",
        "scikit-learn",
    }


LAYER_WISE = TEXT.replace("train: {", "train: {mode: layer_wise, ")


def test_the_control_changes_the_key_of_nothing_but_itself(tmp_path: Path) -> None:
    plans = [
        make_plan(config(tmp_path, *given, text=LAYER_WISE), Store(tmp_path / "store"), Scope(), {}, rehash=False)
        for given in ((), ("train.control=true",))
    ]
    without, beside = (dict(each.keys) for each in plans)
    control = next(each for each in plans[1].stages if each.stage.name == "control")
    assert beside.pop("control") == control.key
    assert beside == without
    assert list(without) == ["ingest", "build", "pretrain", "train", "probe", *NAMES[3:]]
    assert set(control.inputs) == {"dataset", "built", "trained"}
    assert control.config["train"].control is False  # it does not read its own switch
    assert control.config["train"].epochs == 12


@pytest.mark.parametrize("override", ["train.class_weights=null", "train.loss.name=focal"])
@pytest.mark.parametrize(("kind", "reads"), [("autoencoder", False), ("supervised", True)])
def test_unsupervised_pretraining_depends_on_nothing_that_is_of_labels(
    tmp_path: Path, override: str, kind: str, reads: bool
) -> None:
    store = Store(tmp_path / "store")
    given = (f"pretrain.kind={kind}",)
    one, other = (
        make_plan(config(tmp_path, *given, *more, text=LAYER_WISE), store, Scope(), {}, rehash=False).keys
        for more in ((), (override,))
    )
    assert (one["pretrain"] != other["pretrain"]) == reads
    assert one["train"] != other["train"]


def test_a_metric_that_is_the_default_makes_nothing_again(tmp_path: Path) -> None:
    keys = plan(tmp_path).keys
    assert plan(tmp_path, "metric=accuracy").keys == keys
    assert plan(tmp_path, "metric=macro_f1").keys["build"] != keys["build"]


def test_filled_store_is_cached_under_any_name_of_the_run(tmp_path: Path) -> None:
    fill(tmp_path)
    assert set(told(plan(tmp_path)).values()) == {("cached", "")}
    assert set(told(plan(tmp_path, "name=other")).values()) == {("cached", "")}


@pytest.mark.parametrize(
    ("override", "first", "reason"),
    [
        ("prune.sparsity=0.4", "prune", "prune.sparsity changed from 0.3 to 0.4"),
        ("train.epochs=13", "train", "train.epochs changed from 12 to 13"),
        ("model.units=[8, 4]", "build", "model.units changed from [8] to [8, 4]"),
        ("train.stop.patience=2", "train", "train.stop.patience changed from None to 2"),
        ("train.class_weights=null", "train", "train.class_weights.setosa changed from 2.0 to None"),
        ("quantize.precision=float16", "convert", "quantize.precision changed from int8 to float16"),
        ("target.min_score=0.5", "export", "target.min_score changed from None to 0.5"),
        ("data.name=wine", "ingest", "data.name changed from iris to wine"),
        ("seed=4", "ingest", "seed changed"),
    ],
)
def test_says_what_changed_and_repeats_no_more_than_needed(
    tmp_path: Path, override: str, first: str, reason: str
) -> None:
    before = fill(tmp_path).keys
    planned = told(plan(tmp_path, override, before=before))
    assert planned[first] == ("runs", reason)
    assert {planned[name] for name in NAMES[: NAMES.index(first)]} <= {("cached", "")}
    assert {planned[name][0] for name in NAMES[NAMES.index(first) :]} <= {"runs"}


def test_input_that_changed_is_named_by_its_role(tmp_path: Path) -> None:
    planned = told(plan(tmp_path, "prune.sparsity=0.4", before=fill(tmp_path).keys))
    assert planned["convert"] == ("runs", "input model changed")
    assert planned["export"] == ("runs", "input model, variants changed")


@pytest.mark.parametrize(
    ("part", "old", "reason"),
    [
        ("code", {"pipeline.stages.train": "0" * 16}, "code of pipeline.stages.train changed"),
        ("versions", {"tensorflow": "2.0.0"}, "version of tensorflow changed"),
        ("source", "0" * 64, "source changed"),
        ("seed", 99, "seed changed"),
        ("inputs", {"start": "0" * 64}, "input start changed"),
    ],
)
def test_says_so_when_something_but_the_config_changed(tmp_path: Path, part: str, old: Any, reason: str) -> None:
    train = plan(tmp_path).stages[2]
    former = {**train.parts, part: {**train.parts[part], **old} if isinstance(old, dict) else old}
    commit(tmp_path, replace(train, key="e" * 64, parts=former))
    assert told(plan(tmp_path, before={"train": "e" * 64}))["train"] == ("runs", reason)


def test_many_changes_are_cut_short() -> None:
    old = {"config": {"train": dict.fromkeys("abcdef", 1)}, "code": {}, "versions": {}, "inputs": {}}
    new = {"config": {"train": dict.fromkeys("abcdef", 2)}, "code": {}, "versions": {}, "inputs": {}}
    parts = {"source": None, "seed": 1}
    text = difference(old | parts, new | parts)
    assert text.startswith("train.a changed from 1 to 2; train.b ")
    assert text.endswith("; and 2 more")


def test_empty_section_differs_from_a_missing_one() -> None:
    parts = {"code": {}, "versions": {}, "inputs": {}, "source": None, "seed": 1}
    text = difference({"config": {"a": {"b": None}}} | parts, {"config": {"a": {"b": {}}}} | parts)
    assert text == "a.b changed from None to {}"


def test_run_whose_artifact_is_gone_says_nothing_like_it(tmp_path: Path) -> None:
    assert told(plan(tmp_path, before={"train": "d" * 64}))["train"] == ("runs", "nothing like it was made yet")


# ----------------------------------------------------------------------------------------- state


def test_damage_is_found_while_planning_and_left_where_it_is(tmp_path: Path) -> None:
    planned = fill(tmp_path)
    path = Store(tmp_path / "store").folder("train", planned.keys["train"]) / "file"
    path.write_text("changed")
    assert told(plan(tmp_path))["train"] == ("runs", "its artifact is damaged: file was changed")
    assert told(plan(tmp_path))["tune"] == ("cached", "")
    assert path.exists()


def test_failed_gate_runs_again(tmp_path: Path) -> None:
    planned = plan(tmp_path)
    for each in planned.stages:
        commit(tmp_path, each, details={"passed": False} if each.stage.name == "export" else {})
    assert told(plan(tmp_path))["export"] == ("runs", "its gate failed last time")


def test_resumes_where_the_checkpoint_says(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    key = plan(tmp_path).keys["train"]
    store.stage_folder("train", key)
    assert told(plan(tmp_path))["train"][0] == "runs"
    checkpoint = store.scratch("train", key) / "train.checkpoint"
    FileCheckpoints(checkpoint).save({"w": np.ones(3)}, {"resumes_at": "epoch 8"})
    assert told(plan(tmp_path))["train"] == ("resumes", "at epoch 8")
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1])
    assert told(plan(tmp_path))["train"][0] == "runs"


# ----------------------------------------------------------------------------------------- scope


def test_scope_ends_the_plan_and_forces_dependants(tmp_path: Path) -> None:
    fill(tmp_path)
    assert list(told(plan(tmp_path, last="train"))) == ["ingest", "build", "train"]
    forced = told(plan(tmp_path, force="tune"))
    assert forced == {name: ("cached", "") if name in NAMES[:3] else ("runs", "forced") for name in NAMES}
    # `tune` and `dense` are one, and export takes it: everything after it depends on it.
    assert told(plan(tmp_path, force="convert"))["prune"] == ("cached", "")


@pytest.mark.parametrize(
    ("scope", "message"),
    [
        (
            {"first": "trian"},
            r"--from: expected one of ingest, build, .*, got 'trian' \(no stage; the nearest is 'train'\)\.",
        ),
        (
            {"last": "pretrain"},
            r"--to: .*got 'pretrain' \(pretrain is a stage, but this config does not ask for it\)\.",
        ),
        ({"force": ""}, r"--force: expected one of"),
        ({"first": "prune", "last": "train"}, r"--from: expected a stage up to train \(--to\), got prune\."),
        (
            {"force": "prune", "last": "train"},
            r"--force: expected a stage from ingest \(--from\) to train \(--to\), got",
        ),
        ({"force": "build", "first": "train"}, r"--force: expected a stage from train \(--from\) to export"),
    ],
)
def test_refuses_scopes_that_make_no_sense(tmp_path: Path, scope: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan(tmp_path, **scope)


def test_missing_raw_data_is_bad_data(tmp_path: Path) -> None:
    text = TEXT.replace("{source: builtin, name: iris}", "{source: table, path: absent.csv, target: y}")
    with pytest.raises(DataError, match="which does not exist"):
        make_plan(config(tmp_path, text=text), Store(tmp_path / "store"), Scope(), {}, rehash=False)


# --------------------------------------------------------------------------------------- catalog


def test_every_stage_takes_what_an_earlier_one_makes(tmp_path: Path) -> None:
    layered = TEXT.replace("{epochs: 12, class_weights: {setosa: 2.0}}", "{mode: layer_wise}")
    for text in (TEXT, layered, TEXT.replace("tune: {trials: 2}\n", ""), TEXT.replace("prune: {sparsity: 0.3}\n", "")):
        asked = config(tmp_path, text=text)
        names = [stage.name for stage in stages_of(asked)]
        for position, stage in enumerate(stages_of(asked)):
            made = [producer(role, asked) for role in stage.takes]
            assert all(name is None or name in names[:position] for name in made)
    assert {stage.name: stage.reads for stage in STAGES if stage.reads} == {"ingest": "data", "build": "model"}


def test_library_that_is_not_installed_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"requirements\.no-such-package: expected it to be installed, got nothing\."):
        versions_of(("no-such-package",))


# ------------------------------------------------------------------------------------------ cost


@pytest.mark.parametrize("name", ["iris", "digits"])
def test_planning_imports_nothing_heavy_and_answers_at_once(tmp_path: Path, name: str) -> None:
    program = (
        "import sys, run_pipeline\n"
        "try:\n    run_pipeline.main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "heavy = {'tensorflow', 'tf_keras', 'keras', 'numpy', 'pandas', 'sklearn', 'scipy', 'PIL', 'plotly'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))\n"
    )
    command = [sys.executable, "-c", program, "plan", f"configs/{name}.yaml", "--workdir", str(tmp_path)]
    (tmp_path / "store").mkdir()
    seconds = []
    for _ in range(3):
        started, before = time.perf_counter(), os.times()
        told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        after = os.times()
        assert told.returncode == 0, told.stderr
        assert "HEAVY []" in told.stdout
        busy = after.children_user + after.children_system - before.children_user - before.children_system
        seconds.append(min(time.perf_counter() - started, busy))
    assert min(seconds) < 1.0  # of processor time, so that a busy machine does not fail the test

"""The stage `tune` on real stages: networks of its own, the pruned score, failures, and a search that is killed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.dataset import Dataset
from models.pruning.kernels import prunable_kernels
from models.pruning.weights import global_masks
from models.tflite.convert import convert
from models.training import predict
from pipeline.artifacts import SavedModel
from pipeline.config_reading.file import load_config
from pipeline.planner import Scope, make_plan
from pipeline.runner import Runner, StageError
from pipeline.store import Artifact, Store
from tests.pipeline.test_runner import overflow_beyond

TEXT = """\
name: small
seed: 3
task: classification
data: {source: builtin, name: iris}
model: {family: mlp, units: [6]}
train: {epochs: 4, batch_size: 16, optimizer: {learning_rate: 0.005}}
"""


class Killed(Exception):  # noqa: N818 -- what happens to a process, not an error
    """Stands for a process that ends."""


class Listener:
    """Remembers notes and trials; may kill the run at a trial."""

    def __init__(self, kill_at: int | None = None) -> None:
        self.notes: list[str] = []
        self.steps: list[tuple[str, int, int, dict[str, Any]]] = []
        self.kill_at = kill_at

    def begin(self, planned: Any) -> None: ...

    def end(self, planned: Any, artifact: Artifact, cached: bool) -> None: ...

    def note(self, text: str) -> None:
        self.notes.append(text)

    def step(self, label: str, done: int, total: int, figures: Mapping[str, float | str]) -> None:
        self.steps.append((label, done, total, dict(figures)))
        if label == "tune" and done == self.kill_at:
            raise Killed


def run(folder: Path, text: str, kill_at: int | None = None) -> tuple[dict[str, Artifact], Listener]:
    path = folder / "small.yaml"
    path.write_text(TEXT + text)
    scope = Scope(last="tune")
    config, store = load_config(path).config, Store(folder / "store")
    listener = Listener(kill_at)
    made = Runner(store, listener, config.seed).execute(make_plan(config, store, scope, {}, rehash=False), scope)
    return {name: artifact for name, (artifact, _) in made.items()}, listener


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tuned")


SPACE = """\
tune:
  oracle: grid
  penalties: []
  space: {units: [[16], [12, 8]], learning_rate: [0.1]}
"""


def test_trials_build_networks_of_their_own_and_the_best_travels_on(folder: Path) -> None:
    made, listener = run(folder, SPACE)
    details = made["tune"].manifest.details
    assert "tune: the grid has 2 combinations; all are tried" in listener.notes
    told = [(trial["values"], trial["kind"], trial["state"]) for trial in details["trials"]]
    assert told[0] == ({"units": [6], "learning_rate": 0.005}, "none", "done")
    assert [values for values, _, _ in told[1:]] == [
        {"units": units, "learning_rate": 0.1} for units in ([16], [12, 8])
    ]
    assert {state for _, _, state in told} == {"done"}
    assert [label for label, _ in Store(folder / "store").artifacts()].count("build") == 3
    scores = [trial["score"] for trial in details["trials"]]
    best = details["best"]
    assert best == scores.index(max(scores)) > 0
    units = details["trials"][best]["values"]["units"]
    model = SavedModel.open(made["tune"].folder, "tune").load()
    assert [layer.units for layer in model.layers if hasattr(layer, "units")] == [*units, 3]
    assert details["network"]["family"] == "mlp"
    assert [each["parameters"] for each in details["network"]["layers"]] == [
        layer.count_params() for layer in model.layers[1:]
    ]
    steps = [figures for label, _, _, figures in listener.steps if label == "tune"]
    assert steps[0]["tried"] == "learning_rate 0.1, units 16"
    assert [total for label, _, total, _ in listener.steps if label == "tune"] == [2] * 2
    assert any(note.startswith(f"tune: trial {best} is kept: learning_rate 0.1, units") for note in listener.notes)


def test_a_network_of_the_run_s_own_shape_starts_where_the_run_s_did(folder: Path) -> None:
    text = "tune: {oracle: grid, penalties: [], space: {units: [[6]], activation: [relu]}}\n"
    made, _ = run(folder, text)
    own, same = made["tune"].manifest.details["trials"]
    assert (same["score"], same["weights"]) == (own["score"], own["weights"])


def test_the_pruned_score_is_that_of_the_trial_s_model_pruned_at_once(folder: Path) -> None:
    prune = "prune: {sparsity: 0.6, scope: global, epochs: 3, recovery_epochs: 2}\n"
    tune = "tune: {oracle: grid, penalties: [l1], grid_points: 3, min_strength: 0.001, max_strength: 0.1"
    made, listener = run(folder, f"{prune}{tune}, objective: pruned_score}}\n")
    details, store = made["tune"].manifest.details, Store(folder / "store")
    assert details["objective"] == "pruned_score"
    trained = [made["train"].manifest.key]
    trained += [key for stage, key in made["tune"].manifest.parents if stage == "train" and key not in trained]
    dataset = Dataset.open(made["ingest"].folder)
    for trial, key in zip(details["trials"], trained, strict=True):
        saved = SavedModel.open(store.folder("train", key), "train")
        model, task = saved.load(), saved.record.as_task()
        kernels = prunable_kernels(model).kernels
        masks = global_masks({name: kernel.numpy() for name, kernel in kernels.items()}, 0.6, 0.02)
        for name, kernel in kernels.items():
            kernel.assign(kernel.numpy() * masks[name])
        answers = predict(model, dataset.inputs("validation"))
        assert trial["pruned_score"] == task.score(dataset.split("validation").y, answers)
    merits = [trial["pruned_score"] for trial in details["trials"]]
    assert details["best"] == merits.index(max(merits))
    figures = next(figures for label, _, _, figures in listener.steps if label == "tune")
    assert list(figures) == ["tried", "pruned accuracy", "best"]
    # The model that goes on is not pruned yet, and training while pruning is no part of the objective.
    model = SavedModel.open(made["tune"].folder, "tune").load()
    assert made["tune"].manifest.ledger[0].score == details["trials"][details["best"]]["score"]
    assert details["trials"][0]["weights"] == {"count": 6 * 4 + 6 * 3, "zeros": 0}
    assert np.count_nonzero(model.layers[-1].kernel.numpy()) > 0.4 * 18
    again, _ = run(folder, f"{prune.replace('epochs: 3', 'epochs: 1')}{tune}, objective: pruned_score}}\n")
    assert again["tune"].manifest.key == made["tune"].manifest.key


def test_a_sparsity_that_no_model_can_have_ends_the_search_before_its_trials(folder: Path) -> None:
    with pytest.raises(
        StageError, match=r"^prune\.sparsity: expected at most 0\.\d+ where every layer keeps"
    ) as caught:
        run(folder, "prune: {sparsity: 0.97}\ntune: {objective: pruned_score, trials: 2}\n")
    assert (caught.value.stage, caught.value.exit_code) == ("tune", 2)


def test_a_failed_trial_is_told_with_its_cause(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overflow_beyond(1.0, monkeypatch)
    text = "tune: {oracle: grid, penalties: [l2], grid_points: 2, min_strength: 0.001, max_strength: 1.0e+6}\n"
    made, listener = run(folder, text)
    trials = made["tune"].manifest.details["trials"]
    assert [trial["state"] for trial in trials] == ["done", "done", "failed"]
    assert trials[2]["cause"].startswith("train.optimizer.learning_rate: expected one that keeps the loss finite")
    assert f"tune: trial 2 failed (l2 1e+06): {trials[2]['cause']}" in listener.notes


def test_networks_of_trials_are_pretrained_layer_by_layer_where_the_run_s_is(folder: Path) -> None:
    text = TEXT.replace("train: {", "train: {mode: layer_wise, ")
    path = folder / "layers"
    path.mkdir()
    (path / "store").symlink_to(folder / "store")
    tune = "pretrain: {kind: supervised, epochs: 1}\ntune: {oracle: grid, penalties: [], space: {units: [[5, 4]]}}\n"
    made, _ = run_text(path, text + tune)
    stages = {stage: key for stage, key in made["tune"].manifest.parents if stage in ("build", "pretrain", "train")}
    store = Store(folder / "store")
    trial = next(
        key for stage, key in made["tune"].manifest.parents if stage == "train" and key != made["train"].manifest.key
    )
    manifest = store.manifest("train", trial)
    assert manifest is not None
    start = dict(manifest.parents)["pretrain"]
    assert start != made["pretrain"].manifest.key
    pretrained = store.manifest("pretrain", start)
    assert pretrained is not None
    assert [layer["layer"] for layer in pretrained.details["layers"]] == ["dense_1", "dense_2"]
    assert stages.keys() == {"build", "pretrain", "train"}


def run_text(folder: Path, text: str) -> tuple[dict[str, Artifact], Listener]:
    path = folder / "small.yaml"
    path.write_text(text)
    scope, config, store = Scope(last="tune"), load_config(path).config, Store(folder / "store")
    listener = Listener()
    made = Runner(store, listener, config.seed).execute(make_plan(config, store, scope, {}, rehash=False), scope)
    return {name: artifact for name, (artifact, _) in made.items()}, listener


@pytest.mark.parametrize(("oracle", "trials", "kill_at"), [("hyperband", 7, 6), ("grid", 2, 1)])
def test_a_killed_search_repeats_no_finished_trial_and_ends_in_the_same_bytes(
    oracle: str, trials: int, kill_at: int, folder: Path, tmp_path: Path
) -> None:
    space = "space: {units: [{min: 3, max: 6}], learning_rate: {min: 0.001, max: 0.1}}"
    text = f"tune: {{oracle: {oracle}, trials: {trials}, penalties: [l1], {space}}}\n"
    with pytest.raises(Killed):
        run(tmp_path, text, kill_at=kill_at)
    trained = {path: path.stat().st_ino for path in (tmp_path / "store" / "train").iterdir()}
    assert len(trained) == 1 + kill_at
    resumed, listener = run(tmp_path, text)
    after = {path: path.stat().st_ino for path in (tmp_path / "store" / "train").iterdir()}
    assert {path: after[path] for path in trained} == trained
    # Epochs are trained of the trials that were left, and of no other.
    epochs = sum(trial["epochs"] for trial in resumed["tune"].manifest.details["trials"][1 + kill_at :])
    assert [label for label, *_ in listener.steps].count("train") == epochs
    whole, _ = run(folder, text)
    one, other = (
        convert(SavedModel.open(made["tune"].folder, "tune").load(), "float32", None) for made in (resumed, whole)
    )
    assert one == other
    told = [
        [{**trial, "seconds": 0.0} for trial in made["tune"].manifest.details["trials"]] for made in (resumed, whole)
    ]
    assert told[0] == told[1]
    assert len(told[0]) == 1 + trials

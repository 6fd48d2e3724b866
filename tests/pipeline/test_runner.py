"""The runner on real stages: what it repeats, remakes, waits for, refuses and keeps."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.contract import ConfigError, PenjingError
from pipeline.checkpoints import FileCheckpoints
from pipeline.config import RunConfig
from pipeline.config_reading.file import load_config
from pipeline.planner import Plan, PlannedStage, Scope, make_plan
from pipeline.runner import Runner, StageError
from pipeline.store import Artifact, Store

ROOT = Path(__file__).resolve().parents[2]
TEXT = """\
name: small
seed: 3
task: classification
data: {source: builtin, name: iris}
model: {family: mlp, units: [4]}
train: {epochs: 1}
tune: {trials: 2, epochs: 1, oracle: random}
"""


@dataclass
class Diary:
    """Listens, and writes down what it hears."""

    begun: list[str] = field(default_factory=list)
    ended: list[tuple[str, bool]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    steps: list[tuple[str, int]] = field(default_factory=list)

    def begin(self, planned: PlannedStage) -> None:
        self.begun.append(planned.stage.name)

    def end(self, planned: PlannedStage, artifact: Artifact, cached: bool) -> None:
        self.ended.append((artifact.manifest.stage, cached))

    def note(self, text: str) -> None:
        self.notes.append(text)

    def step(self, label: str, done: int, total: int, figures: Mapping[str, float | str]) -> None:
        self.steps.append((label, done))


def config(folder: Path, *overrides: str) -> RunConfig:
    path = folder / "small.yaml"
    if not path.exists():  # another process may be reading it
        path.write_text(TEXT)
    return load_config(path, overrides).config


def plan(folder: Path, *overrides: str, **scope: Any) -> Plan:
    return make_plan(config(folder, *overrides), Store(folder / "store"), Scope(**scope), {}, rehash=False)


def execute(folder: Path, planned: Plan, **scope: Any) -> tuple[dict[str, tuple[Artifact, bool]], Diary]:
    diary = Diary()
    runner = Runner(Store(folder / "store", diary.note), diary, planned.config.seed)
    return runner.execute(planned, Scope(**scope)), diary


def run(folder: Path, *overrides: str, **scope: Any) -> tuple[dict[str, tuple[Artifact, bool]], Diary]:
    return execute(folder, plan(folder, *overrides, **scope), **scope)


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ingested")
    run(folder, last="ingest")
    return folder


@pytest.fixture
def workplace(ingested: Path, tmp_path: Path) -> Path:
    """A store of one's own that holds the ingested flowers."""
    shutil.copytree(ingested / "store", tmp_path / "store")
    return tmp_path


# ------------------------------------------------------------------------------- without a network


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ("train.class_weights={rose: 2.0}", "train.mode=layer_wise"),
            "train.class_weights: expected names among 'setosa', 'versicolor', 'virginica', got 'rose'. Correct the "
            "names; classes left out weigh 1.",
        ),
        (
            ("task=clustering", "clustering={num_clusters: 120}", "model={family: autoencoder}", "tune=null"),
            "clustering.num_clusters: expected at most 105, the training rows, got 120. Ask for fewer clusters.",
        ),
    ],
)
def test_what_the_data_does_not_have_is_found_before_any_training(
    tmp_path: Path, overrides: tuple[str, ...], message: str
) -> None:
    planned = plan(tmp_path, *overrides)
    diary = Diary()
    with pytest.raises(StageError) as caught:
        Runner(Store(tmp_path / "store"), diary, 3).execute(planned, Scope())
    assert (str(caught.value), caught.value.exit_code) == (message, 2)
    assert diary.begun == ["ingest"]


def test_makes_once_and_finds_afterwards(tmp_path: Path) -> None:
    made, diary = run(tmp_path, last="ingest")
    assert diary.begun == ["ingest"]
    assert diary.ended == [("ingest", False)]
    artifact = made["ingest"][0]
    assert {"schema.json", "profile.json", "train_x.npy"} <= artifact.manifest.files.keys()
    assert artifact.manifest.seconds > 0
    found, diary = run(tmp_path, last="ingest")
    assert diary.begun == []
    assert diary.ended == [("ingest", True)]
    assert found["ingest"] == (artifact, True)
    assert not any((tmp_path / "store" / ".staging").iterdir())


@pytest.mark.parametrize("name", ["train_x.npy", "schema.json", "manifest.json"])
def test_damaged_artifact_is_set_aside_and_made_again(workplace: Path, name: str) -> None:
    folder = Store(workplace / "store").folder("ingest", plan(workplace, last="ingest").keys["ingest"])
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    data = bytearray(whole[name])
    data[len(data) // 2] ^= 4
    (folder / name).write_bytes(data)
    made, diary = run(workplace, last="ingest")
    assert not made["ingest"][1]
    assert [note for note in diary.notes if "set aside, to be made again" in note and name in note]
    again = {path.name: path.read_bytes() for path in folder.iterdir()}
    del whole["manifest.json"], again["manifest.json"]  # that says how long it took
    assert again == whole


def test_damaged_after_planning_is_noticed_too(workplace: Path) -> None:
    planned = plan(workplace, last="ingest")
    assert planned.stages[0].state == "cached"
    (Store(workplace / "store").folder("ingest", planned.keys["ingest"]) / "labels.txt").unlink()
    made, diary = execute(workplace, planned)
    assert not made["ingest"][1]
    assert diary.notes == [f"ingest {planned.keys['ingest'][:12]}: labels.txt is missing; set aside, to be made again"]


def test_forced_is_made_again_and_the_old_one_kept_aside(workplace: Path) -> None:
    before = Store(workplace / "store").find("ingest", plan(workplace).keys["ingest"])
    made, _ = run(workplace, last="ingest", force="ingest")
    assert before is not None
    assert not made["ingest"][1]
    assert made["ingest"][0].manifest.files == before.manifest.files
    assert len(list((workplace / "store" / ".aside").iterdir())) == 1


def test_forced_begins_at_its_beginning(workplace: Path) -> None:
    store, key = Store(workplace / "store"), plan(workplace).keys["ingest"]
    store.stage_folder("ingest", key)
    FileCheckpoints(store.scratch("ingest", key) / "x.checkpoint").save({"w": np.ones(1)}, {"epoch": 5})
    store.set_aside("ingest", key)
    seen = []

    class Watching(Diary):
        def step(self, label: str, done: int, total: int, figures: Mapping[str, float | str]) -> None:
            seen.append(list(store.scratch("ingest", key).glob("*.checkpoint")))

        def note(self, text: str) -> None:
            self.step(text, 0, 0, {})

    planned = plan(workplace, last="ingest", force="ingest")
    assert planned.stages[0].reason == "forced"
    Runner(store, Watching(), 3).execute(planned, Scope(last="ingest", force="ingest"))
    assert all(each == [] for each in seen)
    assert not store.scratch("ingest", key).exists()


def test_from_takes_the_stages_before_it_from_the_store_or_refuses(workplace: Path) -> None:
    made, diary = run(workplace, "name=other", first="ingest", last="ingest")
    assert made["ingest"][1]
    message = (
        r"--from: expected build to be in the store already, got none \(nothing like it was made yet\)\. Leave --from"
    )
    with pytest.raises(ConfigError, match=message):
        run(workplace, first="train")
    assert diary.begun == []


def test_refused_scope_sets_nothing_aside(workplace: Path) -> None:
    planned = plan(workplace, force="ingest")
    before = set(Store(workplace / "store").artifacts())
    with pytest.raises(ConfigError, match="--from: expected ingest to be in the store already"):
        execute(workplace, planned, first="build")
    assert set(Store(workplace / "store").artifacts()) == before


def test_error_of_a_stage_names_it_keeps_its_exit_code_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n3,4\n")
    asked = config(tmp_path).model_dump(mode="json")
    asked["data"] = {"source": "table", "path": str(tmp_path / "rows.csv"), "target": "absent"}
    planned = make_plan(
        RunConfig.model_validate_json(json.dumps(asked)),
        Store(tmp_path / "store"),
        Scope(last="ingest"),
        {},
        rehash=False,
    )
    with pytest.raises(StageError, match=r"data\.target: expected") as caught:
        execute(tmp_path, planned)
    assert caught.value.stage == "ingest"
    assert caught.value.exit_code == 3
    assert list(Store(tmp_path / "store").artifacts()) == []


def test_code_that_changed_since_the_plan_is_not_run_under_the_old_key(tmp_path: Path) -> None:
    planned = plan(tmp_path, last="ingest")
    stage = planned.stages[0]
    code = stage.parts["code"] | {"data.ingest": "0" * 16}
    edited = replace(planned, stages=(replace(stage, parts=stage.parts | {"code": code}),))
    with pytest.raises(StageError, match=r"code\.ingest: expected the code .* got changes in data\.ingest\. Start"):
        execute(tmp_path, edited)
    assert list(Store(tmp_path / "store").artifacts()) == []


def test_two_runs_at_once_make_an_artifact_once(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from tests.pipeline.test_runner import run\n"
        "made, diary = run(Path(sys.argv[1]), last='ingest')\n"
        "print(diary.begun)\n"
    )
    config(tmp_path)
    command = [sys.executable, "-c", program, str(tmp_path)]
    pair = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = sorted(process.communicate(timeout=120)[0].strip() for process in pair)
    assert [process.returncode for process in pair] == [0, 0]
    assert told == ["['ingest']", "[]"]
    assert len(list(Store(tmp_path / "store").artifacts())) == 1


# ---------------------------------------------------------------------------------- with a network


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, tuple[Artifact, bool]], Diary]:
    folder = tmp_path_factory.mktemp("tuned")
    made, diary = run(folder, last="tune")
    return folder, made, diary


Tuned = tuple[Path, dict[str, tuple[Artifact, bool]], Diary]


def test_trials_are_artifacts_of_train_and_parents_of_the_search(tuned: Tuned) -> None:
    folder, made, diary = tuned
    assert diary.begun == ["ingest", "build", "train", "tune"]
    tune = made["tune"][0].manifest
    assert [trial["trial"] for trial in tune.details["trials"]] == [0, 1, 2]
    store = Store(folder / "store")
    assert [stage for stage, _ in store.artifacts()].count("train") == 3
    trials = [parent for parent in tune.parents if parent not in [(n, a.manifest.key) for n, (a, _) in made.items()]]
    assert len(trials) == 2
    for stage, key in trials:
        manifest = store.manifest(stage, key)
        assert manifest is not None
        assert manifest.parents == made["train"][0].manifest.parents
        assert manifest.parts["config"]["train"]["regularization"] != {"l1": 0.0, "l2": 0.0}
    scores = [trial["score"] for trial in tune.details["trials"]]
    assert tune.details["best"] == scores.index(max(scores))
    assert tune.ledger[0].score == max(scores)


def test_search_made_again_repeats_no_finished_trial(tuned: Tuned) -> None:
    folder, made, _ = tuned
    tune = made["tune"][0]
    wider, diary = run(folder, "tune.trials=3", last="tune")
    assert diary.begun == ["tune"]
    assert [label for label, _ in diary.steps].count("train") == 1  # the one new trial has one epoch
    assert wider["tune"][0].manifest.details["trials"][:3] == tune.manifest.details["trials"]


def overflow_beyond(strength: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings under a stronger L2 penalty get one that float32 cannot hold the loss of; no config may ask for it."""
    from models.config import RegularizationConfig
    from pipeline.stages import train

    real = train.train_network

    def train_network(model: Any, batches: Any, rows: Any, task: Any, settings: Any, **lent: Any) -> Any:
        if settings.regularization.l2 > strength:
            settings = replace(settings, regularization=RegularizationConfig.model_construct(l1=0.0, l2=1e38))
        return real(model, batches, rows, task, settings, **lent)

    monkeypatch.setattr(train, "train_network", train_network)


def test_failed_trials_do_not_end_the_search(tuned: Tuned, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, made, _ = tuned
    overflow_beyond(1e4, monkeypatch)
    penalties = ("tune.min_strength=1e5", "tune.max_strength=1e6", "tune.penalties=[l2]", "tune.trials=3")
    found, diary = run(folder, *penalties, last="tune")
    details = found["tune"][0].manifest.details
    assert [(trial["state"], trial["score"] is None) for trial in details["trials"]] == [
        ("done", False),
        ("failed", True),
        ("failed", True),
        ("failed", True),
    ]
    assert details["best"] == 0
    assert sum(note.startswith("tune: trial ") and " failed (" in note for note in diary.notes) == 3
    model = (found["tune"][0].folder / "model.keras").read_bytes()
    assert model == (made["train"][0].folder / "model.keras").read_bytes()


def test_missing_input_is_said_plainly(workplace: Path) -> None:
    planned = plan(workplace, last="build")
    broken = replace(planned, stages=planned.stages[1:])
    Store(workplace / "store").set_aside("ingest", planned.keys["ingest"])
    with pytest.raises(PenjingError, match=r"store\.ingest: expected .* to be whole, got none\. Start the run again\."):
        execute(workplace, broken)


def test_forced_search_trains_its_trials_again_but_not_the_run_s_own_model(workplace: Path) -> None:
    made, _ = run(workplace, last="tune")
    own = made["train"][0].folder
    trained = {path: path.stat().st_ino for path in own.parent.iterdir()}
    assert len(trained) == 3
    run(workplace, last="tune", force="tune")
    again = {path: path.stat().st_ino for path in own.parent.iterdir()}
    assert again.keys() == trained.keys()
    assert [path for path in trained if again[path] == trained[path]] == [own]


def test_seconds_of_the_ledger_are_those_of_the_stage(workplace: Path) -> None:
    made, _ = run(workplace, last="build")
    manifest = made["build"][0].manifest
    assert [row.seconds for row in manifest.ledger] == [manifest.seconds]
    assert manifest.seconds > 0


def test_data_that_changes_while_it_is_read_is_never_kept(tmp_path: Path) -> None:
    table, file = tmp_path / "rows.csv", tmp_path / "small.yaml"
    table.write_text("x,y\n" + "".join(f"{i * i % 37 / 7},{'ab'[i % 2]}\n" for i in range(300)))
    file.write_text(TEXT.replace("{source: builtin, name: iris}", "{source: table, path: rows.csv, target: y}"))
    scope = Scope(last="ingest")
    planned = make_plan(load_config(file, ()).config, Store(tmp_path / "store"), scope, {}, rehash=False)
    table.write_text("x,y\n" + "".join(f"{i * i % 37 / 7},{'ab'[i % 2]}\n" for i in range(100)))
    with pytest.raises(StageError, match="expected raw data that nobody changes while it is read") as caught:
        execute(tmp_path, planned, last="ingest")
    assert caught.value.exit_code == 3
    assert not Store(tmp_path / "store").folder("ingest", planned.keys["ingest"]).exists()

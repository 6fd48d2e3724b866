"""Trials in worker processes: the same weights wherever they run, and workers that hang or are killed."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from models.tflite.convert import convert
from pipeline.artifacts import SavedModel
from pipeline.config_reading.file import load_config
from pipeline.executors.engine import lent_engine
from pipeline.planner import Scope, make_plan
from pipeline.runner import Runner
from pipeline.store import Artifact, Store

# A convolution: how its sums are split over threads shapes its last bits.
TEXT = """\
name: small
seed: 3
task: classification
data: {source: builtin, name: digits}
model: {family: cnn, blocks: [{filters: 8, pool: 2}], head: dense}
train: {epochs: 2, batch_size: 64, optimizer: {learning_rate: 0.01}}
tune: {trials: 3, epochs: 100, oracle: random, penalties: [l2], batch_trials: 2}
"""


def workers(module: str = "worker") -> list[int]:
    """Process ids of the workers of this process that are alive, in the order they were started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if f"pipeline.executors.{module}".encode() in command and int(parent) == os.getpid() and state != "Z":
            found.append(int(folder.name))
    return sorted(found)


class Listener:
    """Remembers what it hears; may send signals, each to another worker, at the first step of a trial."""

    def __init__(self, signals: Mapping[str, list[int]] | None = None) -> None:
        self.signals = {} if signals is None else signals
        self.struck: set[int] = set()
        self.notes: list[str] = []
        self.steps: list[tuple[str, int]] = []

    def begin(self, planned: Any) -> None: ...

    def end(self, planned: Any, artifact: Artifact, cached: bool) -> None: ...

    def note(self, text: str) -> None:
        self.notes.append(text)

    def step(self, label: str, done: int, total: int, figures: Mapping[str, float | str]) -> None:
        self.steps.append((label, done))
        for worker in set(workers()) - self.struck if self.signals.get(label) else ():
            self.struck.add(worker)
            os.kill(worker, self.signals[label].pop(0))

    def told(self, label: str) -> list[int]:
        """What was said to be done of some work."""
        return [done for each, done in self.steps if each == label]


def run(folder: Path, engine: str, listener: Listener, text: str = TEXT) -> dict[str, Artifact]:
    path = folder / "small.yaml"
    path.write_text(text)
    config = load_config(path, [f"engine={engine}"]).config
    scope, store = Scope(last="tune"), Store(folder / "store", listener.note)
    with lent_engine(config, store, listener) as lent:
        plan = make_plan(config, store, scope, {}, rehash=False)
        made = Runner(store, listener, config.seed, lent).execute(plan, scope)
    return {name: artifact for name, (artifact, _) in made.items()}


def files(folder: Path) -> dict[str, bytes]:
    """Every trained model of a store as a float32 .tflite, by key: a .keras file holds the time of day."""
    return {
        path.name: convert(SavedModel.open(path, "train").load(), "float32", None)
        for path in sorted((folder / "store" / "train").iterdir())
    }


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Artifact]]:
    folder = tmp_path_factory.mktemp("serial")
    return folder, run(folder, "null", Listener())


@pytest.fixture
def begun(serial: tuple[Path, dict[str, Artifact]], tmp_path: Path) -> Path:
    """A store that holds all but the trials."""
    for stage in ("ingest", "build"):
        shutil.copytree(serial[0] / "store" / stage, tmp_path / "store" / stage)
    own = serial[1]["train"].manifest.key
    shutil.copytree(serial[0] / "store" / "train" / own, tmp_path / "store" / "train" / own)
    return tmp_path


def trials(made: dict[str, Artifact]) -> list[dict[str, Any]]:
    return [{**trial, "seconds": 0.0} for trial in made["tune"].manifest.details["trials"]]


class Stopped(Exception):  # noqa: N818 - what happens to a run, not an error
    """Ends a run in the middle."""


class StopsTuning(Listener):
    """Ends the run when some trials are told of."""

    def step(self, label: str, done: int, total: int, figures: Mapping[str, float | str]) -> None:
        super().step(label, done, total, figures)
        if (label, done) == ("tune", 2):
            raise Stopped


def test_a_plan_says_at_which_trial_a_stopped_tuning_goes_on(begun: Path) -> None:
    text = TEXT.replace("epochs: 100", "epochs: 1")
    with pytest.raises(Stopped):
        run(begun, "null", StopsTuning(), text)
    config = load_config(begun / "small.yaml", ["engine=null"]).config
    plan = make_plan(config, Store(begun / "store"), Scope(last="tune"), {}, rehash=False)
    assert (plan.stages[-1].state, plan.stages[-1].reason) == ("resumes", "at trial 2")
    run(begun, "null", Listener(), text)


def test_two_workers_make_what_one_process_does(serial: tuple[Path, dict[str, Artifact]], begun: Path) -> None:
    listener = Listener()
    made = run(begun, "{workers: 2}", listener)
    assert made["tune"].manifest.key == serial[1]["tune"].manifest.key
    assert trials(made) == trials(serial[1])
    assert made["tune"].manifest.parents == serial[1]["tune"].manifest.parents
    assert files(begun) == files(serial[0])
    assert listener.told("tune") == [1, 2, 3]
    for number in (1, 2, 3):
        assert listener.told(f"trial {number}: train") == list(range(1, 101))
    assert workers() == []
    # What is there already needs no process.
    shutil.rmtree(begun / "store" / "tune")
    again = Listener()
    run(begun, "{workers: 2}", again)
    assert {label for label, _ in again.steps} == {"tune"}


def test_a_killed_worker_s_trial_goes_on_in_another(serial: tuple[Path, dict[str, Artifact]], begun: Path) -> None:
    listener = Listener({"trial 2: train": [signal.SIGKILL]})
    made = run(begun, "{workers: 1}", listener)
    told = trials(made)
    assert told[2].pop("losses") == ["was killed (SIGKILL), as systems do that run out of memory"]
    assert told == trials(serial[1])
    assert files(begun) == files(serial[0])
    heard = listener.told("trial 2: train")
    assert sorted(set(heard)) == list(range(1, 101))
    assert len(heard) <= 101  # the epoch that was on is told of twice, at most: the others were not repeated
    assert workers() == []

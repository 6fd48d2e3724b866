"""Steps that are made where the run's store is not. The maker is a pretender; stores, exchange and copies are real."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from data.contract import PenjingError
from pipeline.executors.courier import Courier
from pipeline.executors.exchange import ArtifactExchange
from pipeline.executors.handle import Exchange
from pipeline.executors.ray_pool import ExchangePassage
from pipeline.executors.steps import PlannedStep
from pipeline.files import sha256_of_json
from pipeline.runner import Runner
from pipeline.store import Artifact, Manifest, Store


def planned(stage: str, *inputs: PlannedStep) -> PlannedStep:
    parts = {"stage": stage, "inputs": {each.stage: each.key for each in inputs}}
    return PlannedStep(stage, sha256_of_json(parts), parts, {}, {each.stage: each.artifact for each in inputs})


BUILD = planned("build")
TRAIN = planned("train", BUILD)
PRUNE = planned("prune", TRAIN)


def made(store: Store, step: PlannedStep, text: str) -> Artifact:
    staging = store.stage_folder(*step.artifact)
    (staging / "model.txt").write_text(text)
    parents = tuple(step.inputs.values())
    return store.commit(staging, Manifest(step.stage, step.key, step.parts, parents, {}, (), {}, 1.0))


class Pretender:
    """Counts to three in its checkpoint, slowly; where it is told to, it crashes on the way."""

    def __init__(self, store: Store) -> None:
        self.store, self.began_at, self.crashes = store, [-1], False

    def make_step(self, step: PlannedStep, begun: Callable[[], object]) -> Artifact:
        assert all(self.store.find(*source) is not None for source in step.inputs.values())
        scratch = self.store.scratch(*step.artifact)
        scratch.mkdir(parents=True, exist_ok=True)
        checkpoint = scratch / "train.checkpoint"
        self.began_at.append(int(checkpoint.read_text()) if checkpoint.exists() else 0)
        for count in range(self.began_at[-1] + 1, 4):
            checkpoint.write_text(str(count))
            time.sleep(0.3)
            if self.crashes:
                raise MemoryError
        return made(self.store, step, "trained")


class Site:
    """A machine with a store of copies of its own."""

    def __init__(self, folder: Path, exchange: Path) -> None:
        self.store = Store(folder)
        self.notes: list[str] = []
        self.pretender = Pretender(self.store)
        section = Exchange(f"file://{exchange}", 0.05)
        self.courier = Courier(cast(Runner, self.pretender), self.store, section, self.notes.append)

    def make(self, step: PlannedStep) -> None:
        self.courier.make_step(step, lambda: None)


@pytest.fixture
def exchange(tmp_path: Path) -> ArtifactExchange:
    """Where the run has sent what `train` takes."""
    place = ArtifactExchange(f"file://{tmp_path / 'exchange'}", print)
    place.push(made(Store(tmp_path / "run"), BUILD, "built"))
    return place


@pytest.fixture
def sites(tmp_path: Path, exchange: ArtifactExchange) -> tuple[Site, Site]:
    return Site(tmp_path / "one", tmp_path / "exchange"), Site(tmp_path / "other", tmp_path / "exchange")


def content(folder: Path) -> Any:
    return sorted(str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file())


def test_a_trial_that_breaks_off_goes_on_at_another_place(
    sites: tuple[Site, Site], exchange: ArtifactExchange, tmp_path: Path
) -> None:
    one, other = sites
    one.pretender.crashes = True
    with pytest.raises(MemoryError):
        one.make(TRAIN)
    assert content(tmp_path / "exchange") == [
        f".scratch/train/{TRAIN.key}/train.checkpoint",
        f"build/{BUILD.key}.tar",
    ]
    other.make(TRAIN)
    assert other.pretender.began_at[1:] == [1]
    assert content(tmp_path / "exchange") == [f"build/{BUILD.key}.tar", f"train/{TRAIN.key}.tar"]
    arrived = exchange.pull(*TRAIN.artifact, Store(tmp_path / "run"))
    assert arrived is not None
    assert (arrived.folder / "model.txt").read_text() == "trained"
    # What is there is not made again, wherever it is asked for.
    one.make(TRAIN)
    assert one.pretender.began_at[1:] == [0]
    assert one.store.find(*TRAIN.artifact) is not None
    assert one.notes == other.notes == []


def test_what_a_run_wants_anew_is_made_anew_where_a_copy_is_left(
    sites: tuple[Site, Site], exchange: ArtifactExchange
) -> None:
    site = sites[0]
    made(site.store, TRAIN, "stale")
    exchange.forget(*TRAIN.artifact)
    site.make(TRAIN)
    assert (site.store.folder(*TRAIN.artifact) / "model.txt").read_text() == "trained"


def test_an_input_that_is_nowhere_is_an_error(sites: tuple[Site, Site], exchange: ArtifactExchange) -> None:
    exchange.forget(*BUILD.artifact)
    with pytest.raises(PenjingError) as refused:
        sites[0].make(TRAIN)
    assert str(refused.value) == (
        f"engine.store_url: expected build {BUILD.key[:12]} to be there, got none. Start the run again."
    )


def test_what_a_model_was_made_from_comes_along(sites: tuple[Site, Site], tmp_path: Path) -> None:
    run = Store(tmp_path / "run")
    place = ArtifactExchange(f"file://{tmp_path / 'another'}", print)
    ExchangePassage(place, run).send([made(run, TRAIN, "trained")])
    site = Site(tmp_path / "one", tmp_path / "another")
    site.make(PRUNE)
    # Whether a model may bring code along is asked of the stage that it goes back to.
    assert site.store.manifest(*BUILD.artifact) is not None


def test_another_run_s_worker_on_the_same_machine_waits_until_the_copy_has_left(
    sites: tuple[Site, Site], tmp_path: Path
) -> None:
    site = sites[0]
    beside = Site(tmp_path / "one", tmp_path / "exchange")
    others = [threading.Thread(target=each.make, args=(TRAIN,)) for each in (site, beside)]
    for each in others:
        each.start()
    for each in others:
        each.join()
    assert len(site.pretender.began_at) + len(beside.pretender.began_at) == 3  # one of them made it
    assert not (site.store.root / ".aside").is_dir() or not list((site.store.root / ".aside").iterdir())

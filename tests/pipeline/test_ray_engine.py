"""Trials on a real Ray cluster of three nodes: the same weights, a node that is killed, a run that is killed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data.contract import ConfigError, DataError, PenjingError
from pipeline.artifacts import SavedModel
from pipeline.code_digest import ROOMS
from pipeline.engine_config import RayEngineConfig
from pipeline.executors.handle import Setup
from pipeline.executors.pool import WorkerPool
from pipeline.executors.ray_data import RayDataSpread
from pipeline.executors.ray_pool import ray_engine
from pipeline.executors.ray_room import Nodes, Waiting
from pipeline.executors.ray_team import RayPlacement
from pipeline.executors.steps import PlannedStep
from pipeline.executors.team import Team
from pipeline.ray_cluster import RayConnection
from pipeline.store import Store
from tests.cli.small_run import ROOT
from tests.pipeline.ray_losses import HostKiller, NodeKiller, groups, trained
from tests.pipeline.ray_nodes import cluster_of_three, read_twice, until, workers
from tests.pipeline.test_worker_pool import Heard, log, outcome, submit
from tests.pipeline.test_worker_processes import Listener, files, run, trials

TEXT = """\
name: small
seed: 3
task: classification
data: {source: builtin, name: digits}
model: {family: cnn, blocks: [{filters: 8, pool: 2}], head: dense}
train: {epochs: 1, batch_size: 64, optimizer: {learning_rate: 0.01}}
tune: {trials: 3, epochs: 60, oracle: random, penalties: [l2], batch_trials: 3}
"""


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Path]]:
    """The cluster, and the folder for temporary files on its nodes."""
    folder = tmp_path_factory.mktemp("nodes")
    with cluster_of_three(folder) as cluster:
        yield cluster, folder


@pytest.fixture
def pool(nodes: tuple[Any, Path], tmp_path: Path, heard: Heard) -> Iterator[WorkerPool]:
    """Workers that pretend, on the cluster."""
    section = RayEngineConfig(kind="ray", address=nodes[0].address, silence_seconds=5.0)
    with (
        RayConnection(section.address, heard.note, (*ROOMS, "tests")) as connection,
        ray_engine(section, connection, 3, Store(tmp_path), 1, heard, "tests.pipeline.pretend_worker") as engine,
    ):
        yield engine.pool


@pytest.fixture
def heard() -> Heard:
    return Heard()


def test_what_happens_to_a_worker_on_a_node(pool: WorkerPool, heard: Heard, tmp_path: Path) -> None:
    names = {"a": "killed", "b": "raises", "c": "hangs always", "d": "refuses", "e": "ok"}
    jobs = {name: submit(pool, name, stage) for name, stage in names.items()}
    ends = {name: outcome(pool, job) for name, job in jobs.items()}
    silent = "showed no progress for 5 s"
    assert ends == {
        "a": "made",
        "b": "made",
        "c": f"engine: expected a process that comes to its end, got two that did not: the first {silent}; "
        f"the second {silent}.",
        "d": "prune.sparsity: expected less, got more.",
        "e": "made",
    }
    assert isinstance(jobs["d"].error, ConfigError)
    assert {name: job.losses for name, job in jobs.items()} == {
        "a": ["was killed (SIGKILL), as systems do that run out of memory"],
        "b": ["crashed: ValueError: no such thing"],
        "c": [silent, silent],
        "d": [],
        "e": [],
    }
    assert [log(tmp_path).count(f"{name} begins") for name in names] == [2, 2, 2, 1, 1]
    assert ("trial e: work", 2) in heard.steps
    assert any(note.startswith("trial a: its process was killed") for note in heard.notes)


def test_a_node_with_other_libraries_is_refused(
    pool: WorkerPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.executors.ray_room.versions_of", lambda libraries: {"python": "2.7", "numpy": "1.0"})
    expected = r"^engine: expected nodes with the libraries of this machine, got numpy \d\S+ in place of 1\.0, python 3"
    with pytest.raises(PenjingError, match=expected):
        outcome(pool, submit(pool, "a", "ok"))


def test_ray_data_keeps_the_order_and_tells_errors_as_they_are(
    nodes: tuple[Any, Path], heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RayConnection(nodes[0].address, heard.note, (*ROOMS, "tests")) as connection:
        spread = RayDataSpread(connection, ("numpy",))
        items = [5, 3, 4, 1]
        assert list(spread(read_twice, items)) == [(item, count) for item in items for count in (1, 2)]
        made = spread(read_twice, [2, -1, -2])
        assert [next(made), next(made)] == [(2, 1), (2, 2)]
        with pytest.raises(DataError, match=r"^data\.path: expected no -1\.$"):
            next(made)
        monkeypatch.setattr("pipeline.executors.ray_data.versions_of", lambda _: {"python": "2.7", "numpy": "1.0"})
        expected = (
            r"^engine: expected nodes with the libraries of this machine, got numpy \d\S+ in place of 1\.0, python 3"
        )
        with pytest.raises(PenjingError, match=expected):
            list(spread(read_twice, items))


def test_a_node_that_does_not_see_the_store_is_refused(nodes: tuple[Any, Path], tmp_path: Path) -> None:
    section, heard = RayEngineConfig(kind="ray", address=nodes[0].address), Heard()
    elsewhere = Store(tmp_path / "elsewhere")
    with (
        RayConnection(section.address, heard.note) as connection,
        ray_engine(section, connection, 1, elsewhere, 1, heard) as engine,
        pytest.raises(PenjingError) as refused,
    ):
        outcome(engine.pool, submit(engine.pool, "a", "ok"))
    assert str(refused.value) == (
        "engine.store_url: expected it, or a work directory that every node sees under the same path, got "
        f"{socket.gethostname()} without {elsewhere.root}. Say a URL that all of them reach."
    )


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"gpus_per_trial": 1},
            "engine.gpus_per_trial: expected at most 0, what the largest of 3 nodes has, got 1. Ask for less, or add a "
            "node.",
        ),
        ({"cpus_per_trial": 2}, "engine.cpus_per_trial: expected at most 1, what the largest of 3 nodes has, got 2. "),
    ],
)
def test_more_than_any_node_has_is_refused(
    nodes: tuple[Any, Path], tmp_path: Path, asked: dict[str, Any], message: str
) -> None:
    section = RayEngineConfig(kind="ray", address=nodes[0].address, **asked)
    heard = Heard()
    with (
        RayConnection(section.address, heard.note) as connection,
        ray_engine(section, connection, 1, Store(tmp_path), 1, heard) as engine,
        pytest.raises(PenjingError) as refused,
    ):
        submit(engine.pool, "a", "ok")
    assert str(refused.value).startswith(message)


def test_room_for_some_workers_of_a_training_is_not_taken(
    nodes: tuple[Any, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Waiting, "_PATIENCE_SECONDS", 0.5)
    section, heard = RayEngineConfig(kind="ray", address=nodes[0].address, wait_seconds=2.0), Heard()
    with RayConnection(section.address, heard.note) as connection:
        placement = RayPlacement(Nodes(section, connection), 1, heard.note)
        team = Team(placement, Setup(tmp_path, 1), PlannedStep("train", "a", {}, {}, {}), tmp_path, heard)
        with pytest.raises(PenjingError) as refused:
            team.train("train", 4)  # on three nodes of one processor
        assert {each["state"] for each in groups()} == {"REMOVED"}
    assert heard.notes == [f"engine: waiting for the cluster to place {FOUR}"]
    assert str(refused.value) == (
        f"engine.wait_seconds: expected the cluster to place {FOUR} within 2 s, got none. Add a node, end what "
        "else runs there, or ask for less."
    )


FOUR = "4 workers of a training at once (CPU 1 each)"


def test_a_cluster_that_does_not_answer_is_an_error_at_once(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        port = taken.getsockname()[1]
        started = time.monotonic()
        for scheme in ("", "ray://"):
            with pytest.raises(PenjingError) as refused:
                run(tmp_path, f"{{kind: ray, address: '{scheme}127.0.0.1:{port}'}}", Listener(), TEXT)
            assert str(refused.value) == (
                f"engine.address: expected a Ray cluster that answers at {scheme}127.0.0.1:{port}, got: Connection "
                "refused. Start it (`ray start --head`), or take address out to run on this machine."
            )
            assert refused.value.exit_code == 1
        assert time.monotonic() - started < 5
    assert not (tmp_path / "store" / "ingest").exists()  # before anything was made


CONFIG = """\
name: small
seed: 3
task: classification
data: {source: builtin, name: iris}
model: {family: mlp, units: [8]}
train: {epochs: 1, batch_size: 16}
tune: {trials: 1, epochs: 100000, oracle: random}
"""


def test_a_killed_run_started_again_goes_on_and_an_interrupted_one_leaves_nothing(
    nodes: tuple[Any, Path], tmp_path: Path
) -> None:
    config = tmp_path / "small.yaml"
    config.write_text(f"{CONFIG}engine: {{kind: ray, address: '{nodes[0].address}'}}\n")
    command = [sys.executable, str(ROOT / "run_pipeline.py"), "run", str(config), "--workdir", str(tmp_path / "runs")]
    log_file = tmp_path / "runs" / "small" / "run.log"
    told = 0
    for number in (signal.SIGKILL, signal.SIGINT):
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

        def is_training(told: int = told, process: subprocess.Popen[str] = process) -> bool:
            lines = log_file.read_text()[told:] if log_file.exists() else ""
            # One epoch is told of before its checkpoint is written; the next comes after it.
            return process.poll() is not None or re.search(r"trial 1: train (?!1/)\d+/", lines) is not None

        assert until(is_training, 200)
        assert len(workers(nodes[1])) == 1, log_file.read_text()
        os.killpg(process.pid, number)
        printed, errors = process.communicate(timeout=60)
        if number == signal.SIGINT:
            assert process.returncode == 130, errors
            assert errors == "interrupted\n"
            assert "go on with: python run_pipeline.py run" in printed
        assert until(lambda: workers(nodes[1]) == [], 30)
        if number == signal.SIGKILL:
            told = log_file.stat().st_size
    # The second run went on from where the first was.
    assert min(map(int, re.findall(r"trial 1: train (\d+)/", log_file.read_text()[told:]))) > 1


# The node is gone for good.
def test_a_killed_node_s_trial_goes_on_elsewhere_to_the_same_bytes(nodes: tuple[Any, Path], tmp_path: Path) -> None:
    for name in ("serial", "ray"):
        (tmp_path / name).mkdir()
    serial = run(tmp_path / "serial", "null", Listener(), TEXT)
    for stage in ("ingest", "build"):
        shutil.copytree(tmp_path / "serial" / "store" / stage, tmp_path / "ray" / "store" / stage)
    exchange = tmp_path / "exchange"
    listener = NodeKiller(nodes[0], exchange, nodes[1])
    address = f"kind: ray, address: '{nodes[0].address}'"
    engine = f"{{{address}, store_url: 'file://{exchange}', checkpoint_seconds: 0.2}}"
    made = run(tmp_path / "ray", engine, listener, TEXT)
    assert listener.killed is not None
    told, expected = trials(made), trials(serial)
    lost = [trial["trial"] for trial in told if trial.pop("losses", None) == ["was lost with its node"]]
    assert len(lost) == 1
    assert told == expected
    assert files(tmp_path / "ray") == files(tmp_path / "serial")
    assert made["tune"].manifest.key == serial["tune"].manifest.key
    assert made["tune"].manifest.parents == serial["tune"].manifest.parents
    # It went on from its last checkpoint, on another node: no epoch before that was repeated.
    label = f"trial {lost[0]}: train"
    before = [done for each, done in listener.steps[: listener.lost_at] if each == label]
    after = [done for each, done in listener.steps[listener.lost_at :] if each == label]
    assert before == list(range(1, len(before) + 1))
    assert after == list(range(after[0], 61))
    assert after[0] > 1
    # What passed the exchange is what the trials took and made; checkpoints are gone with what they were for.
    passed = {(path.parent.name, path.stem) for path in exchange.glob("*/*.tar")}
    own = ("train", made["train"].manifest.key)
    assert passed == {each for each in made["tune"].manifest.parents if each != own}
    assert list(exchange.glob(".scratch/*/*")) == []
    assert until(lambda: workers(nodes[1]) == [], 30)
    # What workers brought to the exchange needs no worker, nor a cluster, to be had again.
    shutil.rmtree(tmp_path / "ray" / "store" / "tune")
    for trial in made["tune"].manifest.parents[-3:]:
        shutil.rmtree(tmp_path / "ray" / "store" / trial[0] / trial[1])
    again = run(tmp_path / "ray", engine, Listener(), TEXT)
    assert trials(again) == expected


# Nodes go, and come.
def test_two_workers_on_two_nodes_learn_what_two_here_do_though_one_node_is_killed(
    nodes: tuple[Any, Path], tmp_path: Path
) -> None:
    here = trained(tmp_path / "here", "null", Listener())
    listener = HostKiller(*nodes)
    there = trained(tmp_path / "there", f"{{kind: ray, address: '{nodes[0].address}'}}", listener)
    assert len(listener.at_work) == 2
    # Nodes that have much else to do may take a while to start the workers, which is told as well.
    (note,) = (each for each in listener.notes if not each.startswith("engine: waiting for the cluster to place"))
    assert re.fullmatch(r"train: worker [01] was lost with its node; all 2 start again at epoch \d+", note)
    assert there.manifest.key == here.manifest.key
    learned = [SavedModel.open(made.folder, "train").load().get_weights() for made in (here, there)]
    assert [weight.tobytes() for weight in learned[1]] == [weight.tobytes() for weight in learned[0]]
    assert until(lambda: workers(nodes[1], "member") == [], 30)

"""Who starts the workers of a training, and what becomes of it when they are lost. Processes are real, and small."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.contract import ConfigError, PenjingError, StoreError, TrainingError
from pipeline.checkpoints import FileCheckpoints
from pipeline.cluster import Cluster, cluster_of
from pipeline.config_reading.file import load_config
from pipeline.executors.handle import Loss, Setup, Worker
from pipeline.executors.placement import ClusterPlacement, LocalPlacement, cores_of
from pipeline.executors.pool import WorkerPool
from pipeline.executors.pooled import Engine, SharedFolder
from pipeline.executors.process import WorkerProcess
from pipeline.executors.steps import PlannedStep
from pipeline.executors.team import Ends, Team
from pipeline.participation import Participation
from pipeline.runner import Runner
from pipeline.runs import RunFile, Workdir
from pipeline.store import Store
from tests.pipeline.test_worker_pool import KILLED, Heard


class RunHeard(Heard):
    """Hears of stages too."""

    def begin(self, planned: Any) -> None: ...

    def end(self, planned: Any, artifact: Any, cached: bool) -> None: ...


@dataclass(frozen=True)
class Pretended:
    """Workers that import no TensorFlow; what befalls each says its stage."""

    stages: tuple[str, ...]

    @contextmanager
    def workers(self, setup: Setup, step: PlannedStep, count: int) -> Iterator[Mapping[int, Worker]]:
        workers: dict[int, Worker] = {}
        for index in range(count):
            workers[index] = WorkerProcess(setup, "tests.pipeline.pretend_worker")
            workers[index].give((replace(step, stage=self.stages[index], key=f"{step.key}{index}"),))
        try:
            yield workers
        finally:
            for worker in workers.values():
                worker.end()


def team(folder: Path, heard: Heard, *stages: str) -> Team:
    return Team(Pretended(stages), Setup(folder, 1), PlannedStep("train", "a", {}, {}, {}), folder, heard)


def test_what_the_first_worker_tells_is_told_on(tmp_path: Path) -> None:
    heard = Heard()
    team(tmp_path, heard, "ok", "ok").train("train", 2)
    assert heard.steps == [("work", 1), ("work", 2)]
    assert heard.notes == []


@pytest.mark.parametrize(
    ("stages", "lost"),
    [
        (("waits", "killed"), f"worker 1 {KILLED}"),  # the first one is not done before the other has begun
        (("crashes", "ok"), "worker 0 crashed with SIGSEGV"),
    ],
)
def test_all_start_again_where_one_is_lost(stages: tuple[str, ...], lost: str, tmp_path: Path) -> None:
    heard = Heard()
    team(tmp_path, heard, *stages).train("train", 2)
    assert heard.notes == [f"train: {lost}; all 2 start again at the beginning"]


def test_one_that_is_lost_again_and_again_ends_the_training(tmp_path: Path) -> None:
    heard = Heard()
    message = (
        r"^train\.workers: expected workers that come to the end of an epoch, got 3 losses in a row: "
        r"worker 1 ended with exit code 3; worker 1 ended with exit code 3; worker 1 ended with exit code 3\. "
        r"See run\.log; what was finished is kept\."
    )
    with pytest.raises(TrainingError, match=message):
        team(tmp_path, heard, "waits", "exits always").train("train", 2)
    assert len(heard.notes) == 2


def test_the_cause_is_the_one_that_took_the_others_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.executors.team._CAUSE_SECONDS", 1000.0)
    ends = Ends(3)
    assert ends.cause() is None
    ends.alone |= {0, 1}
    ends.losses[0] = Loss("crashed: ConnectionError: another is gone")
    assert ends.cause() is None  # whose end that was is still to come
    ends.losses[2] = Loss("was lost with its node", node=True)
    assert ends.cause() == "worker 2 was lost with its node"
    assert Ends(3, {0: Loss("crashed"), 2: Loss("was lost", killed=True)}).cause() == "worker 2 was lost"
    assert Ends(2, {1: Loss("crashed"), 0: Loss("crashed too")}, {0}).cause() == "worker 1 crashed"
    assert Ends(1, {1: Loss("lost touch")}, {1}).cause() == "worker 1 lost touch"  # the others are elsewhere
    monkeypatch.setattr("pipeline.executors.team._CAUSE_SECONDS", 0.0)
    assert Ends(2, {1: Loss("lost touch")}, {1}).cause() == "worker 1 lost touch"


def test_what_the_training_refuses_is_not_tried_again(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^prune\.sparsity: expected less, got more\.$"):
        team(tmp_path, Heard(), "refuses always", "ok").train("train", 2)


def test_a_training_that_is_at_its_end_starts_no_worker(tmp_path: Path) -> None:
    kept = FileCheckpoints(tmp_path / "train.checkpoint")
    kept.save({"a": np.zeros(2)}, {"stopped_by": "epochs", "resumes_at": "the end of training"})
    assert kept.state() == {"stopped_by": "epochs", "resumes_at": "the end of training"}
    team(tmp_path, Heard()).train("train", 2)  # there is no stage for it to start


def test_tf_config_places_the_workers_before_an_engine_does(tmp_path: Path) -> None:
    pool = WorkerPool(Setup(tmp_path, 1), [], None, Heard(), WorkerProcess)
    by_engine, by_others = Pretended(()), ClusterPlacement(("a:1", "b:1"), 0)
    placed = [
        Runner(Store(tmp_path), RunHeard(), 1, engine, placement)._placement()
        for engine in (None, Engine(pool, SharedFolder()), Engine(pool, SharedFolder(), placement=by_engine))
        for placement in (None, by_others)
    ]
    assert placed == [LocalPlacement(), by_others, LocalPlacement(), by_others, by_engine, by_others]


def test_cores_are_divided() -> None:
    assert [cores_of(index, 3, [0, 2, 4, 6]) for index in range(3)] == [(0,), (2,), (4, 6)]
    assert [cores_of(index, 3, [0, 1]) for index in range(3)] == [(0,), (1,), (0,)]


# ----------------------------------------------------------------------------------------- TF_CONFIG

JOBS = '"cluster": {"chief": ["a:1"], "worker": ["b:1", "c:1"]}'


def test_a_cluster_is_read() -> None:
    addresses = ("a:1", "b:1", "c:1")
    assert cluster_of(f'{{{JOBS}, "task": {{"type": "chief", "index": 0}}}}') == Cluster(addresses, 0)
    assert cluster_of(f'{{{JOBS}, "task": {{"type": "worker", "index": 1}}}}') == Cluster(addresses, 2)
    one = '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}'
    assert [cluster_of(text) for text in (None, " ", one)] == [None, None, None]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "TF_CONFIG: expected JSON, got {. Whatever starts the workers sets it."),
        ('{"task": {}}', "TF_CONFIG: expected an object with 'cluster' and 'task', got "),
        (
            '{"cluster": {"ps": [], "worker": []}, "task": {}}',
            "TF_CONFIG: expected the jobs chief and worker alone, got ps.",
        ),
        (
            '{"cluster": {"worker": ["a"]}, "task": {}}',
            "TF_CONFIG: expected a list of 'host:port' in cluster.worker, got [\"a\"].",
        ),
        (
            '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
            'TF_CONFIG: expected a task that is one of the cluster\'s, got {"type": "worker", "index": 1}.',
        ),
        (
            '{"cluster": {"worker": ["a:1", "a:1"]}, "task": {"type": "worker", "index": 1}}',
            "TF_CONFIG: expected one chief at most, and each address once, got ",
        ),
    ],
)
def test_a_malformed_cluster_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        cluster_of(text)
    assert str(error.value).startswith(message)


def test_a_config_asks_for_the_workers_that_there_are() -> None:
    Cluster(("a:1", "b:1"), 0).require_workers(2)
    with pytest.raises(
        ConfigError, match=r"^train\.workers: expected 2, the workers that TF_CONFIG names, got 1\. Say"
    ):
        Cluster(("a:1", "b:1"), 0).require_workers(1)


# ------------------------------------------------------------------------------ beside a run that leads

TEXT = """\
name: small
task: classification
data: {source: builtin, name: iris}
model: {family: mlp}
train: {workers: 2, batch_size: 8}
"""


@pytest.fixture
def aside(tmp_path: Path) -> Participation:
    (tmp_path / "small.yaml").write_text(TEXT)
    config = load_config(tmp_path / "small.yaml").config
    cluster = Cluster(("a:1", "b:1"), 1)
    return Participation(Workdir(tmp_path), config, "text", cluster, Heard(), 0.0, 0.0, pause=lambda _: None)


def leading(text: str = "text", state: str = "running") -> RunFile:
    keys = {"ingest": "i", "build": "b", "train": "t"}
    return RunFile("small", "classification", 1, text, "python", keys, state)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", [None, "another config"])
def test_a_work_directory_that_is_not_shared(text: str | None, aside: Participation, tmp_path: Path) -> None:
    if text is not None:
        aside.workdir.write(leading(text))
    message = (
        r"^--workdir: expected a folder that all workers share, with the run 'small' of this config in it, "
        rf"got none in {tmp_path} for 0 s\. Mount one work directory on all machines, and start the same command "
        r"there\.$"
    )
    with pytest.raises(StoreError, match=message):
        aside.run()


def test_a_training_that_is_over_needs_no_worker(aside: Participation) -> None:
    aside.workdir.write(leading(state="done"))
    aside.workdir.store().folder("train", "t").mkdir(parents=True)
    assert aside.run() == "worker 1 of 2: the training is over, and nothing else is to be done here"


def test_a_training_that_is_to_be_repeated_is_not_over(aside: Participation, tmp_path: Path) -> None:
    folder = aside.workdir.store().folder("train", "t")
    folder.mkdir(parents=True)
    aside.workdir.write(leading(state="done"))  # of an earlier run
    waited = []

    def pause(_: float) -> None:
        waited.append(len(waited))
        if len(waited) == 1:  # the leading run starts,
            aside.workdir.write(leading())
        elif len(waited) == 3:  # sets aside what there was, and trains
            folder.rename(tmp_path / "aside")
        elif len(waited) == 5:
            folder.mkdir()

    forced = replace(aside, anew=True, pause=pause, patience_seconds=60.0)
    assert forced.run() == "worker 1 of 2: the training is over, and nothing else is to be done here"
    assert len(waited) == 5


@pytest.mark.parametrize(
    ("state", "ended"),
    [("failed", "failed"), ("interrupted", "was interrupted"), ("done", "ended without a training")],
)
def test_a_leading_run_that_ended(state: str, ended: str, aside: Participation) -> None:
    aside.workdir.write(leading(state=state))
    with pytest.raises(
        PenjingError, match=rf"^train: expected the leading run to go on, got one that {ended}\. See its"
    ):
        aside.run()


# ----------------------------------------------------------------------------------------- the config


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "batch_size: 8",
            "batch_size: 1",
            "train.workers: expected at most train.batch_size (1), got 2. The workers share the rows of each batch: "
            "raise batch_size, or take fewer.",
        ),
        (
            "task: classification",
            "task: clustering\nclustering: {num_clusters: 3}",
            "train.workers: expected 1 with task: clustering, got 2. Clusters are learned in several trainings, "
            "between which all rows are looked at: take the key out.",
        ),
        ("workers: 2", "workers: 0", "train.workers: expected a whole number from 1 to 1024, got 0."),
    ],
)
def test_workers_that_cannot_be(old: str, new: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(TEXT.replace("mlp", "autoencoder" if "clustering" in new else "mlp").replace(old, new))
    with pytest.raises(ConfigError) as error:
        load_config(path)
    assert message in str(error.value)

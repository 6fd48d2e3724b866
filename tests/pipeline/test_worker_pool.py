"""The pool of workers: who works at what, and what becomes of trials whose process is lost. Processes are real."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest

from data.contract import ConfigError, PenjingError
from pipeline.executors.handle import Setup
from pipeline.executors.pool import Job, WorkerPool
from pipeline.executors.process import WorkerProcess
from pipeline.executors.steps import PlannedStep
from pipeline.trials import TrialLostError

KILLED = "was killed (SIGKILL), as systems do that run out of memory"


class Heard:
    """Remembers what it hears."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.steps: list[tuple[str, int]] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def step(self, label: str, done: int, total: int, figures: Mapping[str, float | str]) -> None:
        self.steps.append((label, done))


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def pool(tmp_path: Path, heard: Heard, request: pytest.FixtureRequest) -> Iterator[WorkerPool]:
    """A pool of as many workers as the test asks for; two if it does not."""
    start = partial(WorkerProcess, module="tests.pipeline.pretend_worker", memory_bytes=250_000_000)
    lent = WorkerPool(Setup(tmp_path, 1), [()] * getattr(request, "param", 2), 5.0, heard, start)
    yield lent
    lent.close()


def submit(pool: WorkerPool, name: str, *stages: str) -> Job:
    steps = tuple(PlannedStep(stage, f"{name}{place or ''}", {}, {}, {}) for place, stage in enumerate(stages))
    return pool.submit(steps, f"trial {name}")


def outcome(pool: WorkerPool, job: Job) -> str:
    pool.finish(job)
    return "made" if job.error is None else str(job.error)


def log(folder: Path) -> list[str]:
    return [line.replace("@", "") for line in (folder / "log").read_text().splitlines()]


def test_trials_run_side_by_side_and_those_that_share_an_artifact_do_not(pool: WorkerPool, tmp_path: Path) -> None:
    jobs = [submit(pool, "a", "ok"), submit(pool, "a", "ok"), submit(pool, "b", "ok", "ok")]
    assert [outcome(pool, job) for job in jobs] == ["made"] * 3
    told = log(tmp_path)
    assert told.index("b begins") < told.index("b1 ends")
    assert min(told.index("a begins"), told.index("b begins")) == 0
    assert told.index("b begins") < told.index("b ends")
    # The second trial that needs `a` began once the first had ended.
    assert [line for line in told if line.startswith("a")] == ["a begins", "a ends"] * 2


@pytest.mark.parametrize(
    ("stage", "cause"),
    [
        ("killed", KILLED),
        ("crashes", "crashed with SIGSEGV"),
        ("raises", "crashed: ValueError: no such thing"),
        ("exits", "ended with exit code 3"),
        ("hangs", "showed no progress for 5 s"),
    ],
)
def test_what_happens_once_is_noted_and_twice_is_a_failure(
    stage: str, cause: str, pool: WorkerPool, heard: Heard, tmp_path: Path
) -> None:
    once, twice, other = submit(pool, "a", stage), submit(pool, "b", f"{stage} always"), submit(pool, "c", "ok")
    assert outcome(pool, once) == "made"
    assert once.losses == [cause]
    expected = "engine: expected a process that comes to its end, got two that did not:"
    assert outcome(pool, twice) == f"{expected} the first {cause}; the second {cause}."
    assert isinstance(twice.error, TrialLostError)
    assert outcome(pool, other) == "made"
    for name in ("a", "b"):
        assert f"trial {name}: its process {cause}; it is tried once more" in heard.notes
    told = log(tmp_path)
    assert [told.count(f"{name} begins") for name in "abc"] == [2, 2, 1]


def test_a_trial_that_takes_too_much_memory_is_ended_and_tried_again_alone(pool: WorkerPool, tmp_path: Path) -> None:
    once, twice, other = submit(pool, "a", "grows"), submit(pool, "b", "grows always"), submit(pool, "c", "ok")
    assert outcome(pool, once) == "made"
    (cause,) = once.losses
    held, limit = re.fullmatch(
        r"held ([\d,]+) bytes of memory, more than the ([\d,]+) of engine.memory_bytes_per_trial", cause
    ).groups()  # type: ignore[union-attr]
    assert limit == "250,000,000"
    assert 300_000_000 < int(held.replace(",", "")) < 400_000_000
    assert "got two that did not" in outcome(pool, twice)
    assert outcome(pool, other) == "made"
    told = log(tmp_path)
    second = len(told) - 1 - told[::-1].index("a begins")
    assert told[second : second + 2] == ["a begins", "a ends"]


def test_a_trial_that_was_killed_is_tried_again_alone(pool: WorkerPool, tmp_path: Path) -> None:
    jobs = [submit(pool, "a", "killed"), *(submit(pool, name, "ok") for name in "bcd")]
    assert [outcome(pool, job) for job in jobs] == ["made"] * 4
    told = log(tmp_path)
    second = len(told) - 1 - told[::-1].index("a begins")
    assert told[second : second + 2] == ["a begins", "a ends"]
    running = sum(1 if line.endswith("begins") else -1 for line in told[:second] if not line.startswith("a"))
    assert running == 0


def test_refusals_are_of_their_own_class_and_cost_no_process(pool: WorkerPool, heard: Heard) -> None:
    job = submit(pool, "a", "refuses")
    assert outcome(pool, job) == "prune.sparsity: expected less, got more."
    assert isinstance(job.error, ConfigError)
    assert (job.losses, heard.notes) == ([], [])
    assert heard.steps == [("trial a: work", 1)]


@pytest.mark.parametrize("pool", [1], indirect=True)
def test_who_waits_for_another_run_is_not_hung(pool: WorkerPool, heard: Heard) -> None:
    job = submit(pool, "a", "waits noted")  # for longer than a worker may be silent
    assert outcome(pool, job) == "made"
    assert job.losses == []
    assert heard.notes == ["trial a: another run is making it; waiting"]


@pytest.mark.parametrize("pool", [1], indirect=True)
def test_processes_that_do_not_start_end_the_run(pool: WorkerPool, tmp_path: Path) -> None:
    (tmp_path / "no start").touch()
    with pytest.raises(PenjingError, match=r"engine\.workers: expected processes that start, got one that ended with"):
        outcome(pool, submit(pool, "a", "ok"))


@pytest.mark.parametrize("stage", ["child killed", "child hangs", "child"])
def test_children_of_a_worker_end_with_it(stage: str, pool: WorkerPool, tmp_path: Path) -> None:
    assert outcome(pool, submit(pool, "a", stage)) == "made"
    pool.close()
    stat = Path("/proc") / (tmp_path / "child").read_text() / "stat"
    deadline = time.monotonic() + 5
    while stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z" and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_worker_that_was_collected_is_not_killed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = WorkerProcess(Setup(tmp_path, 1), "tests.pipeline.pretend_worker")
    killed: list[int] = []
    killpg = os.killpg
    monkeypatch.setattr(os, "killpg", lambda group, number: (killed.append(group), killpg(group, number)))
    worker.end()
    worker.end()  # its number may be another's by now
    assert len(killed) == 1

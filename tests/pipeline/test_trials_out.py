"""Trials that are out at once: what oracles propose meanwhile, how cores are divided, what a config may ask for."""

from __future__ import annotations

import sys
from collections import deque
from pathlib import Path
from typing import Any

import pytest

from models.compression_config import SearchConfig
from models.config import RegularizationConfig
from models.tuning_config import SpaceConfig, TuneConfig
from pipeline.candidates import Candidate
from pipeline.engine_config import LocalEngineConfig, RayEngineConfig
from pipeline.executors.local import shares_of
from pipeline.oracles import TuningOracle
from pipeline.search_oracle import CompressionOracle
from tests.pipeline.test_config_file import IRIS, load, problems
from tests.pipeline.test_oracles import score_of

Tried = tuple[RegularizationConfig | None, tuple[tuple[str, Any], ...], int | None]


def tried(config: TuneConfig, batch: int, failed: frozenset[int] = frozenset()) -> list[Tried]:
    """Runs a whole search with so many trials out at once, told in the order they were proposed."""
    oracle, found, told = TuningOracle(config, 7, 9), [], 0
    out: deque[Any] = deque()
    while True:
        while len(out) < batch and (proposal := oracle.ask()) is not None:
            found.append((proposal.regularization, tuple(sorted(proposal.values.items())), proposal.epochs))
            out.append(proposal)
        if not out:
            return found
        proposal = out.popleft()
        oracle.tell(proposal, None if told in failed else score_of(proposal.regularization))
        told += 1


@pytest.mark.parametrize("failed", [frozenset(), frozenset({0, 3})])
@pytest.mark.parametrize(
    "config",
    [
        TuneConfig(oracle="random", trials=9),
        TuneConfig(oracle="grid", trials=30, grid_points=3, space=SpaceConfig(activation=("relu", "elu"))),
        TuneConfig(oracle="hyperband", trials=24),
    ],
    ids=lambda config: config.oracle,
)
def test_what_is_tried_does_not_hang_on_how_many_are_out(config: TuneConfig, failed: frozenset[int]) -> None:
    one_by_one = tried(config, 1, failed)
    assert len(one_by_one) == {"random": 9, "grid": 30, "hyperband": 13 + 7 + 3}[config.oracle]
    for batch in (2, 3, 100):
        assert tried(config, batch, failed) == one_by_one


def test_the_bayesian_oracle_proposes_the_same_again_and_nothing_twice() -> None:
    several = tried(TuneConfig(oracle="bayesian", trials=9), 2)
    assert several == tried(TuneConfig(oracle="bayesian", trials=9), 2)
    assert len(set(several)) == 9
    # Six are drawn at random whatever was told; the seventh is too, since only five are told when it is asked for.
    assert several[:7] == tried(TuneConfig(oracle="bayesian", trials=7), 3)
    assert several[:6] == tried(TuneConfig(oracle="bayesian", trials=6), 1)


def looked_at(config: SearchConfig, batch: int) -> list[Candidate]:
    oracle, found = CompressionOracle(config, 5), []
    out: deque[Any] = deque()
    while True:
        while len(found) < config.candidates and len(out) < batch and (asked := oracle.ask()) is not None:
            found.append(asked[0])
            out.append(asked)
        if not out:
            return found
        candidate, trial = out.popleft()
        oracle.tell(trial, -candidate.sparsity)


def test_candidates_of_a_round_may_all_be_out() -> None:
    config = SearchConfig(candidates=20)
    one_by_one = looked_at(config, 1)
    assert [each.look for each in one_by_one] == ["one_shot"] * 15 + ["short"] * 4 + ["full"]
    for batch in (2, 20):
        assert looked_at(config, batch) == one_by_one


@pytest.mark.parametrize(
    ("workers", "most_at_once", "cores", "expected"),
    [
        ("auto", 8, [0, 1, 2], [(0,), (1,), (2,)]),
        ("auto", 2, [0, 1, 2, 3, 4], [(0, 1), (2, 3, 4)]),
        ("auto", 1, [0, 1], [()]),
        (1, 8, [0, 1], [()]),
        (2, 8, [4, 6], [(4,), (6,)]),
        (3, 8, [0, 1], [(0,), (1,), (0,)]),
        (3, 8, [0, 1, 2, 3, 4, 5, 6], [(0, 1), (2, 3), (4, 5, 6)]),
    ],
)
def test_cores_are_divided(workers: Any, most_at_once: int, cores: list[int], expected: list[tuple[int, ...]]) -> None:
    assert shares_of(LocalEngineConfig(workers=workers), most_at_once, cores) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "engine: {}\n",
            "engine: expected it together with a section tune or search, got it without. Nothing would run "
            "there: take it out.",
        ),
        (
            "engine: {workers: 2}\ntune: {}\n",
            "engine.workers: expected at most 1, the trials that are out at once, got 2. Take auto, or say "
            "`tune: {batch_trials: 2}`.",
        ),
        (
            "engine: {workers: 2}\nsearch: {}\ntarget: {max_latency_us: 3}\n",
            "engine.workers: expected at most 1, the trials that are out at once; candidates are timed one by one with "
            "target.max_latency_us, got 2. Take auto.",
        ),
        (
            "engine: {workers: 50}\nsearch: {candidates: 40}\ntune: {batch_trials: 3}\n",
            "engine.workers: expected at most 40, the trials that are out at once, got 50. Take auto, or say "
            "`tune: {batch_trials: 50}`.",
        ),
        ("engine: {workers: 0}\ntune: {}\n", "engine.workers: expected "),
        (
            "engine: {silence_seconds: 0}\ntune: {}\n",
            "engine.silence_seconds: expected a number above 0 or null, got 0.",
        ),
        (
            "engine: {kind: rey}\ntune: {}\n",
            "engine.kind: expected one of 'local', 'ray', got 'rey'.",
        ),
        (
            "engine: {kind: ray}\n",
            "engine: expected it together with a section tune or search, with train.workers above 1, or with images or "
            "a table to read, got it without. Nothing would run there: take it out.",
        ),
        (
            "engine: {kind: ray, workers: 2}\ntrain: {workers: 2}\n",
            "engine.workers: expected auto without a section tune or search, got 2. It says how many trials run at a "
            "time, and there are none: train.workers says how many train.",
        ),
        (
            "engine: {kind: ray, store_url: 's3://bucket/place'}\ntrain: {workers: 2}\n",
            "engine.store_url: expected null with train.workers: 2, got 's3://bucket/place'. All workers of a training "
            "read its checkpoints in the work directory, which every node must then see under the same path.",
        ),
        (
            "engine: {kind: ray, gpus_per_trial: 0.5}\ntrain: {workers: 2}\n",
            "engine.gpus_per_trial: expected a whole number with train.workers: 2, got 0.5. Trials may share a GPU; "
            "the workers of a training exchange gradients between their own.",
        ),
        ("engine: {kind: ray, workers: 2}\ntune: {}\n", "engine.workers: expected at most 1, the trials that are out"),
        (
            "engine: {kind: ray, address: ray//here}\ntune: {}\n",
            "engine.address: expected text that matches (auto|ray://[^/\\s]+:[0-9]{1,5}|[^/:\\s]+:[0-9]{1,5}), got ",
        ),
        (
            "engine: {kind: ray, store_url: 's3://me:hush@bucket/penjing'}\ntune: {}\n",
            "engine.store_url: expected a URL without credentials, which would be kept in run.json and in reports, got",
        ),
        (
            "engine: {kind: ray, gpus_per_trial: 1.5}\ntune: {}\n",
            "engine.gpus_per_trial: expected a whole number or a fraction below 1, got 1.5. Trials share one GPU, not "
            "several.",
        ),
        (
            "engine: {kind: ray, store_url: 'memory://x'}\ntune: {}\n",
            "engine.store_url: expected a place that all nodes reach, got 'memory://x'. Each process has its own "
            "memory.",
        ),
        ("engine: {kind: ray, store_url: ../shared}\ntune: {}\n", "engine.store_url: expected text that matches "),
        (
            "engine: {kind: ray, checkpoint_seconds: 3}\ntune: {}\n",
            "engine.checkpoint_seconds: expected it with engine.store_url alone, got it without. Nothing would read "
            "it: take it out.",
        ),
        (
            "engine: {kind: ray}\nsearch: {}\ntarget: {max_latency_us: 3}\n",
            "engine.kind: expected 'local' with section search and target.max_latency_us, got 'ray'. The limit is this "
            "machine's, and candidates must be timed on it.",
        ),
        ("engine: {cpus_per_trial: 2}\ntune: {}\n", "engine.cpus_per_trial: expected a key of 'engine', got "),
        ("engine: {threads: 2}\ntune: {}\n", "engine.threads: expected a key of 'engine', got 'threads'."),
        ("tune: {batch_trials: 0}\n", "tune.batch_trials: expected a whole number from 1 to 10000, got 0."),
        ("tune: {workers: 2}\n", "tune.workers: expected a key of 'tune', got 'workers'."),
    ],
)
def test_what_no_engine_can_do_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, IRIS + text)
    assert problem.partition(": ")[2].startswith(message), problem


def test_ray_may_read_files_without_trials(tmp_path: Path) -> None:
    images = IRIS.replace("data: {source: builtin, name: iris}", "data: {source: images, path: flowers}")
    assert "flowers" in images
    assert load(tmp_path, images + "engine: {kind: ray}\n").config.trials_at_once == 0
    told = [each.partition(": ")[2] for each in problems(tmp_path, images + "engine: {kind: ray, workers: 2}\n")]
    assert told == [
        "engine.workers: expected it with a section tune or search, or with train.workers above 1, got it without. "
        "Nothing would read it: take it out."
    ]
    (problem,) = problems(tmp_path, images + "engine: {kind: ray, store_url: 's3://a/b'}\n")
    assert "engine.store_url: expected it with a section tune or search, or with" in problem


def test_without_ray_a_config_that_asks_for_it_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not there
    assert problems(tmp_path, IRIS + "engine: {kind: ray}\ntune: {}\n") == [
        "run.yaml:5: engine.kind: expected ray to be installed, got 'ray' without it. Run: pip install -r "
        "requirements-ray.txt (on every node of the cluster too)."
    ]
    load(tmp_path, IRIS + "engine: {}\ntune: {}\n")


def test_an_engine_that_names_no_kind_is_local(tmp_path: Path) -> None:
    loaded = load(tmp_path, IRIS + "engine: {workers: 1}\ntune: {}\n")
    assert loaded.config.engine == LocalEngineConfig(workers=1)
    assert loaded.resolved["engine"] == {
        "kind": "local",
        "workers": 1,
        "memory_bytes_per_trial": None,
        "silence_seconds": 1800.0,
    }
    remote = load(
        tmp_path, IRIS + "engine: {kind: ray, address: 'ray://head:10001', memory_bytes_per_trial: 9}\ntune: {}\n"
    )
    assert remote.config.engine == RayEngineConfig(kind="ray", address="ray://head:10001", memory_bytes_per_trial=9)


def test_trials_at_once(tmp_path: Path) -> None:
    for text, expected in (
        ("", 0),
        ("tune: {}\n", 1),
        ("tune: {batch_trials: 3}\n", 3),
        ("search: {candidates: 20}\ntune: {batch_trials: 3}\n", 20),
        ("search: {candidates: 20}\ntune: {batch_trials: 3}\ntarget: {max_latency_us: 9}\n", 3),
    ):
        assert load(tmp_path, IRIS + text).config.trials_at_once == expected

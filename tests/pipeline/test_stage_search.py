"""Pieces of the search: the front, a candidate's section, what the oracle asks for."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from models.compression_config import (
    AwareConfig,
    ClusterConfig,
    ConvertConfig,
    DistillationConfig,
    PruneConfig,
    SearchConfig,
)
from models.tasks.classification import Classification
from pipeline.candidates import (
    LOOKS,
    Candidate,
    Trial,
    aware_section,
    cluster_section,
    front,
    named,
    prune_section,
)
from pipeline.config import TargetConfig
from pipeline.search_oracle import CompressionOracle, rounds
from pipeline.stages.search import Config, _Search

NODES = Candidate("node", "local", 0.4, "int8", "full")


def trial(score: float, size: float, arena: float | None = 100.0, latency: float = 10.0, **changed: Any) -> Trial:
    measured = {
        "min_score": score, "max_model_bytes": size, "max_arena_bytes": arena, "max_latency_us": latency,
    }  # fmt: skip
    return Trial(NODES, measured, (), (), **{"state": "done"} | changed)


def test_front_by_hand() -> None:
    trials = [
        trial(0.90, 100),
        trial(0.80, 100),  # beaten by the first
        trial(0.80, 50),
        trial(0.80, 60, arena=90.0),  # larger than the third, and less memory
        trial(0.95, 90, state="failed"),
        trial(0.70, 50, latency=9.5),  # faster by less than can be timed
        trial(0.70, 50, latency=5.0),
        trial(0.85, 40, arena=None),  # what does not run has the worst memory of all
    ]
    assert front(trials) == [7, 2, 6, 3, 0]


def test_of_equal_candidates_the_first_is_on_the_front() -> None:
    assert front([trial(0.9, 100), trial(0.9, 100)]) == [0]
    assert front([trial(0.9, 100, latency=11.0), trial(0.9, 100, latency=10.0)]) == [1]


@pytest.mark.parametrize(
    ("unit", "look", "expected"),
    [
        ("node", "full", {"unit": "node", "epochs": 7, "recovery_epochs": 5, "weight_sparsity": None}),
        ("weight", "one_shot", {"unit": "weight", "epochs": 0, "recovery_epochs": 0}),
        ("node_and_weight", "short", {"unit": ("node", "weight"), "epochs": 0, "recovery_epochs": 2}),
    ],
)
def test_section_of_a_candidate(unit: Any, look: Any, expected: dict[str, Any]) -> None:
    shared = PruneConfig(epochs=7, recovery_epochs=5, batch_size=99, distillation=DistillationConfig())
    section = prune_section(Candidate(unit, "local", 0.35, "int8", look), shared, 2)
    assert (section.scope, section.sparsity, section.batch_size) == ("local", 0.35, 99)
    assert section.distillation == DistillationConfig()
    assert {name: getattr(section, name) for name in expected} == expected


def asked(config: SearchConfig, seed: int) -> list[Candidate]:
    oracle, found = CompressionOracle(config, seed), []
    for _ in range(config.candidates):
        answer = oracle.ask()
        if answer is None:
            break
        found.append(answer[0])
        oracle.tell(answer[1], -answer[0].sparsity)
    return found


def test_the_oracle_looks_cheaply_first_and_longer_at_the_best() -> None:
    found = asked(SearchConfig(candidates=20), 5)
    assert [candidate.look for candidate in found] == ["one_shot"] * 15 + ["short"] * 4 + ["full"]
    least = sorted(candidate.sparsity for candidate in found[:15])
    assert sorted(candidate.sparsity for candidate in found[15:19]) == least[:4]
    assert found[19].sparsity == least[0]


@pytest.mark.parametrize(
    ("looks", "shared_out"),
    [
        (1, {"full": 1}),
        (2, {"one_shot": 1, "full": 1}),
        (3, {"one_shot": 1, "short": 1, "full": 1}),
        (10, {"one_shot": 5, "short": 4, "full": 1}),
        (40, {"one_shot": 30, "short": 8, "full": 2}),
        (100, {"one_shot": 75, "short": 20, "full": 5}),
    ],
)
def test_looks_are_shared_out_to_the_last(looks: int, shared_out: dict[str, int]) -> None:
    assert dict(rounds(looks)) == shared_out
    # Rounding makes candidates alike, and keras-tuner never draws one twice: the space must be large enough.
    assert Counter(each.look for each in asked(SearchConfig(candidates=looks), 5)) == shared_out


def test_candidates_that_cannot_be_made_do_not_end_the_search() -> None:
    oracle, looks = CompressionOracle(SearchConfig(candidates=20), 5), []
    for number in range(20):
        answer = oracle.ask()
        assert answer is not None
        looks.append(answer[0].look)
        oracle.tell(answer[1], 1.0 if number == 3 else None)
    assert looks == ["one_shot"] * 15 + ["short"] * 4 + ["full"]
    assert oracle.ask() is None


def test_candidates_are_the_same_again_and_within_the_space() -> None:
    config = SearchConfig(candidates=30, unit=("node", "none"), scope=("global",), max_sparsity=0.5)
    found = asked(config, 5)
    assert found == asked(config, 5) != asked(config, 6)
    assert Counter(candidate.look in LOOKS for candidate in found) == {True: len(found)}
    for candidate in found:
        assert candidate.unit in ("node", "none")
        assert candidate.scope == "global"
        assert (candidate.sparsity == 0.0) == (candidate.unit == "none")
        assert candidate.sparsity == 0.0 or 0.2 <= candidate.sparsity <= 0.5


@pytest.mark.parametrize(
    ("asked", "possible"),
    [
        ({"encoding": "sparse"}, {"encoding": "dense"}),  # only nodes went: there are no zeros
        ({"unit": "weight", "encoding": "sparse"}, {}),
        ({"encoding": "tables"}, {"encoding": "dense"}),
        ({"encoding": "tables", "clusters": 16}, {}),
        ({"unit": "weight", "encoding": "sparse", "precision": "int4"}, {"encoding": "dense"}),
        ({"aware": True}, {}),
        ({"aware": True, "look": "one_shot"}, {"aware": False}),
        ({"aware": True, "precision": "int4"}, {"aware": False}),
    ],
)
def test_what_cannot_be_becomes_the_nearest_that_can(asked: dict[str, Any], possible: dict[str, Any]) -> None:
    candidate = replace(NODES, **asked)
    assert candidate.possible == replace(candidate, **possible)


def test_sections_of_fewer_bits_by_look() -> None:
    candidate = replace(NODES, clusters=8, aware=True)
    shared, aware = ClusterConfig(epochs=5, min_layer_weights=9), AwareConfig(epochs=4, batch_size=99)
    epochs = {"one_shot": 0, "short": 2, "full": 5}
    for look, expected in epochs.items():
        section = cluster_section(replace(candidate, look=look), shared, 2)  # type: ignore[arg-type]
        assert (section.clusters, section.epochs, section.min_layer_weights) == (8, expected, 9)
    short = aware_section(replace(candidate, look="short"), aware, 2)
    assert short == aware.model_copy(update={"epochs": 2})
    assert aware_section(candidate, aware, 2) == aware
    assert aware_section(NODES, aware, 2) is None
    assert named(candidate) == "node 0.4 local 8 clusters aware int8 full"


def test_the_oracle_asks_for_every_kind_of_candidate() -> None:
    config = SearchConfig(
        candidates=60, precision=("int8", "int4"), clusters=(0, 8), encoding=("dense", "sparse", "tables"),
        aware=(False, True),
    )  # fmt: skip
    found = asked(config, 3)
    assert {each.encoding for each in found} == {"dense", "sparse", "tables"}
    assert {each.clusters for each in found} == {0, 8}
    assert {each.aware for each in found} == {False, True}
    assert all(each == each.possible for each in found)


@pytest.mark.parametrize(
    ("target", "held", "limit"),
    [
        (TargetConfig(), 0.01, 0.01),
        (TargetConfig(max_model_bytes=9000), 0.01, 0.01),
        (TargetConfig(max_score_drop=0.3), None, 0.3),
        (TargetConfig(min_score=0.9), None, None),
    ],
)
def test_the_score_is_held_where_the_target_names_none(
    target: TargetConfig, held: float | None, limit: float | None
) -> None:
    notes: list[str] = []
    workspace: Any = SimpleNamespace(progress=SimpleNamespace(note=notes.append))
    nothing: Any = None
    config = Config(SearchConfig(), None, None, None, ConvertConfig(), target)
    run = _Search(nothing, config, workspace, Classification(), 0.95)
    assert (run.held_drop, run.target.max_score_drop) == (held, limit)
    assert run.target.max_model_bytes == target.max_model_bytes
    told = "search: target names no score; the smallest model is sought whose validation accuracy is at most 0.01 below"
    assert [note.startswith(told) for note in notes] == ([] if held is None else [True])

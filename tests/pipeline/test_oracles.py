"""What proposes trials: ranges, mapping to penalties, determinism, and resuming by asking again."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from models.config import RegularizationConfig, TuneConfig
from pipeline.oracles import TuningOracle

Trial = tuple[str, RegularizationConfig]


def score_of(regularization: RegularizationConfig) -> float:
    """A made-up validation score, best at l2 = 1e-4."""
    return 1.0 - 0.02 * abs(math.log10(max(regularization.l2, 1e-9)) + 4) - 10 * regularization.l1


def search(config: TuneConfig, seed: int = 7, failed: frozenset[int] = frozenset()) -> list[Trial]:
    """Runs a whole search; trials whose number is in `failed` fail."""
    oracle = TuningOracle(config, seed)
    found: list[Trial] = []
    for number in range(config.trials):
        proposal = oracle.ask()
        if proposal is None:
            break
        found.append((proposal.kind, proposal.regularization))
        oracle.tell(proposal, None if number in failed else score_of(proposal.regularization))
    return found


def config(oracle: Any, trials: int, **changed: Any) -> TuneConfig:
    return TuneConfig(oracle=oracle, trials=trials, **changed)


@pytest.mark.parametrize("oracle", ["random", "bayesian"])
def test_same_seed_same_trials_and_another_seed_others(oracle: str) -> None:
    first = search(config(oracle, 9))
    assert search(config(oracle, 9)) == first
    assert search(config(oracle, 9), seed=8) != first
    assert len({str(trial) for trial in first}) == 9


@pytest.mark.parametrize("oracle", ["random", "bayesian"])
def test_wider_search_begins_with_the_same_trials(oracle: str) -> None:
    # Finished trials are found in the store: this is what makes widening and resuming cheap.
    assert search(config(oracle, 10))[:8] == search(config(oracle, 8))
    assert search(config(oracle, 8))[:3] == search(config(oracle, 3))


@pytest.mark.parametrize("oracle", ["random", "bayesian"])
def test_search_goes_on_after_failures_and_stays_the_same(oracle: str) -> None:
    failed = frozenset({0, 1, 2, 5})
    first = search(config(oracle, 9), failed=failed)
    assert len(first) == 9
    assert search(config(oracle, 9), failed=failed) == first
    assert len(search(config(oracle, 9), failed=frozenset(range(9)))) == 9


def test_random_state_of_the_process_has_no_say() -> None:
    np.random.seed(1)
    first = search(config("bayesian", 7))
    np.random.seed(2)
    assert search(config("bayesian", 7)) == first


def test_strengths_are_log_uniform_in_their_range() -> None:
    trials = search(config("random", 300, penalties=("l2",), min_strength=1e-6, max_strength=1e-2))
    strengths = np.array([regularization.l2 for _, regularization in trials])
    assert strengths.min() >= 1e-6
    assert strengths.max() <= 1e-2
    places = (np.log10(strengths) + 6) / 4
    # A uniform sample's four quarters hold 75 each, give or take 3 standard deviations of 7.5.
    counts, _ = np.histogram(places, bins=4, range=(0, 1))
    assert all(abs(count - 75) < 23 for count in counts)


def test_kinds_become_penalties_and_are_drawn_alike() -> None:
    trials = search(config("random", 150))
    kinds = [kind for kind, _ in trials]
    assert all(25 < kinds.count(kind) < 75 for kind in ("l1", "l2", "elastic_net"))
    for kind, penalty in trials:
        if kind == "l1":
            assert penalty.l1 > 0
            assert penalty.l2 == 0
        elif kind == "l2":
            assert penalty.l1 == 0
            assert penalty.l2 > 0
        else:
            fraction = penalty.l1 / (penalty.l1 + penalty.l2)
            assert 0.09 < fraction < 0.91
            assert 0.99e-6 < penalty.l1 + penalty.l2 < 1.01e-2
    fractions = [each.l1 / (each.l1 + each.l2) for kind, each in trials if kind == "elastic_net"]
    assert min(fractions) < 0.3
    assert max(fractions) > 0.7


@pytest.mark.parametrize("oracle", ["random", "bayesian"])
@pytest.mark.parametrize("kinds", [("l1",), ("l2",), ("elastic_net",), ("l1", "l2")])
def test_only_asked_kinds_are_tried(oracle: str, kinds: tuple[str, ...]) -> None:
    trials = search(config(oracle, 7, penalties=kinds))
    assert len(trials) == 7
    assert {kind for kind, _ in trials} <= set(kinds)


def test_strengths_have_three_significant_digits() -> None:
    for _, penalty in search(config("random", 20)):
        for value in (penalty.l1, penalty.l2):
            assert value == float(f"{value:.3g}")


def test_bayesian_search_learns() -> None:
    # After the random trials it stays near the best strength, 1e-4, where random search does not.
    narrow = {"penalties": ("l2",), "min_strength": 1e-6, "max_strength": 1e-1}
    later = [abs(math.log10(each.l2) + 4) for _, each in search(config("bayesian", 14, **narrow))[8:]]
    blind = [abs(math.log10(each.l2) + 4) for _, each in search(config("random", 14, **narrow))[8:]]
    assert np.median(later) < 0.5 * np.median(blind)


def test_search_ends_after_its_trials() -> None:
    oracle = TuningOracle(config("random", 2), 1)
    for _ in range(2):
        proposal = oracle.ask()
        assert proposal is not None
        oracle.tell(proposal, 0.5)
    assert oracle.ask() is None
    assert oracle.ask() is None


def test_nothing_is_written(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    search(config("bayesian", 7))
    assert list(tmp_path.iterdir()) == []

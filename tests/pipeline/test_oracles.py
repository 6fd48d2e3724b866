"""What proposes trials: ranges, mapping to penalties, determinism, and resuming by asking again."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from models.config import RegularizationConfig
from models.tuning_config import DropoutRange, LearningRateRange, SpaceConfig, TuneConfig, UnitsRange
from pipeline.oracles import TuningOracle
from pipeline.tuning_space import grid_size

Trial = tuple[str, RegularizationConfig]


def score_of(regularization: RegularizationConfig) -> float:
    """A made-up validation score, best at l2 = 1e-4."""
    return 1.0 - 0.02 * abs(math.log10(max(regularization.l2, 1e-9)) + 4) - 10 * regularization.l1


def search(config: TuneConfig, seed: int = 7, failed: frozenset[int] = frozenset()) -> list[Trial]:
    """Runs a whole search; trials whose number is in `failed` fail."""
    oracle = TuningOracle(config, seed, 9)
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
    oracle = TuningOracle(config("random", 2), 1, 9)
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


# ----------------------------------------------------------------------------------- grid, Hyperband, spaces


def proposals(config: TuneConfig, seed: int = 7, epochs: int = 9, failed: frozenset[int] = frozenset()) -> list[Any]:
    """Runs a whole search whose best rate is 0.1 and whose best penalty is none."""
    oracle, found = TuningOracle(config, seed, epochs), []
    for number in range(1000):
        proposal = oracle.ask()
        if proposal is None:
            return found
        found.append(proposal)
        rate = proposal.values.get("learning_rate", 0.1)
        strength = 0.0 if proposal.regularization is None else proposal.regularization.l1 + proposal.regularization.l2
        oracle.tell(proposal, None if number in failed else 1.0 - abs(math.log10(rate) + 1) - strength)
    raise AssertionError("no end")


def key(proposal: Any) -> str:
    return str((proposal.kind, proposal.regularization, proposal.values))


def test_a_grid_tries_every_combination_once() -> None:
    space = SpaceConfig(units=((8,), (4, 2)), learning_rate=LearningRateRange(min=0.01, max=1.0))
    asked = config("grid", 1000, space=space, grid_points=3, min_strength=1e-4, max_strength=1e-2)
    found = proposals(asked)
    assert len(found) == len({key(each) for each in found}) == grid_size(asked) == 3 * (1 + 1 + 3) * 2 * 3
    assert {str(each.values["units"]) for each in found} == {"[8]", "[4, 2]"}
    assert {each.values["learning_rate"] for each in found} == {0.01, 0.1, 1.0}
    penalties = {each.regularization for each in found if each.kind == "elastic_net"}
    assert len(penalties) == 9
    assert RegularizationConfig(l1=0.00025, l2=0.00075) in penalties
    assert {each.regularization.l1 for each in found if each.kind == "l1"} == {1e-4, 1e-3, 1e-2}
    assert [key(each) for each in proposals(asked, seed=8)] == [key(each) for each in found]


def test_a_grid_goes_on_after_failures_and_stops_at_its_trials() -> None:
    asked = config("grid", 1000, penalties=("l1", "l2"))
    assert len({key(each) for each in proposals(asked, failed=frozenset(range(8)))}) == 8
    assert [key(each) for each in proposals(config("grid", 3, penalties=("l1", "l2")))] == [
        key(each) for each in proposals(asked)[:3]
    ]


def test_hyperband_trains_the_best_longer() -> None:
    space = SpaceConfig(learning_rate=LearningRateRange(min=0.001, max=10.0))
    found = proposals(config("hyperband", 20, penalties=(), space=space))
    assert [each.epochs for each in found] == [1] * 9 + [3] * 3 + [9] + [3] * 5 + [9] * 2
    assert all((each.kind, each.regularization) == ("own", None) for each in found)

    def far(each: Any) -> float:
        return abs(math.log10(each.values["learning_rate"]) + 1)

    first = sorted(found[:9], key=far)
    assert [key(each) for each in found[9:12]] == [key(each) for each in first[:3]]
    assert key(found[12]) == key(first[0])
    second = sorted(found[13:18], key=far)
    assert [key(each) for each in found[18:]] == [key(each) for each in second[:2]]
    assert len({key(each) for each in found[:9] + found[13:18]}) == 14
    again = proposals(config("hyperband", 20, penalties=(), space=space))
    assert [key(each) for each in again] == [key(each) for each in found]


def test_hyperband_goes_on_without_what_failed() -> None:
    found = proposals(config("hyperband", 13), failed=frozenset({0, 2, 9}))
    assert [each.epochs for each in found] == [1] * 9 + [3] * 3 + [9]
    assert not {key(found[0]), key(found[2])} & {key(each) for each in found[9:]}
    assert key(found[9]) != key(found[12])


@pytest.mark.parametrize("oracle", ["random", "bayesian"])
def test_a_space_is_drawn_from_its_lists_and_within_its_ends(oracle: str) -> None:
    space = SpaceConfig(
        batch_size=(8, "full"),
        units=(UnitsRange(min=4, max=9), UnitsRange(min=2, max=3)),
        activation=("relu", "tanh"),
        dropout_fraction=DropoutRange(min=0.1, max=0.4),
    )
    found = proposals(config(oracle, 14, space=space))
    assert len(found) == 14
    assert {each.values["batch_size"] for each in found} == {8, "full"}
    assert {each.values["activation"] for each in found} == {"relu", "tanh"}
    for each in found:
        first, second = each.values["units"]
        assert 4 <= first <= 9
        assert 2 <= second <= 3
        assert 0.1 <= each.values["dropout_fraction"] <= 0.4
        assert each.epochs is None
    assert [key(each) for each in proposals(config(oracle, 14, space=space))] == [key(each) for each in found]

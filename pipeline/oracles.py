"""What proposes trials: keras-tuner's oracles, driven directly.

A keras-tuner `Tuner` refuses tf_keras models, so its oracles are asked for hyperparameters and told
scores here. They write no files: to resume, the same calls are made again, and finished trials are
found in the store.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

# keras-tuner imports TensorFlow, which has to come in by its one door.
import models.legacy_keras  # noqa: F401  # isort: skip

import keras_tuner
from threadpoolctl import threadpool_limits

from data.contract import PenjingError
from models.config import RegularizationConfig
from models.tuning_config import ELASTIC_SHARES, TuneConfig
from pipeline.tuning_space import Bracket, Dimension, brackets, dimensions, strengths

_WORKER = "penjing"
_POINTS_A_DIMENSION = 3
"""Random trials, for each dimension, before the Bayesian oracle fits its Gaussian process."""

_FAILED = -1e9
"""What a failed trial of Hyperband is told to be worth: less than all others."""


class InMemory:
    """Keeps an oracle from writing files: a torn one would crash its next start."""

    def save(self) -> None:
        """Writes nothing."""

    def _save_trial(self, trial: Any) -> None:
        """Writes nothing."""


class _RandomOracle(InMemory, keras_tuner.oracles.RandomSearchOracle):  # type: ignore[misc]  # untyped base
    pass


class _BayesianOracle(InMemory, keras_tuner.oracles.BayesianOptimizationOracle):  # type: ignore[misc]  # untyped base
    pass


class _GridOracle(InMemory, keras_tuner.oracles.GridSearchOracle):  # type: ignore[misc]  # untyped base
    """A grid whose next combination can be asked for before the last has ended: no trial adds dimensions to it."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        response: dict[str, Any] = super().populate_space(trial_id)
        if response["status"] == "RUNNING" and trial_id not in self._populate_next:
            self._populate_next.append(trial_id)
        return response


class InRounds(InMemory, keras_tuner.oracles.HyperbandOracle):  # type: ignore[misc]  # untyped base
    """Hyperband that chooses for a round once the round before has ended, all of it.

    keras-tuner's own promotes as soon as more have ended than are thrown out: who goes on would hang on who is fast.
    """

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Returns keras-tuner's answer; idle where a round is still on that the next one chooses from."""
        if self._waits_for_a_round():
            return {"status": "IDLE", "values": None}
        response: dict[str, Any] = super().populate_space(trial_id)
        return response

    def _waits_for_a_round(self) -> bool:
        ongoing = {trial.trial_id for trial in self.ongoing_trials.values()}
        for bracket in self._brackets:
            before: list[dict[str, Any]] = []
            for number, members in enumerate(bracket["rounds"]):
                if len(members) < self._get_size(bracket["bracket_num"], number):
                    return any(member["id"] in ongoing for member in before)
                before = members
        return False


class _Brackets(InRounds):
    """Hyperband over given brackets, one after the other, once."""

    def __init__(self, planned: tuple[Bracket, ...], **arguments: Any) -> None:
        self._planned = planned[::-1]  # keras-tuner counts its brackets down
        super().__init__(**arguments)

    def _get_num_brackets(self) -> int:
        return len(self._planned)

    def _get_num_rounds(self, bracket_num: int) -> int:
        return len(self._planned[bracket_num])

    def _get_size(self, bracket_num: int, round_num: int) -> int:
        return self._planned[bracket_num][round_num][1]

    def _get_epochs(self, bracket_num: int, round_num: int) -> int:
        return self._planned[bracket_num][round_num][0]


class Asked:
    """A keras-tuner oracle that is asked for trials and told their scores; several may be out at once."""

    def __init__(self, oracle: Any, section: str) -> None:
        self._oracle = oracle
        self._oracle.verbose = 0
        self._section = section

    def ask(self) -> Any | None:
        """Returns keras-tuner's next trial; None where there is nothing to try before one that is out is told.

        None with no trial out: the space is exhausted.
        """
        # One thread: the matrices are tiny, threads that wait for each other made this ten times slower, and the
        # order of a sum, and so a proposal, must not hang on the number of cores.
        with warnings.catch_warnings(), threadpool_limits(limits=1):
            # The Gaussian process says when a length scale meets its bound, which is no fault of the user's.
            warnings.filterwarnings("ignore", module="sklearn.gaussian_process")
            # For the name of a worker that has a trial already, keras-tuner returns that trial.
            trial = self._oracle.create_trial(f"{_WORKER} {len(self._oracle.trials)}")
        if trial.status in ("STOPPED", "IDLE"):
            return None
        if trial.status != "RUNNING":
            raise PenjingError(
                f"{self._section}.oracle: expected a trial, got {trial.status}. Report this as a defect."
            )
        return trial

    def tell(self, trial: Any, score: float | None) -> None:
        """Reports a trial's score, higher is better; None where the trial failed."""
        if score is None:
            trial.status = "INVALID"
        else:
            self._oracle.update_trial(trial.trial_id, {"score": score})
            trial.status = "COMPLETED"
        self._oracle.end_trial(trial)


def oracle_arguments(space: Any, seed: int, most_failures: int) -> dict[str, Any]:
    """Returns what every oracle here is made with: a score to maximize, and a space that nothing is added to."""
    return {
        "objective": keras_tuner.Objective("score", "max"),
        "hyperparameters": space,
        "allow_new_entries": False,
        "tune_new_entries": False,
        "seed": seed,
        "max_consecutive_failed_trials": most_failures,
    }


@dataclass(frozen=True)
class Proposal:
    """One trial that an oracle wants to see.

    Attributes:
        kind: `l1`, `l2` or `elastic_net`; `own` where trials keep the run's own penalty.
        regularization: the penalty's strengths, rounded to three significant digits; None with `own`.
        values: key of `tune.space` -> what the trial has there.
        epochs: of a round of Hyperband; None: those of every trial.
        trial: the oracle's own trial, to be handed back to `tell`.
    """

    kind: str
    regularization: RegularizationConfig | None
    values: dict[str, Any]
    epochs: int | None
    trial: Any


class TuningOracle:
    """Proposes trainings; learns from their scores where the oracle does.

    Args:
        config: the `tune` section.
        seed: in [1, 2**31 - 1]; keras-tuner takes 0 for "random".
        epochs: of the longest trial; `hyperband` alone looks at it.

    Example:
        >>> oracle = TuningOracle(TuneConfig(trials=4, oracle="random"), seed=7, epochs=20)
        >>> proposal = oracle.ask()
        >>> oracle.tell(proposal, 0.93)
    """

    def __init__(self, config: TuneConfig, seed: int, epochs: int) -> None:
        self._config = config
        self._dimensions = {each.name: each for each in dimensions(config.space)}
        self._asked = Asked(self._oracle(seed, epochs), "tune")

    def _oracle(self, seed: int, epochs: int) -> Any:
        config, space = self._config, self._space()
        arguments = oracle_arguments(space, seed, config.trials + 1)
        if config.oracle == "hyperband":
            return _Brackets(brackets(config.trials, epochs, config.factor), **arguments)
        arguments["max_trials"] = config.trials
        if config.oracle == "random":
            return _RandomOracle(**arguments)
        if config.oracle == "grid":
            return _GridOracle(**arguments)
        points = _POINTS_A_DIMENSION * (2 * bool(config.penalties) + len(self._dimensions))
        return _BayesianOracle(num_initial_points=points, **arguments)

    def _space(self) -> Any:
        config, space = self._config, keras_tuner.HyperParameters()
        if config.penalties:
            space.Choice("kind", list(config.penalties))
            self._add(space, strengths(config))
        if "elastic_net" in config.penalties:
            with space.conditional_scope("kind", ["elastic_net"]):
                if config.oracle == "grid":
                    space.Choice("l1_fraction", list(ELASTIC_SHARES))
                else:
                    space.Float("l1_fraction", 0.1, 0.9)
        for dimension in self._dimensions.values():
            self._add(space, dimension)
        return space

    def _add(self, space: Any, dimension: Dimension) -> None:
        """Adds a dimension to keras-tuner's space; lists go in as positions, written out: they have no order."""
        sampling = "log" if dimension.is_log else "linear"
        if self._config.oracle == "grid" or dimension.choices:
            count = len(dimension.grid(self._config.grid_points))
            space.Choice(dimension.name, [str(position) for position in range(count)])
        elif dimension.is_whole:
            space.Int(dimension.name, *map(int, dimension.ends), sampling=sampling)
        else:
            space.Float(dimension.name, *dimension.ends, sampling=sampling)

    def ask(self) -> Proposal | None:
        """Returns the next trial; None where there is nothing to try before one that is out is told."""
        trial = self._asked.ask()
        if trial is None:
            return None
        drawn = trial.hyperparameters.values
        values: dict[str, Any] = {}
        for name, dimension in self._dimensions.items():
            key, _, layer = name.partition(".")
            value = self._value(dimension, drawn[name])
            if layer:
                values.setdefault(key, []).append(value)
            else:
                values[key] = list(value) if isinstance(value, tuple) else value
        kind, penalty = self._penalty(drawn)
        return Proposal(kind, penalty, values, drawn.get("tuner/epochs"), trial)

    def _penalty(self, drawn: dict[str, Any]) -> tuple[str, RegularizationConfig | None]:
        if not self._config.penalties:
            return "own", None
        kind, strength = drawn["kind"], self._value(strengths(self._config), drawn["strength"], rounded=False)
        fraction = {"l1": 1.0, "l2": 0.0}.get(kind, drawn.get("l1_fraction", 0.5))
        return kind, RegularizationConfig(l1=_rounded(strength * fraction), l2=_rounded(strength * (1 - fraction)))

    def _value(self, dimension: Dimension, drawn: Any, *, rounded: bool = True) -> Any:
        if isinstance(drawn, str):
            return dimension.grid(self._config.grid_points)[int(drawn)]
        return dimension.rounded(drawn) if rounded else drawn

    def tell(self, proposal: Proposal, score: float | None) -> None:
        """Reports what a trial is judged by, higher is better; None where it failed."""
        # A round of Hyperband goes on once all of it is told: a failed trial is its last.
        failed = _FAILED if self._config.oracle == "hyperband" else None
        self._asked.tell(proposal.trial, failed if score is None else score)


def _rounded(value: float) -> float:
    """Rounds to three significant digits: what a report shows is then exactly what was tried."""
    return float(f"{value:.3g}")

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
from models.config import RegularizationConfig, TuneConfig

_WORKER = "penjing"
_INITIAL_POINTS = 6
"""Random trials before the Bayesian oracle fits its Gaussian process: three a dimension."""


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


class Asked:
    """A keras-tuner oracle that is asked for trials and told their scores, one by one."""

    def __init__(self, oracle: Any, section: str) -> None:
        self._oracle = oracle
        self._oracle.verbose = 0
        self._section = section

    def ask(self) -> Any | None:
        """Returns keras-tuner's next trial; None where there is nothing left to try."""
        # One thread: the matrices are tiny, threads that wait for each other made this ten times slower, and the
        # order of a sum, and so a proposal, must not hang on the number of cores.
        with warnings.catch_warnings(), threadpool_limits(limits=1):
            # The Gaussian process says when a length scale meets its bound, which is no fault of the user's.
            warnings.filterwarnings("ignore", module="sklearn.gaussian_process")
            trial = self._oracle.create_trial(_WORKER)
        if trial.status == "STOPPED":
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
        kind: `l1`, `l2` or `elastic_net`.
        regularization: the penalty's strengths, rounded to three significant digits.
        trial: the oracle's own trial, to be handed back to `tell`.
    """

    kind: str
    regularization: RegularizationConfig
    trial: Any


class RegularizationOracle:
    """Proposes penalties; learns from their scores where the oracle does.

    Args:
        config: the `tune` section.
        seed: in [1, 2**31 - 1]; keras-tuner takes 0 for "random".

    Example:
        >>> oracle = RegularizationOracle(TuneConfig(trials=4, oracle="random"), seed=7)
        >>> proposal = oracle.ask()
        >>> oracle.tell(proposal, 0.93)
    """

    def __init__(self, config: TuneConfig, seed: int) -> None:
        space = keras_tuner.HyperParameters()
        space.Choice("kind", list(config.penalties))
        space.Float("strength", config.min_strength, config.max_strength, sampling="log")
        if "elastic_net" in config.penalties:
            with space.conditional_scope("kind", ["elastic_net"]):
                space.Float("l1_fraction", 0.1, 0.9)
        arguments = oracle_arguments(space, seed, config.trials + 1) | {"max_trials": config.trials}
        if config.oracle == "random":
            oracle = _RandomOracle(**arguments)
        else:
            oracle = _BayesianOracle(num_initial_points=_INITIAL_POINTS, **arguments)
        self._asked = Asked(oracle, "tune")

    def ask(self) -> Proposal | None:
        """Returns the next trial; None where there is nothing left to try."""
        trial = self._asked.ask()
        if trial is None:
            return None
        values = trial.hyperparameters.values
        kind, strength = values["kind"], values["strength"]
        fraction = {"l1": 1.0, "l2": 0.0}.get(kind, values.get("l1_fraction", 0.5))
        regularization = RegularizationConfig(l1=_rounded(strength * fraction), l2=_rounded(strength * (1 - fraction)))
        return Proposal(kind, regularization, trial)

    def tell(self, proposal: Proposal, score: float | None) -> None:
        """Reports a trial's validation score, higher is better; None where the trial failed."""
        self._asked.tell(proposal.trial, score)


def _rounded(value: float) -> float:
    """Rounds to three significant digits: what a report shows is then exactly what was tried."""
    return float(f"{value:.3g}")

"""What proposes candidates of the search for a small model: one bracket of keras-tuner's Hyperband, driven directly.

Apart from `pipeline.oracles`, so that what a candidate is made of is no part of the code of `tune`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

# keras-tuner imports TensorFlow, which has to come in by its one door.
import models.legacy_keras  # noqa: F401  # isort: skip

import keras_tuner

from models.compression_config import SearchConfig
from pipeline.candidates import LOOKS, SPARSITY_STEP, Candidate, Look
from pipeline.oracles import Asked, InRounds, oracle_arguments

_FACTOR = 4
"""Candidates of which one is looked at longer."""

_LOOKS_A_FULL_ONE = 20
"""So many looks, cheap ones included, to one that prunes as the config says: that one costs what ten others do."""

_FAILED = -1e9
"""Merit of a candidate that could not be made: below all others, so that the round goes on without it."""


def rounds(looks: int) -> list[tuple[Look, int]]:
    """Shares a number of looks out: how many of each kind, the cheapest first; together just as many.

    Each round takes a quarter of the one before, or all that can be had where there are few.

    Example:
        >>> rounds(40)
        [('one_shot', 30), ('short', 8), ('full', 2)]
    """
    full = max(1, looks // _LOOKS_A_FULL_ONE)
    short = min(_FACTOR * full, (looks - full) // 2)
    sizes: list[tuple[Look, int]] = [("one_shot", looks - full - short), ("short", short), ("full", full)]
    return [(look, size) for look, size in sizes if size > 0]


class _OneBracket(InRounds):
    """Hyperband's most careful bracket alone. Its others begin with longer looks, at candidates drawn blindly."""

    def __init__(self, shared_out: list[tuple[Look, int]], **arguments: Any) -> None:
        self._shared_out = shared_out
        super().__init__(**arguments)

    def _get_num_brackets(self) -> int:
        return 1

    def _get_num_rounds(self, bracket_num: int) -> int:  # noqa: ARG002 - keras-tuner calls it
        return len(self._shared_out)

    def _get_size(self, bracket_num: int, round_num: int) -> int:  # noqa: ARG002 - keras-tuner calls it
        return self._shared_out[round_num][1]

    def _get_epochs(self, bracket_num: int, round_num: int) -> int:  # noqa: ARG002 - keras-tuner calls it
        return 1 + LOOKS.index(self._shared_out[round_num][0])


class CompressionOracle:
    """Proposes candidates by successive halving: many cheap looks, longer ones at the better quarter.

    Reference:
        Jamieson & Talwalkar 2016, Non-stochastic best arm identification; a bracket of Hyperband (Li et al. 2018).

    Args:
        config: the `search` section.
        seed: in [1, 2**31 - 1].
    """

    def __init__(self, config: SearchConfig, seed: int) -> None:
        space = keras_tuner.HyperParameters()
        space.Choice("unit", list(config.unit))
        space.Choice("scope", list(config.scope))
        space.Float("sparsity", config.min_sparsity, config.max_sparsity)
        space.Choice("precision", list(config.precision))
        space.Choice("clusters", list(config.clusters))
        space.Choice("encoding", list(config.encoding))
        space.Choice("aware", list(config.aware))
        oracle = _OneBracket(rounds(config.candidates), **oracle_arguments(space, seed, config.candidates + 1))
        self._asked = Asked(oracle, "search")

    def ask(self) -> tuple[Candidate, Any] | None:
        """Returns the next candidate and the trial to hand back to `tell`.

        None where there is nothing to try before one that is out is told.
        """
        trial = self._asked.ask()
        if trial is None:
            return None
        values = trial.hyperparameters.values
        look = LOOKS[values["tuner/epochs"] - 1]
        pruned = values["unit"] != "none"
        trained = pruned or values["clusters"] > 0
        candidate = Candidate(
            unit=values["unit"],
            scope=values["scope"] if pruned else "global",
            sparsity=round(values["sparsity"] / SPARSITY_STEP) * SPARSITY_STEP if pruned else 0.0,
            precision=values["precision"],
            look=look if trained else "full",
            clusters=values["clusters"],
            encoding=values["encoding"],
            aware=values["aware"],
        )
        return replace(candidate, sparsity=round(candidate.sparsity, 4)).possible, trial

    def tell(self, trial: Any, merit: float | None) -> None:
        """Reports how good a candidate is, higher is better; None where it failed."""
        self._asked.tell(trial, _FAILED if merit is None else merit)

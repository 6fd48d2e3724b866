"""What proposes candidates of the search for a small model: keras-tuner's Hyperband, driven directly.

Apart from `pipeline.oracles`, so that what a candidate is made of is no part of the code of `tune`.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

# keras-tuner imports TensorFlow, which has to come in by its one door.
import models.legacy_keras  # noqa: F401  # isort: skip

import keras_tuner

from models.compression_config import SearchConfig
from pipeline.candidates import LOOKS, SPARSITY_STEP, Candidate
from pipeline.oracles import Asked, InMemory, oracle_arguments

_FACTOR = 3


class _HyperbandOracle(InMemory, keras_tuner.oracles.HyperbandOracle):  # type: ignore[misc]  # untyped base
    pass


class CompressionOracle:
    """Proposes candidates by Hyperband: many cheap looks, longer ones at the better third (Li et al. 2018).

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
        oracle = _HyperbandOracle(
            max_epochs=_FACTOR ** (len(LOOKS) - 1),
            factor=_FACTOR,
            hyperband_iterations=config.candidates,
            **oracle_arguments(space, seed, config.candidates + 1),
        )
        self._asked = Asked(oracle, "search")

    def ask(self) -> tuple[Candidate, Any] | None:
        """Returns the next candidate and the trial to hand back to `tell`; None where there is nothing left to try."""
        trial = self._asked.ask()
        if trial is None:
            return None
        values = trial.hyperparameters.values
        look = LOOKS[round(math.log(values["tuner/epochs"], _FACTOR))]
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
        self._asked.tell(trial, merit)

"""How the weights of the largest features follow the penalty, from trial to trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MOST_PATHS = 8
"""Features whose weights are followed."""


def coefficient_paths(trials: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Follows the features that weigh most in any trial.

    Args:
        trials: with `weights.coefficients` (`what`, `values` by feature name) where the network has them.

    Returns:
        `what` (see `models.coefficients`), `names` of at most `MOST_PATHS` features, the heaviest first, and `values`:
        trial number as text -> one weight a feature, None where it is not among the largest of that trial. None where
        no trial has coefficients.
    """
    found = {
        str(trial["trial"]): trial["weights"]["coefficients"]
        for trial in trials
        if (trial.get("weights") or {}).get("coefficients")
    }
    if not found:
        return None
    heaviest: dict[str, float] = {}
    for coefficients in found.values():
        for name, value in coefficients["values"].items():
            heaviest[name] = max(abs(value), heaviest.get(name, 0.0))
    names = sorted(heaviest, key=lambda name: (-heaviest[name], name))[:MOST_PATHS]
    values = {number: [each["values"].get(name) for name in names] for number, each in found.items()}
    return {"what": next(iter(found.values()))["what"], "names": names, "values": values}

"""Says what limit a search took where the config gives none; imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.report import wording


def held_limit(search: Mapping[str, Any]) -> str | None:
    """Says what limit the search took itself, the config's target naming no score; None where it took none.

    Args:
        search: details of the stage; empty where there is none.
    """
    if search.get("held_drop") is None:
        return None
    metric = wording.metric(search["metric"])
    return (
        f"The config's target names no score, so the search held the validation {metric} to at most "
        f"{wording.figure(search['held_drop'])} below the dense float model's."
    )
